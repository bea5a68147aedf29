// A register of 512 bits holds four blocks; one instruction takes all four through a
// round. The result is there only some cycles later, so eight registers go through a round
// side by side: 32 blocks, 512 bytes, the smallest sector.
//
//     round 1     k1 -> r0 r1 r2 r3 r4 r5 r6 r7      a key is loaded once
//     round 2     k2 -> r0 r1 r2 r3 r4 r5 r6 r7      for eight registers
//
// XTS needs a tweak for each of them, T * x^i. Multiplied one by one, each would wait for the
// one before. But a tweak times x^n, for n up to 64, is a shift by n bits, and what is shifted
// out comes back multiplied by x^7 + x^2 + x + 1:
//
//         127         64 63          0
//        +--------------+-------------+
//        |     high     |     low     |    << n
//        +--------------+-------------+
//     <-- top n bits                    ^
//      |                                |  a product without carries, of n + 7 bits
//      +------- * (x^7 + x^2 + x + 1) --+
//
// So all 32 tweaks of 512 bytes are made from the first at once, with shifts of i bits, and
// those of the next 512 bytes are all these * x^32: a shift of four bytes.

#include "crypto/aes_vaes.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "crypto/scratch.h"

#if defined(__x86_64__)
// g++ 12 takes what its own intrinsics leave undefined for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#define DMFS_VAES [[gnu::target("aes,avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq")]]
#define DMFS_VAES_INLINE DMFS_VAES [[gnu::always_inline]] static inline

namespace dmfs {

namespace {

constexpr size_t kBlock = 16;
constexpr size_t kWide = 8;                   // registers side by side
constexpr size_t kStep = kWide * 4 * kBlock;  // their bytes

struct RoundKeys {
    __m128i encrypt[15], decrypt[15];
    int rounds;
};

// SubWord of FIPS 197.
DMFS_VAES_INLINE uint32_t substitute(uint32_t word) {
    return static_cast<uint32_t>(
        _mm_cvtsi128_si32(_mm_aeskeygenassist_si128(_mm_set1_epi32(static_cast<int>(word)), 0)));
}

DMFS_VAES void expand(std::span<const std::byte> key, RoundKeys& keys) {
    size_t length = key.size() / 4;
    keys.rounds = static_cast<int>(length) + 6;
    auto* words = reinterpret_cast<uint32_t*>(keys.encrypt);
    memcpy(words, key.data(), key.size());
    uint32_t constant = 1;
    for (size_t i = length; i < 4 * (length + 7); i++) {
        uint32_t word = words[i - 1];
        if (i % length == 0) {
            word = substitute(word);
            word = (word >> 8 | word << 24) ^ constant;
            constant = constant << 1 ^ (constant >> 7) * 0x11b;
        } else if (length > 6 && i % length == 4) {
            word = substitute(word);
        }
        words[i] = words[i - length] ^ word;
    }
    keys.decrypt[0] = keys.encrypt[keys.rounds];
    for (int i = 1; i < keys.rounds; i++) keys.decrypt[i] = _mm_aesimc_si128(keys.encrypt[keys.rounds - i]);
    keys.decrypt[keys.rounds] = keys.encrypt[0];
}

// All rounds but the first, which is an xor that callers join with another.
template <bool kEncrypt, size_t kRegisters>
DMFS_VAES_INLINE void go_through(__m512i (&blocks)[kRegisters], const RoundKeys& keys) {
    const __m128i* round_keys = kEncrypt ? keys.encrypt : keys.decrypt;
    for (int round = 1; round < keys.rounds; round++) {
        __m512i key = _mm512_broadcast_i32x4(round_keys[round]);
#pragma GCC unroll 8
        for (__m512i& each : blocks)
            each = kEncrypt ? _mm512_aesenc_epi128(each, key) : _mm512_aesdec_epi128(each, key);
    }
    __m512i key = _mm512_broadcast_i32x4(round_keys[keys.rounds]);
#pragma GCC unroll 8
    for (__m512i& each : blocks)
        each = kEncrypt ? _mm512_aesenclast_epi128(each, key) : _mm512_aesdeclast_epi128(each, key);
}

template <bool kEncrypt>
DMFS_VAES_INLINE __m512i first_key(const RoundKeys& keys) {
    return _mm512_broadcast_i32x4(kEncrypt ? keys.encrypt[0] : keys.decrypt[0]);
}

// Of `bytes`, those in register `i`: all, some or none.
DMFS_VAES_INLINE __mmask64 part_of(size_t bytes, size_t i) {
    if (bytes >= (i + 1) * 64) return ~__mmask64{0};
    return bytes <= i * 64 ? 0 : ~__mmask64{0} >> (64 - (bytes - i * 64));
}

// At most kRegisters * 64 bytes, or just as many if kWhole.
template <bool kEncrypt, size_t kRegisters, bool kWhole>
DMFS_VAES_INLINE void process(const RoundKeys& keys, const std::byte* in, const std::byte* mask,
                              std::byte* out, size_t bytes) {
    __m512i blocks[kRegisters], key = first_key<kEncrypt>(keys);
#pragma GCC unroll 8
    for (size_t i = 0; i < kRegisters; i++)
        blocks[i] = _mm512_xor_si512(key, kWhole ? _mm512_loadu_si512(in + i * 64)
                                                 : _mm512_maskz_loadu_epi8(part_of(bytes, i), in + i * 64));
    go_through<kEncrypt>(blocks, keys);
#pragma GCC unroll 8
    for (size_t i = 0; i < kRegisters; i++) {
        __mmask64 part = kWhole ? ~__mmask64{0} : part_of(bytes, i);
        if (mask != nullptr)
            blocks[i] = _mm512_xor_si512(blocks[i], kWhole ? _mm512_loadu_si512(mask + i * 64)
                                                           : _mm512_maskz_loadu_epi8(part, mask + i * 64));
        if (kWhole)
            _mm512_storeu_si512(out + i * 64, blocks[i]);
        else
            _mm512_mask_storeu_epi8(out + i * 64, part, blocks[i]);
    }
}

template <bool kEncrypt>
DMFS_VAES void process_all(const RoundKeys& keys, const std::byte* in, const std::byte* mask, std::byte* out,
                           size_t bytes) {
    for (; bytes >= kStep; bytes -= kStep, in += kStep, out += kStep) {
        process<kEncrypt, kWide, true>(keys, in, mask, out, kStep);
        if (mask != nullptr) mask += kStep;
    }
    while (bytes > 0) {
        size_t part = std::min(bytes, kStep / 2);
        process<kEncrypt, kWide / 2, false>(keys, in, mask, out, part);
        if (mask != nullptr) mask += part;
        bytes -= part, in += part, out += part;
    }
}

class VaesCipher final : public BlockCipher {
  public:
    explicit VaesCipher(std::span<const std::byte> key) { expand(key, keys_); }

    size_t block_bytes() const override { return kBlock; }
    void encrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const override {
        process_all<true>(keys_, in, mask, out, blocks * kBlock);
    }
    void decrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const override {
        process_all<false>(keys_, in, mask, out, blocks * kBlock);
    }

  private:
    RoundKeys keys_;
};

// Tweaks of 32 blocks.
struct Tweaks {
    __m512i of[kWide];
};

DMFS_VAES_INLINE __m512i reduction() { return _mm512_set1_epi64(0x87); }

// T * x^0 to T * x^31.
DMFS_VAES_INLINE void begin(Tweaks& tweaks, const std::byte* start) {
    __m512i first = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(start)));
    __m512i left = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    __m512i right = _mm512_sub_epi64(_mm512_set1_epi64(64), left);
#pragma GCC unroll 8
    for (size_t i = 0; i < kWide; i++) {
        __m512i out = _mm512_srlv_epi64(first, right);
        __m512i back = _mm512_clmulepi64_epi128(out, reduction(), 0x01);
        tweaks.of[i] = _mm512_ternarylogic_epi64(_mm512_sllv_epi64(first, left), _mm512_bslli_epi128(out, 8),
                                                 back, 0x96);
        left = _mm512_add_epi64(left, _mm512_set1_epi64(4));
        right = _mm512_sub_epi64(right, _mm512_set1_epi64(4));
    }
}

// All of them * x^32.
DMFS_VAES_INLINE void go_on(Tweaks& tweaks) {
#pragma GCC unroll 8
    for (__m512i& each : tweaks.of) {
        __m512i back = _mm512_clmulepi64_epi128(_mm512_bsrli_epi128(each, 12), reduction(), 0x00);
        each = _mm512_xor_si512(_mm512_bslli_epi128(each, 4), back);
    }
}

// kStep bytes, or fewer if not kWhole.
template <bool kEncrypt, bool kWhole>
DMFS_VAES_INLINE void whiten(const RoundKeys& keys, const Tweaks& tweaks, const std::byte* in, std::byte* out,
                             size_t bytes) {
    __m512i blocks[kWide], key = first_key<kEncrypt>(keys);
#pragma GCC unroll 8
    for (size_t i = 0; i < kWide; i++) {
        __m512i block = kWhole ? _mm512_loadu_si512(in + i * 64)
                               : _mm512_maskz_loadu_epi8(part_of(bytes, i), in + i * 64);
        blocks[i] = _mm512_ternarylogic_epi64(block, tweaks.of[i], key, 0x96);
    }
    go_through<kEncrypt>(blocks, keys);
#pragma GCC unroll 8
    for (size_t i = 0; i < kWide; i++) {
        blocks[i] = _mm512_xor_si512(blocks[i], tweaks.of[i]);
        if (kWhole)
            _mm512_storeu_si512(out + i * 64, blocks[i]);
        else
            _mm512_mask_storeu_epi8(out + i * 64, part_of(bytes, i), blocks[i]);
    }
}

class VaesXts final : public SectorCipher {
  public:
    explicit VaesXts(std::span<const std::byte> key) {
        expand(key.first(key.size() / 2), data_);
        expand(key.subspan(key.size() / 2), tweak_);
    }

    size_t iv_bytes() const override { return kBlock; }
    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        run<true>(in, out, sector_bytes, sectors, ivs);
    }
    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        run<false>(in, out, sector_bytes, sectors, ivs);
    }

  private:
    static constexpr size_t kBatch = 32;  // sectors whose first tweaks are encrypted at once

    template <bool kEncrypt>
    DMFS_VAES void run(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                       const std::byte* ivs) const {
        Scratch<kBatch * kBlock> starts;
        while (sectors > 0) {
            size_t batch = std::min(sectors, kBatch);
            const std::byte* start = starts.to(batch * kBlock);
            process_all<true>(tweak_, ivs, nullptr, starts.bytes, batch * kBlock);
            for (size_t i = 0; i < batch; i++, start += kBlock, in += sector_bytes, out += sector_bytes)
                run_sector<kEncrypt>(in, out, sector_bytes, start);
            ivs += batch * kBlock;
            sectors -= batch;
        }
    }

    template <bool kEncrypt>
    DMFS_VAES void run_sector(const std::byte* in, std::byte* out, size_t bytes,
                              const std::byte* start) const {
        Tweaks tweaks;
        begin(tweaks, start);
        for (; bytes >= kStep; bytes -= kStep, in += kStep, out += kStep) {
            whiten<kEncrypt, true>(data_, tweaks, in, out, kStep);
            go_on(tweaks);
        }
        if (bytes > 0) whiten<kEncrypt, false>(data_, tweaks, in, out, bytes);
    }

    RoundKeys data_, tweak_;
};

}  // namespace

bool has_vaes() {
    static const bool has = __builtin_cpu_supports("aes") && __builtin_cpu_supports("avx512f") &&
                            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vaes") &&
                            __builtin_cpu_supports("vpclmulqdq");
    return has;
}

SecretPtr<BlockCipher> make_vaes(std::span<const std::byte> key) { return make_secret<VaesCipher>(key); }

SecretPtr<SectorCipher> make_vaes_xts(std::span<const std::byte> key) { return make_secret<VaesXts>(key); }

}  // namespace dmfs

#else

namespace dmfs {

bool has_vaes() { return false; }
SecretPtr<BlockCipher> make_vaes(std::span<const std::byte>) { return nullptr; }
SecretPtr<SectorCipher> make_vaes_xts(std::span<const std::byte>) { return nullptr; }

}  // namespace dmfs

#endif
