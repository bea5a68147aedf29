// Tweaks: numbers of the field of 2^128 elements, polynomials over bits modulo
// x^128 + x^7 + x^2 + x + 1. XTS writes the coefficient of x^0 into the lowest bit of the
// first byte, LRW into the lowest bit of the last.

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace dmfs {

static_assert(std::endian::native == std::endian::little);

inline uint64_t load_be64(const std::byte* bytes) {
    uint64_t number;
    memcpy(&number, bytes, 8);
    return __builtin_bswap64(number);
}
inline void store_be64(uint64_t number, std::byte* bytes) {
    number = __builtin_bswap64(number);
    memcpy(bytes, &number, 8);
}

struct Gf128 {
    uint64_t high, low;

    Gf128 operator^(const Gf128& other) const { return {high ^ other.high, low ^ other.low}; }
    Gf128 times_x() const {
        uint64_t carry = high >> 63;
        return {high << 1 | low >> 63, low << 1 ^ (carry * 0x87)};
    }
};

struct XtsTweak : Gf128 {
    static XtsTweak load(const std::byte* bytes) {
        XtsTweak tweak;
        memcpy(&tweak.low, bytes, 8);
        memcpy(&tweak.high, bytes + 8, 8);
        return tweak;
    }
    void store(std::byte* bytes) const {
        memcpy(bytes, &low, 8);
        memcpy(bytes + 8, &high, 8);
    }
    XtsTweak times_x() const { return {Gf128::times_x()}; }
};

// Multiplies numbers by one key: a number is the sum of its digits of four bits, and of
// each digit's sixteen products one table is kept. Which entry is read depends on the
// number, a sector's, and not on the key.
class LrwTable {
  public:
    explicit LrwTable(std::span<const std::byte> key) {
        Gf128 product{load_be64(key.data()), load_be64(key.data() + 8)};
        for (auto& digit : products_) {
            digit[0] = {0, 0};
            for (size_t bit = 1; bit < 16; bit *= 2, product = product.times_x())
                for (size_t below = 0; below < bit; below++) digit[bit + below] = product ^ digit[below];
        }
    }

    // Writes key * (start + i) for each block, and leaves start + blocks in `start`.
    void count(std::byte* start, std::byte* to, size_t blocks) const {
        uint64_t high = load_be64(start), low = load_be64(start + 8);
        Gf128 upper{0, 0};
        for (size_t i = 0; i < blocks; i++) {
            if (i == 0 || (low & 15) == 0) upper = times_key(high, low & ~15ULL);
            Gf128 tweak = upper ^ products_[0][low & 15];
            store_be64(tweak.high, to + i * 16);
            store_be64(tweak.low, to + i * 16 + 8);
            if (++low == 0) high++;
        }
        store_be64(high, start);
        store_be64(low, start + 8);
    }

  private:
    Gf128 times_key(uint64_t high, uint64_t low) const {
        Gf128 sum{0, 0};
        for (size_t digit = 0; low != 0; digit++, low >>= 4) sum = sum ^ products_[digit][low & 15];
        for (size_t digit = 16; high != 0; digit++, high >>= 4) sum = sum ^ products_[digit][high & 15];
        return sum;
    }

    std::array<std::array<Gf128, 16>, 32> products_;
};

}  // namespace dmfs
