// NHPoly1305, the fast hash within Adiantum: NH makes 32 bytes of each KiB, Poly1305 makes
// one number of all of them.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace dmfs {

__extension__ typedef unsigned __int128 Uint128;

// A polynomial modulo 2^130 - 5 at a secret point, one coefficient a block of 16 bytes.
class Poly1305 {
  public:
    explicit Poly1305(const std::byte* key);  // 16 bytes; no second half: nothing is added at the end

    struct Sum {
        uint64_t limbs[3] = {0, 0, 0};  // of 44, 44 and 42 bits
    };
    void add(Sum& sum, const std::byte* blocks, size_t count) const;
    // Modulo 2^128.
    static Uint128 finish(const Sum& sum);

  private:
    uint64_t r_[3];
    uint64_t s_[2];  // 20 times r_[1] and r_[2]: what is carried beyond 2^130
};

class NhPoly1305 {
  public:
    static constexpr size_t kNhKeyBytes = 1072;
    static constexpr size_t kKeyBytes = 16 + kNhKeyBytes;

    explicit NhPoly1305(const std::byte* key);
    // Hashes any number of bytes, as if zeros filled the last 16.
    Uint128 hash(const std::byte* bytes, size_t count) const;

  private:
    Poly1305 poly_;
    alignas(64) std::byte key_[kNhKeyBytes];
};

// NH of `bytes`, a multiple of 16 up to 1024: 32 bytes. The plain way, and the one that is used.
void nh_plain(const std::byte* key, const std::byte* in, size_t bytes, std::byte* out);
void nh(const std::byte* key, const std::byte* in, size_t bytes, std::byte* out);

}  // namespace dmfs
