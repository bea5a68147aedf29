// Vectors: what makes two sectors with the same data look different.
//
//     encrypt:  encrypting()   the vectors;             then the cipher, then encrypted()
//     decrypt:  decrypting()   the vectors; the cipher, then decrypted()
//
// Most are a function of the sector's number. Three look at the data or change it, since
// the formats they serve do: lmk, tcw, elephant.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/units.h"
#include "targets/crypt/spec.h"

namespace dmfs::crypt {

// Sectors that are converted together, at most kMost of them.
struct Run {
    static constexpr size_t kMost = 64;

    std::byte* data;      // where an Iv touches it: the plaintext, or the ciphertext
    size_t sector_bytes;  // 512 to 4096
    size_t count;
    Sector first, step;  // their numbers, of 512 bytes: first, first + step, ..., modulo 2^64
    unsigned shift;      // and from those to what the vectors count

    uint64_t number(size_t index) const { return (first + index * step) >> shift; }
    std::byte* sector(size_t index) const { return data + index * sector_bytes; }
};

inline constexpr size_t kMostIv = 32;  // bytes of a vector

class Iv {
  public:
    virtual ~Iv() = default;

    // Whether it looks at data or changes it. If not, `data` of a run is not used.
    virtual bool touches_data() const { return false; }

    // Writes the vectors one after the other.
    virtual void encrypting(const Run& run, std::byte* ivs) const = 0;
    virtual void encrypted(const Run&) const {}
    virtual void decrypting(const Run& run, std::byte* ivs) const { encrypting(run, ivs); }
    virtual void decrypted(const Run&) const {}
};

// `extra`: the end of the key, see KeyParts. `cipher`: with the first of the keys; it
// lives as long as the Iv. nullptr if there are no vectors.
std::unique_ptr<Iv> make_iv(const CipherSpec& spec, std::span<const std::byte> extra,
                            const SectorCipher& cipher);

}  // namespace dmfs::crypt
