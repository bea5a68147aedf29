// Adiantum: sectors encrypted as one wide block each, for processors without AES.

#pragma once

#include "crypto/cipher.h"

namespace dmfs {

// For a key of 32 bytes; 12 or 20 rounds of ChaCha.
SecretPtr<SectorCipher> make_adiantum(int rounds, std::span<const std::byte> key);

}  // namespace dmfs
