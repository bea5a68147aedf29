// Tweaks: numbers of the field of 2^128 elements, polynomials over bits modulo
// x^128 + x^7 + x^2 + x + 1. XTS writes the coefficient of x^0 into the lowest bit of the
// first byte, LRW into the lowest bit of the last.

#pragma once

#include <algorithm>
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

    Gf128 times_x() const {
        uint64_t carry = high >> 63;
        return {high << 1 | low >> 63, low << 1 ^ (carry * 0x87)};
    }
};

// Vectors of 16 bytes, for what a 64-bit register would do twice.
using Block128 [[gnu::vector_size(16)]] = uint64_t;

inline Block128 load_block(const std::byte* bytes) {
    Block128 block;
    memcpy(&block, bytes, 16);
    return block;
}
inline void store_block(Block128 block, std::byte* bytes) { memcpy(bytes, &block, 16); }

// T * x, T * x^2, ... as XTS writes them.
class XtsTweaks {
  public:
    // Writes a tweak for each block; the next is left in `start`.
    static void fill(std::byte* start, std::byte* to, size_t blocks) {
        // Each tweak waits for the one before, so four rows are begun at different places
        // and go side by side.
        while (blocks >= 16) {
            size_t row = std::min<size_t>(blocks / 4, kMostAtOnce);
            Block128 rows[4] = {load_block(start)};
            for (size_t i = 1; i < 4; i++) rows[i] = times_x_to(rows[i - 1], row);
            store_block(times_x_to(rows[3], row), start);
            for (size_t at = 0; at < row; at++, to += 16)
#pragma GCC unroll 4
                for (size_t i = 0; i < 4; i++) {
                    store_block(rows[i], to + i * row * 16);
                    rows[i] = times_x(rows[i]);
                }
            to += 3 * row * 16;
            blocks -= 4 * row;
        }
        Block128 tweak = load_block(start);
        for (; blocks > 0; blocks--, to += 16, tweak = times_x(tweak)) store_block(tweak, to);
        store_block(tweak, start);
    }

  private:
    static constexpr size_t kMostAtOnce = 56;  // bits shifted, and seven more

    static Block128 times_x(Block128 tweak) {
        using Words [[gnu::vector_size(16)]] = int32_t;
        // The top bits of both halves, each where the other half needs it.
        auto words = reinterpret_cast<Words>(tweak);
        Words top = __builtin_shufflevector(words, words, 3, 0, 1, 0) >> 31;
        return (tweak + tweak) ^ reinterpret_cast<Block128>(top & Words{0x87, 0, 1, 0});
    }
    static Block128 times_x_to(Block128 tweak, size_t n) {
        uint64_t low = tweak[0], high = tweak[1], top = high >> (64 - n);
        return Block128{low << n ^ top ^ top << 1 ^ top << 2 ^ top << 7, high << n | low >> (64 - n)};
    }
};

// Multiplies numbers by one key: a number is the sum of its digits of four bits, and of
// each digit's sixteen products one table is kept. Which entry is read depends on the
// number, a sector's, and not on the key.
class LrwTable {
  public:
    explicit LrwTable(std::span<const std::byte> key) {
        Gf128 product{load_be64(key.data()), load_be64(key.data() + 8)};
        for (auto& digit : products_) {
            digit[0] = Block128{0, 0};
            for (size_t bit = 1; bit < 16; bit *= 2, product = product.times_x())
                for (size_t below = 0; below < bit; below++)
                    digit[bit + below] = digit[below] ^ Block128 {
                        __builtin_bswap64(product.high), __builtin_bswap64(product.low)
                    };
        }
    }

    // Writes key * (start + i) for each block, and leaves start + blocks in `start`.
    void count(std::byte* start, std::byte* to, size_t blocks) const {
        uint64_t high = load_be64(start), low = load_be64(start + 8);
        while (blocks > 0) {
            Block128 upper = times_key(high, low & ~15ULL);
            size_t first = low & 15, run = std::min(blocks, 16 - first);
            for (size_t i = 0; i < run; i++, to += 16) store_block(upper ^ products_[0][first + i], to);
            low += run;
            if (low == 0) high++;
            blocks -= run;
        }
        store_be64(high, start);
        store_be64(low, start + 8);
    }

  private:
    Block128 times_key(uint64_t high, uint64_t low) const {
        Block128 sum{0, 0};
        for (size_t digit = 0; low != 0; digit++, low >>= 4) sum ^= products_[digit][low & 15];
        for (size_t digit = 16; high != 0; digit++, high >>= 4) sum ^= products_[digit][high & 15];
        return sum;
    }

    Block128 products_[32][16];  // as they are written
};

}  // namespace dmfs
