// AES on processors that do four blocks in one instruction (VAES with AVX-512).

#pragma once

#include "crypto/cipher.h"

namespace dmfs {

// Whether this processor does. If not, the others are not to be called.
bool has_vaes();

SecretPtr<BlockCipher> make_vaes(std::span<const std::byte> key);
// For sectors of any whole blocks; made for those of a multiple of 512 bytes.
SecretPtr<SectorCipher> make_vaes_xts(std::span<const std::byte> key);

}  // namespace dmfs
