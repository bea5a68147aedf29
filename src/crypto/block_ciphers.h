// What the modes and the tests need of the block ciphers beyond their table.

#pragma once

#include "crypto/cipher.h"

namespace dmfs {

// AES by Crypto++, also where this processor has a faster way.
SecretPtr<BlockCipher> make_cryptopp_aes(std::span<const std::byte> key);

}  // namespace dmfs
