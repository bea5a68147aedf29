// Ciphers, and the modes in which they encrypt sectors.
//
//     BlockCipher     a key; single blocks              aes, serpent, twofish, ...
//     SectorCipher    a key; sectors, each with its IV  xts, cbc, ecb, ctr, lrw, ...
//
// Names are those of Linux' crypto API. All of it may be used by several threads at
// once. Input and output are the same memory or do not overlap.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secret.h"

namespace dmfs {

class BlockCipher {
  public:
    virtual ~BlockCipher() = default;
    virtual size_t block_bytes() const = 0;  // 8 or 16; 1 of cipher_null
    // `blocks` blocks, each by itself. Many at once are several times as fast as one by one.
    void encrypt(const std::byte* in, std::byte* out, size_t blocks) const {
        encrypt(in, nullptr, out, blocks);
    }
    void decrypt(const std::byte* in, std::byte* out, size_t blocks) const {
        decrypt(in, nullptr, out, blocks);
    }
    // What comes out is combined (xor) with `mask`, which is as long, and the same memory
    // as `out` or none of it. nullptr: with nothing.
    virtual void encrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const = 0;
    virtual void decrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const = 0;
};

struct CipherType {
    std::string_view name;  // "aes"
    size_t block_bytes;
    size_t least_key_bytes, most_key_bytes, key_step;  // a key has least + n * step bytes
    // For a key of such a size. nullptr: not a block cipher, but what adiantum is made
    // of ("xchacha12,aes"), and only to be used with that mode.
    SecretPtr<BlockCipher> (*make)(std::span<const std::byte> key);

    bool takes_key(size_t bytes) const {
        return bytes >= least_key_bytes && bytes <= most_key_bytes &&
               (key_step == 0 ? bytes == least_key_bytes : (bytes - least_key_bytes) % key_step == 0);
    }
};

const std::vector<CipherType>& cipher_types();
const CipherType* find_cipher(std::string_view name);  // or nullptr

class SectorCipher {
  public:
    virtual ~SectorCipher() = default;
    // The size of one IV; 0: the mode needs none.
    virtual size_t iv_bytes() const = 0;
    // `sectors` sectors of `sector_bytes` (some whole blocks; 16 or more with adiantum), each
    // with the next `iv_bytes()` of `ivs`. A whole request in one call is the fastest.
    virtual void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                         const std::byte* ivs) const = 0;
    virtual void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                         const std::byte* ivs) const = 0;
};

struct ModeType {
    std::string_view name;  // "xts"
    // Bytes of an IV for this cipher. 0: none is needed.
    size_t (*iv_bytes)(const CipherType& cipher);
    // Whether the kernel has this mode for this cipher (xts: blocks of 16 bytes; ...).
    bool (*takes_cipher)(const CipherType& cipher);
    // Whether a key is so long: xts takes two of the cipher's, lrw one and a block, ...
    bool (*takes_key)(const CipherType& cipher, size_t bytes);
    SecretPtr<SectorCipher> (*make)(const CipherType& cipher, std::span<const std::byte> key);
};

const std::vector<ModeType>& mode_types();
const ModeType* find_mode(std::string_view name);  // or nullptr

}  // namespace dmfs
