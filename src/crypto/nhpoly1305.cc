#include "crypto/nhpoly1305.h"

#include <algorithm>
#include <cstring>

#include "crypto/scratch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dmfs {

namespace {

constexpr size_t kUnit = 16;  // bytes of a message that are multiplied with one another
constexpr size_t kMessageBytes = 1024;
constexpr size_t kPasses = 4;  // each with the key moved on by one unit
constexpr uint64_t kMask44 = (1ULL << 44) - 1, kMask42 = (1ULL << 42) - 1;

uint64_t load64(const std::byte* bytes) {
    uint64_t number;
    memcpy(&number, bytes, 8);
    return number;
}

uint32_t load32(const std::byte* bytes) {
    uint32_t number;
    memcpy(&number, bytes, 4);
    return number;
}

#if defined(__x86_64__)
// Two units at once: a sum's lanes are of (word 0 * word 2) and (word 1 * word 3).
[[gnu::target("avx2")]] void nh_avx2(const std::byte* key, const std::byte* in, size_t bytes,
                                     std::byte* out) {
    __m256i sums[kPasses] = {};
    size_t at = 0;
    for (; at + 2 * kUnit <= bytes; at += 2 * kUnit) {
        __m256i message = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + at));
        for (size_t pass = 0; pass < kPasses; pass++) {
            __m256i with = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(key + at + pass * kUnit));
            __m256i added = _mm256_add_epi32(message, with);
            __m256i product =
                _mm256_mul_epu32(_mm256_shuffle_epi32(added, 0x10), _mm256_shuffle_epi32(added, 0x32));
            sums[pass] = _mm256_add_epi64(sums[pass], product);
        }
    }
    std::byte rest[kPasses * 8] = {};
    if (at < bytes) nh_plain(key + at, in + at, bytes - at, rest);
    for (size_t pass = 0; pass < kPasses; pass++) {
        uint64_t lanes[4];
        memcpy(lanes, &sums[pass], sizeof lanes);
        uint64_t sum = lanes[0] + lanes[1] + lanes[2] + lanes[3] + load64(rest + pass * 8);
        memcpy(out + pass * 8, &sum, 8);
    }
}
#endif

}  // namespace

void nh_plain(const std::byte* key, const std::byte* in, size_t bytes, std::byte* out) {
    uint64_t sums[kPasses] = {};
    for (size_t at = 0; at < bytes; at += kUnit)
        for (size_t pass = 0; pass < kPasses; pass++) {
            uint32_t words[4];
            for (size_t i = 0; i < 4; i++)
                words[i] = load32(in + at + i * 4) + load32(key + at + pass * kUnit + i * 4);
            sums[pass] += uint64_t{words[0]} * words[2] + uint64_t{words[1]} * words[3];
        }
    memcpy(out, sums, sizeof sums);
}

void nh(const std::byte* key, const std::byte* in, size_t bytes, std::byte* out) {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) return nh_avx2(key, in, bytes, out);
#endif
    nh_plain(key, in, bytes, out);
}

Poly1305::Poly1305(const std::byte* key) {
    uint64_t low = load64(key) & 0x0ffffffc0fffffffULL, high = load64(key + 8) & 0x0ffffffc0ffffffcULL;
    r_[0] = low & kMask44;
    r_[1] = (low >> 44 | high << 20) & kMask44;
    r_[2] = high >> 24;
    s_[0] = r_[1] * 20;
    s_[1] = r_[2] * 20;
}

// sum = (sum + block + 2^128) * r for each block
void Poly1305::add(Sum& sum, const std::byte* blocks, size_t count) const {
    uint64_t h0 = sum.limbs[0], h1 = sum.limbs[1], h2 = sum.limbs[2];
    for (; count > 0; count--, blocks += 16) {
        uint64_t low = load64(blocks), high = load64(blocks + 8);
        h0 += low & kMask44;
        h1 += (low >> 44 | high << 20) & kMask44;
        h2 += high >> 24 | 1ULL << 40;
        Uint128 d0 = Uint128{h0} * r_[0] + Uint128{h1} * s_[1] + Uint128{h2} * s_[0];
        Uint128 d1 = Uint128{h0} * r_[1] + Uint128{h1} * r_[0] + Uint128{h2} * s_[1];
        Uint128 d2 = Uint128{h0} * r_[2] + Uint128{h1} * r_[1] + Uint128{h2} * r_[0];
        h0 = static_cast<uint64_t>(d0) & kMask44;
        d1 += static_cast<uint64_t>(d0 >> 44);
        h1 = static_cast<uint64_t>(d1) & kMask44;
        d2 += static_cast<uint64_t>(d1 >> 44);
        h2 = static_cast<uint64_t>(d2) & kMask42;
        h0 += static_cast<uint64_t>(d2 >> 42) * 5;
        h1 += h0 >> 44;
        h0 &= kMask44;
    }
    sum = {{h0, h1, h2}};
}

Uint128 Poly1305::finish(const Sum& sum) {
    uint64_t h0 = sum.limbs[0], h1 = sum.limbs[1], h2 = sum.limbs[2];
    for (int i = 0; i < 2; i++) {
        h1 += h0 >> 44, h0 &= kMask44;
        h2 += h1 >> 44, h1 &= kMask44;
        h0 += (h2 >> 42) * 5, h2 &= kMask42;
    }
    h1 += h0 >> 44, h0 &= kMask44;
    // If it is p or more, it minus p; without a branch on what is secret.
    uint64_t g0 = h0 + 5, g1 = h1 + (g0 >> 44), g2 = h2 + (g1 >> 44);
    uint64_t take = 0 - (g2 >> 42);
    h0 = (h0 & ~take) | (g0 & kMask44 & take);
    h1 = (h1 & ~take) | (g1 & kMask44 & take);
    h2 = (h2 & ~take) | (g2 & kMask42 & take);
    return Uint128{h0} + (Uint128{h1} << 44) + (Uint128{h2} << 88);
}

NhPoly1305::NhPoly1305(const std::byte* key) : poly_(key) { memcpy(key_, key + 16, kNhKeyBytes); }

Uint128 NhPoly1305::hash(const std::byte* bytes, size_t count) const {
    Poly1305::Sum sum;
    std::byte digest[kPasses * 8];
    while (count > 0) {
        size_t part = std::min(count, kMessageBytes), whole = part / kUnit * kUnit;
        if (whole == part) {
            nh(key_, bytes, part, digest);
        } else {
            Scratch<kMessageBytes> padded;
            memset(padded.to(whole + kUnit) + whole, 0, kUnit);
            memcpy(padded.bytes, bytes, part);
            nh(key_, padded.bytes, whole + kUnit, digest);
        }
        poly_.add(sum, digest, 2);
        bytes += part;
        count -= part;
    }
    return Poly1305::finish(sum);
}

}  // namespace dmfs
