// What the tests and the bench need of the modes beyond their table.

#pragma once

#include "crypto/cipher.h"

namespace dmfs {

// XTS over any two ciphers with blocks of 16 bytes: one for data, one for tweaks.
SecretPtr<SectorCipher> make_xts(SecretPtr<BlockCipher> data, SecretPtr<BlockCipher> tweaks);

}  // namespace dmfs
