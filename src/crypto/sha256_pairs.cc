#include "crypto/sha256_pairs.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace dmfs {

namespace {

constexpr size_t kBlock = 64;
constexpr size_t kTail = 3 * kBlock;  // the most that is put together before it is computed
constexpr std::array<uint32_t, 8> kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

#if defined(__x86_64__)

alignas(16) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// Adds `blocks` of both messages to their states. The instructions keep a state as the
// words ABEF and CDGH, and do two rounds at a time.
__attribute__((target("sha,sse4.1,ssse3"))) void compress(std::array<uint32_t, 8>* states,
                                                          const std::byte* const messages[2], size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abef[2], cdgh[2];
    for (int lane = 0; lane < 2; lane++) {
        auto words = reinterpret_cast<const __m128i*>(states[lane].data());
        __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
        __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1b);
        abef[lane] = _mm_alignr_epi8(cdab, efgh, 8);
        cdgh[lane] = _mm_blend_epi16(efgh, cdab, 0xf0);
    }
    for (size_t block = 0; block < blocks; block++) {
        __m128i before[2][2], w[2][4];
        for (int lane = 0; lane < 2; lane++) {
            before[lane][0] = abef[lane];
            before[lane][1] = cdgh[lane];
            auto data = reinterpret_cast<const __m128i*>(messages[lane] + block * kBlock);
            for (int i = 0; i < 4; i++) w[lane][i] = _mm_shuffle_epi8(_mm_loadu_si128(data + i), swap);
        }
#pragma GCC unroll 16
        for (int t = 0; t < 16; t++) {  // four rounds each
            __m128i constants = _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds) + t);
#pragma GCC unroll 2
            for (int lane = 0; lane < 2; lane++) {
                __m128i& now = w[lane][t & 3];
                const __m128i &last = w[lane][(t + 3) & 3], &second = w[lane][(t + 2) & 3];
                if (t >= 4) {
                    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[lane][(t + 1) & 3]),
                                                _mm_alignr_epi8(last, second, 4));
                    now = _mm_sha256msg2_epu32(sum, last);
                }
                __m128i words = _mm_add_epi32(now, constants);
                cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], words);
                words = _mm_shuffle_epi32(words, 0x0e);
                abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], words);
            }
        }
        for (int lane = 0; lane < 2; lane++) {
            abef[lane] = _mm_add_epi32(abef[lane], before[lane][0]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], before[lane][1]);
        }
    }
    for (int lane = 0; lane < 2; lane++) {
        __m128i feba = _mm_shuffle_epi32(abef[lane], 0x1b), dchg = _mm_shuffle_epi32(cdgh[lane], 0xb1);
        auto words = reinterpret_cast<__m128i*>(states[lane].data());
        _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
    }
}

bool has_instructions() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kSha = 1U << 29, kSsse3 = 1U << 9, kSse41 = 1U << 19;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & kSha) == 0) return false;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kSsse3) != 0 && (c & kSse41) != 0;
}

#else

void compress(std::array<uint32_t, 8>*, const std::byte* const*, size_t) {}
bool has_instructions() { return false; }

#endif

void put_big(std::byte* to, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) to[i] = static_cast<std::byte>(value >> (8 * (bytes - 1 - i)));
}

}  // namespace

bool Sha256Pairs::possible() {
    static const bool possible = has_instructions();
    return possible;
}

Sha256Pairs::Sha256Pairs(std::span<const std::byte> before, std::span<const std::byte> behind)
    : begun_(kStart), behind_(behind.begin(), behind.end()), bytes_around_(before.size() + behind.size()) {
    std::array<uint32_t, 8> states[2] = {kStart, kStart};
    const std::byte* both[2] = {before.data(), before.data()};
    size_t blocks = before.size() / kBlock;
    compress(states, both, blocks);
    begun_ = states[0];
    before_.assign(before.begin() + static_cast<ptrdiff_t>(blocks * kBlock), before.end());
}

void Sha256Pairs::digest(const std::byte* const messages[2], size_t bytes,
                         std::byte* const digests[2]) const {
    State states[2] = {begun_, begun_};
    // What is not computed where it lies: the block that `before` begins, and the end with
    // `behind`, a bit, zeros and the length.
    std::byte parts[2][kTail];
    size_t filled = before_.size(), at = 0;
    auto flush = [&] {
        const std::byte* both[2] = {parts[0], parts[1]};
        compress(states, both, filled / kBlock);
        filled = 0;
    };
    for (std::byte* part : parts) std::copy(before_.begin(), before_.end(), part);
    if (filled > 0) {
        at = std::min(kBlock - filled, bytes);
        for (int lane = 0; lane < 2; lane++) memcpy(parts[lane] + filled, messages[lane], at);
        filled += at;
        if (filled == kBlock) flush();
    }
    size_t blocks = (bytes - at) / kBlock;
    const std::byte* inside[2] = {messages[0] + at, messages[1] + at};
    compress(states, inside, blocks);
    at += blocks * kBlock;
    for (int lane = 0; lane < 2; lane++) memcpy(parts[lane] + filled, messages[lane] + at, bytes - at);
    filled += bytes - at;
    for (size_t done = 0; done < behind_.size();) {
        size_t piece = std::min(kBlock, behind_.size() - done);
        for (std::byte* part : parts) memcpy(part + filled, behind_.data() + done, piece);
        filled += piece;
        done += piece;
        if (filled < kBlock) continue;
        size_t rest = filled % kBlock;
        flush();
        for (std::byte* part : parts) memmove(part, part + kBlock, rest);
        filled = rest;
    }
    size_t end = filled + 9 <= kBlock ? kBlock : 2 * kBlock;
    for (std::byte* part : parts) {
        part[filled] = std::byte{0x80};
        std::fill(part + filled + 1, part + end - 8, std::byte{0});
        put_big(part + end - 8, (bytes_around_ + bytes) * 8, 8);
    }
    filled = end;
    flush();
    for (int lane = 0; lane < 2; lane++)
        for (size_t i = 0; i < states[lane].size(); i++) put_big(digests[lane] + 4 * i, states[lane][i], 4);
}

}  // namespace dmfs
