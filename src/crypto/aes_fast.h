// AES by the processor's own instructions.

#pragma once

#include "crypto/cipher.h"

namespace dmfs {

// One way for each width of registers.
enum class AesWay {
    none,
    one_block,    // AES-NI
    two_blocks,   // VAES, AVX2
    four_blocks,  // VAES, AVX-512
};

// Whether this processor has a way; none is one that any has.
bool has_way(AesWay way);
// The widest that it has.
AesWay best_aes_way();

// In a way that there is, and not by none.
SecretPtr<BlockCipher> make_fast_aes(AesWay way, std::span<const std::byte> key);
// For sectors of any whole blocks; made for those of a multiple of 512 bytes.
SecretPtr<SectorCipher> make_fast_aes_xts(AesWay way, std::span<const std::byte> key);

}  // namespace dmfs
