// A block of the stream is 16 words, mixed for some rounds and added to what they were:
//
//      0  1  2  3     constants            one round mixes each column,
//      4  5  6  7     key                  the next each diagonal
//      8  9 10 11     key
//     12 13 14 15     block number, nonce
//
// Blocks differ only in their number, so a vector holds one word of as many blocks as it
// has lanes: 4, 8 or 16, whatever this processor does at once. At the end words and blocks
// are transposed, within each quarter of 16 bytes.

#include "crypto/chacha.h"

#include <cstring>
#include <utility>

#include "crypto/scratch.h"

namespace dmfs {

namespace {

using V4 [[gnu::vector_size(16)]] = uint32_t;
using V8 [[gnu::vector_size(32)]] = uint32_t;
using V16 [[gnu::vector_size(64)]] = uint32_t;

constexpr size_t kChachaBlock = 64;
constexpr size_t kMostLanes = 16;

#define DMFS_INLINE [[gnu::always_inline]] inline

template <class Word>
DMFS_INLINE void rotate(Word& word, int bits) {
    word = word << bits | word >> (32 - bits);
}

template <class Word>
DMFS_INLINE void mix(Word& a, Word& b, Word& c, Word& d) {
    a += b, d ^= a, rotate(d, 16);
    c += d, b ^= c, rotate(b, 12);
    a += b, d ^= a, rotate(d, 8);
    c += d, b ^= c, rotate(b, 7);
}

template <class Word>
DMFS_INLINE void permute(Word* x, int rounds) {
    for (int round = 0; round < rounds; round += 2) {
#pragma GCC unroll 16
        for (int i = 0; i < 4; i++) mix(x[i], x[4 + i], x[8 + i], x[12 + i]);
#pragma GCC unroll 16
        for (int i = 0; i < 4; i++) mix(x[i], x[4 + (i + 1) % 4], x[8 + (i + 2) % 4], x[12 + (i + 3) % 4]);
    }
}

// Which of the words of a, and then b, comes to a lane when they are woven.
template <int kFirst, int kStep>
constexpr int woven_word(int lane, int lanes) {
    int of = kStep == 1 ? lane % 2 : lane % 4 / 2;
    int word = kStep == 1 ? kFirst + lane % 4 / 2 : kFirst + lane % 2;
    return lane / 4 * 4 + word + of * lanes;
}

template <int kFirst, int kStep, class Vector, int... kLane>
DMFS_INLINE void weave_lanes(const Vector& a, const Vector& b, Vector& woven,
                             std::integer_sequence<int, kLane...>) {
    woven = __builtin_shufflevector(a, b, woven_word<kFirst, kStep>(kLane, sizeof...(kLane))...);
}

// Takes from each quarter of a and b their low or high words in turn, or pairs of words.
template <int kFirst, int kStep, class Vector>
DMFS_INLINE void weave(const Vector& a, const Vector& b, Vector& woven) {
    weave_lanes<kFirst, kStep>(a, b, woven, std::make_integer_sequence<int, sizeof(Vector) / 4>());
}

template <class Vector>
DMFS_INLINE void write_blocks(const ChachaState& state, uint32_t number, int rounds, std::byte* out) {
    constexpr uint32_t kLanes = sizeof(Vector) / 4;
    Vector x[16], start[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) start[i] = Vector{} + state[i];
#pragma GCC unroll 16
    for (uint32_t lane = 0; lane < kLanes; lane++) start[12][lane] += number + lane;
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) x[i] = start[i];
    permute(x, rounds);
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) x[i] += start[i];
#pragma GCC unroll 16
    for (size_t row = 0; row < 16; row += 4) {
        Vector low01, low23, high01, high23, blocks[4];
        weave<0, 1>(x[row], x[row + 1], low01);
        weave<0, 1>(x[row + 2], x[row + 3], low23);
        weave<2, 1>(x[row], x[row + 1], high01);
        weave<2, 1>(x[row + 2], x[row + 3], high23);
        weave<0, 2>(low01, low23, blocks[0]);
        weave<2, 2>(low01, low23, blocks[1]);
        weave<0, 2>(high01, high23, blocks[2]);
        weave<2, 2>(high01, high23, blocks[3]);
#pragma GCC unroll 16
        for (size_t i = 0; i < 4; i++)
#pragma GCC unroll 16
            for (size_t quarter = 0; quarter < kLanes / 4; quarter++)
                memcpy(out + (quarter * 4 + i) * kChachaBlock + row * 4,
                       reinterpret_cast<const std::byte*>(&blocks[i]) + quarter * 16, 16);
    }
}

struct Way {
    size_t lanes;
    void (*write)(const ChachaState& state, uint32_t number, int rounds, std::byte* out);
};

void write4(const ChachaState& state, uint32_t number, int rounds, std::byte* out) {
    write_blocks<V4>(state, number, rounds, out);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void write8(const ChachaState& state, uint32_t number, int rounds, std::byte* out) {
    write_blocks<V8>(state, number, rounds, out);
}
[[gnu::target("avx512f")]] void write16(const ChachaState& state, uint32_t number, int rounds,
                                        std::byte* out) {
    write_blocks<V16>(state, number, rounds, out);
}
#endif

// The narrowest that does `blocks` at once, else the widest there is.
Way way_for(size_t blocks) {
    static const size_t most = [] {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f")) return size_t{16};
        if (__builtin_cpu_supports("avx2")) return size_t{8};
#endif
        return size_t{4};
    }();
#if defined(__x86_64__)
    if (blocks > 8 && most >= 16) return {16, write16};
    if (blocks > 4 && most >= 8) return {8, write8};
#endif
    return {std::min<size_t>(most, 4), write4};
}

}  // namespace

ChachaState chacha_state(const std::byte* key, const std::byte* numbers) {
    ChachaState state = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(&state[4], key, 32);
    memcpy(&state[12], numbers, 16);
    return state;
}

ChachaState xchacha_state(const std::byte* key, const std::byte* nonce, int rounds) {
    ChachaState mixed = chacha_state(key, nonce);
    permute(mixed.data(), rounds);
    std::byte subkey[32], numbers[16] = {};
    memcpy(subkey, &mixed[0], 16);
    memcpy(subkey + 16, &mixed[12], 16);
    memcpy(numbers + 8, nonce + 16, 8);
    ChachaState state = chacha_state(subkey, numbers);
    wipe(subkey);
    wipe(std::as_writable_bytes(std::span(mixed)));
    return state;
}

void chacha_combine(const ChachaState& state, int rounds, const std::byte* in, std::byte* out, size_t bytes) {
    Scratch<kMostLanes * kChachaBlock> stream;
    for (uint32_t number = 0; bytes > 0;) {
        Way way = way_for((bytes + kChachaBlock - 1) / kChachaBlock);
        size_t part = std::min(bytes, way.lanes * kChachaBlock);
        way.write(state, number, rounds, stream.to(way.lanes * kChachaBlock));
        combine(in, stream.bytes, out, part);
        number += static_cast<uint32_t>(way.lanes);
        in += part;
        out += part;
        bytes -= part;
    }
}

}  // namespace dmfs
