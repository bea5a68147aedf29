// One instruction takes a register through a round of AES: one block, or with VAES two or
// four. The result is there only some cycles later, so eight registers go side by side:
//
//     round 1     k1 -> r0 r1 r2 r3 r4 r5 r6 r7      a key is loaded once
//     round 2     k2 -> r0 r1 r2 r3 r4 r5 r6 r7      for eight registers
//
// Eight registers of four blocks are 512 bytes, the smallest sector.
//
// XTS needs a tweak for each block, T * x^i. Multiplied one by one, each would wait for the
// one before. But a number times x^n, for n up to 64, is a shift by n bits, and what is
// shifted out comes back multiplied by x^7 + x^2 + x + 1:
//
//         127         64 63          0
//        +--------------+-------------+
//        |     high     |     low     |    << n
//        +--------------+-------------+
//     <-- top n bits                    ^
//      |                                |  a product without carries, of n + 7 bits
//      +------- * (x^7 + x^2 + x + 1) --+
//
// So the tweaks of eight registers are made from the first all at once, shifted by 0, 1, 2,
// ... bits, and those of the next eight are these shifted by 8, 16 or 32: by whole bytes.
//
// aes_fast.inc is the algorithm, for whatever the namespaces below call a Register.

#include "crypto/aes_fast.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "crypto/scratch.h"

#if defined(__x86_64__)
// g++ 12 takes what its own intrinsics leave undefined for a mistake.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>

namespace dmfs {

namespace {

constexpr size_t kBlock = 16;
constexpr size_t kWide = 8;  // registers side by side

struct RoundKeys {
    __m128i encrypt[15], decrypt[15];
    int rounds;
};

// SubWord of FIPS 197.
[[gnu::target("aes"), gnu::always_inline]] inline uint32_t substitute(uint32_t word) {
    return static_cast<uint32_t>(
        _mm_cvtsi128_si32(_mm_aeskeygenassist_si128(_mm_set1_epi32(static_cast<int>(word)), 0)));
}

[[gnu::target("aes")]] void expand(std::span<const std::byte> key, RoundKeys& keys) {
    size_t length = key.size() / 4;
    keys.rounds = static_cast<int>(length) + 6;
    auto* bytes = reinterpret_cast<std::byte*>(keys.encrypt);
    memcpy(bytes, key.data(), key.size());
    auto load = [&](size_t i) {
        uint32_t word;
        memcpy(&word, bytes + i * 4, 4);
        return word;
    };
    uint32_t constant = 1;
    for (size_t i = length; i < 4 * (length + 7); i++) {
        uint32_t word = load(i - 1);
        if (i % length == 0) {
            word = substitute(word);
            word = (word >> 8 | word << 24) ^ constant;
            constant = constant << 1 ^ (constant >> 7) * 0x11b;
        } else if (length > 6 && i % length == 4) {
            word = substitute(word);
        }
        word ^= load(i - length);
        memcpy(bytes + i * 4, &word, 4);
    }
    keys.decrypt[0] = keys.encrypt[keys.rounds];
    for (int i = 1; i < keys.rounds; i++) keys.decrypt[i] = _mm_aesimc_si128(keys.encrypt[keys.rounds - i]);
    keys.decrypt[keys.rounds] = keys.encrypt[0];
}

#define AES_INLINE AES_TARGET [[gnu::always_inline]] inline

#define AES_TARGET [[gnu::target("aes,pclmul,sse4.1")]]
namespace one_block {
using Register = __m128i;
AES_INLINE Register everywhere(__m128i block) { return block; }
AES_INLINE Register load(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
AES_INLINE void store(std::byte* to, Register value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value);
}
AES_INLINE Register load_part(const std::byte* from, size_t bytes) {
    return bytes == 0 ? _mm_setzero_si128() : load(from);
}
AES_INLINE void store_part(std::byte* to, size_t bytes, Register value) {
    if (bytes != 0) store(to, value);
}
AES_INLINE Register add(Register a, Register b) { return _mm_xor_si128(a, b); }
AES_INLINE Register add(Register a, Register b, Register c) { return add(add(a, b), c); }
template <bool kEncrypt>
AES_INLINE Register one_round(Register value, Register key) {
    return kEncrypt ? _mm_aesenc_si128(value, key) : _mm_aesdec_si128(value, key);
}
template <bool kEncrypt>
AES_INLINE Register last_round(Register value, Register key) {
    return kEncrypt ? _mm_aesenclast_si128(value, key) : _mm_aesdeclast_si128(value, key);
}
// * x^i, i up to 7.
AES_INLINE Register times_x_to(Register value, int i) {
    Register top = _mm_srl_epi64(value, _mm_cvtsi32_si128(64 - i));
    Register back = _mm_clmulepi64_si128(top, _mm_set1_epi64x(0x87), 0x01);
    return add(_mm_sll_epi64(value, _mm_cvtsi32_si128(i)), _mm_bslli_si128(top, 8), back);
}
// * x^8
AES_INLINE Register times_wide(Register value) {
    Register back = _mm_clmulepi64_si128(_mm_bsrli_si128(value, 15), _mm_set1_epi64x(0x87), 0x00);
    return add(_mm_bslli_si128(value, 1), back);
}
#include "crypto/aes_fast.inc"
}  // namespace one_block
#undef AES_TARGET

#define AES_TARGET [[gnu::target("aes,pclmul,avx2,vaes,vpclmulqdq")]]
namespace two_blocks {
using Register = __m256i;
AES_INLINE Register everywhere(__m128i block) { return _mm256_broadcastsi128_si256(block); }
AES_INLINE Register load(const std::byte* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
AES_INLINE void store(std::byte* to, Register value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
}
AES_INLINE Register first_bytes(size_t bytes) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(bytes)),
                              _mm256_set_epi64x(24, 16, 8, 0));
}
AES_INLINE Register load_part(const std::byte* from, size_t bytes) {
    return _mm256_maskload_epi64(reinterpret_cast<const long long*>(from), first_bytes(bytes));
}
AES_INLINE void store_part(std::byte* to, size_t bytes, Register value) {
    _mm256_maskstore_epi64(reinterpret_cast<long long*>(to), first_bytes(bytes), value);
}
AES_INLINE Register add(Register a, Register b) { return _mm256_xor_si256(a, b); }
AES_INLINE Register add(Register a, Register b, Register c) { return add(add(a, b), c); }
template <bool kEncrypt>
AES_INLINE Register one_round(Register value, Register key) {
    return kEncrypt ? _mm256_aesenc_epi128(value, key) : _mm256_aesdec_epi128(value, key);
}
template <bool kEncrypt>
AES_INLINE Register last_round(Register value, Register key) {
    return kEncrypt ? _mm256_aesenclast_epi128(value, key) : _mm256_aesdeclast_epi128(value, key);
}
// * x^i and x^(i + 1), i up to 14.
AES_INLINE Register times_x_to(Register value, int i) {
    Register left = _mm256_set_epi64x(i + 1, i + 1, i, i);
    Register top = _mm256_srlv_epi64(value, _mm256_sub_epi64(_mm256_set1_epi64x(64), left));
    Register back = _mm256_clmulepi64_epi128(top, _mm256_set1_epi64x(0x87), 0x01);
    return add(_mm256_sllv_epi64(value, left), _mm256_bslli_epi128(top, 8), back);
}
// * x^16
AES_INLINE Register times_wide(Register value) {
    Register back = _mm256_clmulepi64_epi128(_mm256_bsrli_epi128(value, 14), _mm256_set1_epi64x(0x87), 0x00);
    return add(_mm256_bslli_epi128(value, 2), back);
}
#include "crypto/aes_fast.inc"
}  // namespace two_blocks
#undef AES_TARGET

#define AES_TARGET [[gnu::target("aes,pclmul,avx512f,avx512bw,vaes,vpclmulqdq")]]
namespace four_blocks {
using Register = __m512i;
AES_INLINE Register everywhere(__m128i block) { return _mm512_broadcast_i32x4(block); }
AES_INLINE Register load(const std::byte* from) { return _mm512_loadu_si512(from); }
AES_INLINE void store(std::byte* to, Register value) { _mm512_storeu_si512(to, value); }
AES_INLINE __mmask8 first_bytes(size_t bytes) { return static_cast<__mmask8>((1U << bytes / 8) - 1); }
AES_INLINE Register load_part(const std::byte* from, size_t bytes) {
    return _mm512_maskz_loadu_epi64(first_bytes(bytes), from);
}
AES_INLINE void store_part(std::byte* to, size_t bytes, Register value) {
    _mm512_mask_storeu_epi64(to, first_bytes(bytes), value);
}
AES_INLINE Register add(Register a, Register b) { return _mm512_xor_si512(a, b); }
AES_INLINE Register add(Register a, Register b, Register c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}
template <bool kEncrypt>
AES_INLINE Register one_round(Register value, Register key) {
    return kEncrypt ? _mm512_aesenc_epi128(value, key) : _mm512_aesdec_epi128(value, key);
}
template <bool kEncrypt>
AES_INLINE Register last_round(Register value, Register key) {
    return kEncrypt ? _mm512_aesenclast_epi128(value, key) : _mm512_aesdeclast_epi128(value, key);
}
// * x^i to x^(i + 3), i up to 28.
AES_INLINE Register times_x_to(Register value, int i) {
    Register left = _mm512_set_epi64(i + 3, i + 3, i + 2, i + 2, i + 1, i + 1, i, i);
    Register top = _mm512_srlv_epi64(value, _mm512_sub_epi64(_mm512_set1_epi64(64), left));
    Register back = _mm512_clmulepi64_epi128(top, _mm512_set1_epi64(0x87), 0x01);
    return add(_mm512_sllv_epi64(value, left), _mm512_bslli_epi128(top, 8), back);
}
// * x^32
AES_INLINE Register times_wide(Register value) {
    Register back = _mm512_clmulepi64_epi128(_mm512_bsrli_epi128(value, 12), _mm512_set1_epi64(0x87), 0x00);
    return add(_mm512_bslli_epi128(value, 4), back);
}
#include "crypto/aes_fast.inc"
}  // namespace four_blocks
#undef AES_TARGET

// clang 14 knows these instructions, but not their names in __builtin_cpu_supports.
bool has_wide_aes() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & bit_VAES) != 0 && (c & bit_VPCLMULQDQ) != 0;
}

}  // namespace

bool has_way(AesWay way) {
    // clang-format off
    switch (way) {
        case AesWay::one_block:
            return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") &&
                   __builtin_cpu_supports("sse4.1");
        case AesWay::two_blocks:
            return has_way(AesWay::one_block) && __builtin_cpu_supports("avx2") &&
                   has_wide_aes();
        case AesWay::four_blocks:
            return has_way(AesWay::two_blocks) && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512bw");
        case AesWay::none: break;
    }
    // clang-format on
    return true;
}

SecretPtr<BlockCipher> make_fast_aes(AesWay way, std::span<const std::byte> key) {
    SecretPtr<BlockCipher> cipher;
    if (way == AesWay::four_blocks) cipher = make_secret<four_blocks::Cipher>(key);
    if (way == AesWay::two_blocks) cipher = make_secret<two_blocks::Cipher>(key);
    if (way == AesWay::one_block) cipher = make_secret<one_block::Cipher>(key);
    wipe_stack();
    return cipher;
}

SecretPtr<SectorCipher> make_fast_aes_xts(AesWay way, std::span<const std::byte> key) {
    SecretPtr<SectorCipher> cipher;
    if (way == AesWay::four_blocks) cipher = make_secret<four_blocks::Xts>(key);
    if (way == AesWay::two_blocks) cipher = make_secret<two_blocks::Xts>(key);
    if (way == AesWay::one_block) cipher = make_secret<one_block::Xts>(key);
    wipe_stack();
    return cipher;
}

#else

namespace dmfs {

bool has_way(AesWay way) { return way == AesWay::none; }
SecretPtr<BlockCipher> make_fast_aes(AesWay, std::span<const std::byte>) { return nullptr; }
SecretPtr<SectorCipher> make_fast_aes_xts(AesWay, std::span<const std::byte>) { return nullptr; }

#endif

AesWay best_aes_way() {
    static const AesWay best = [] {
        for (AesWay way : {AesWay::four_blocks, AesWay::two_blocks, AesWay::one_block})
            if (has_way(way)) return way;
        return AesWay::none;
    }();
    return best;
}

}  // namespace dmfs
