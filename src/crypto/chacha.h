// ChaCha: a key and a nonce become a stream of bytes; and XChaCha, with a longer nonce.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace dmfs {

using ChachaState = std::array<uint32_t, 16>;  // constants, key, block number and nonce

// "expand 32-byte k", the key of 32 bytes, 16 bytes of numbers.
ChachaState chacha_state(const std::byte* key, const std::byte* numbers);

// What XChaCha starts from: a key made of the key and the first 16 bytes of the nonce,
// block number 0, and the last 8 bytes of the nonce.
ChachaState xchacha_state(const std::byte* key, const std::byte* nonce, int rounds);

// out = in ^ the stream from its beginning. `out` may be `in`.
void chacha_combine(const ChachaState& state, int rounds, const std::byte* in, std::byte* out, size_t bytes);

}  // namespace dmfs
