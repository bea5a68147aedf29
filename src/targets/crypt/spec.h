// The first word of a crypt row: which cipher, in which mode, with which vectors.
//
//     aes-cbc-essiv:sha256       CIPHER[:KEYS]-MODE-IV[:OPTION]
//     aes:64-cbc-lmk             64 keys, which the sectors take in turn
//     capi:xts(aes)-plain64      capi:NAME-IV[:OPTION], NAME as Linux' crypto API has it
//     aes                        as aes-cbc-plain, which it meant once
//
// And the key that it needs, one word after all its parts are put together:
//
//     | cipher key 0 | cipher key 1 | ... | what the vectors need |

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/refused.h"
#include "crypto/cipher.h"
#include "crypto/hash.h"

namespace dmfs::crypt {

enum class IvKind : uint8_t { none, null, plain, plain64, plain64be, benbi, lmk, tcw, eboiv, elephant };

struct CipherSpec {
    std::string text;  // as it was written
    const CipherType* cipher = nullptr;
    const ModeType* mode = nullptr;
    // Vectors are encrypted with these hashes of the key, one after the other; mostly none.
    std::vector<const HashType*> essiv;
    unsigned keys = 1;  // a power of two
    IvKind iv = IvKind::none;

    // The bytes of one vector; 0 if there is none.
    size_t iv_bytes() const { return mode->iv_bytes(*cipher); }
    // What the mode works in: a byte, if it makes a stream.
    size_t block_bytes() const;
};

// Throws Refused, whose place is a column and a length within `text`. Its error is the
// kernel's: ENOENT for a cipher, mode or hash that there is not, else EINVAL.
CipherSpec parse_cipher(std::string_view text);

// How the bytes of a key are shared out.
struct KeyParts {
    size_t each = 0;   // of each of the spec's keys
    size_t extra = 0;  // of what the vectors need
    size_t extra_at = 0;
};
KeyParts key_parts(const CipherSpec& spec, size_t key_bytes);
// Whether a key of so many bytes fits.
bool takes_key(const CipherSpec& spec, size_t key_bytes);
// Those that fit, for people: "16, 24 or 32".
std::string key_sizes(const CipherSpec& spec);

}  // namespace dmfs::crypt
