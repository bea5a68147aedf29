// Converter: sectors into ciphertext and back, with one key.
//
//     number of a sector    counts 512 bytes, whatever the size of the sectors
//     key                   number mod keys           (several keys take turns)
//     vector                of the number, or of number / (sector size / 512)
//
// May be used by several threads at once.

#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/units.h"
#include "targets/crypt/iv.h"
#include "targets/crypt/spec.h"

namespace dmfs::crypt {

// How the sectors of a row are counted.
struct SectorForm {
    size_t bytes = kSectorBytes;  // of a sector
    bool iv_large = false;        // vectors count sectors of this size
};

class Converter {
  public:
    // `key` is one that takes_key().
    Converter(const CipherSpec& spec, SectorForm form, std::span<const std::byte> key);

    // Whole sectors, of which the first has this number.
    void encrypt(const std::byte* in, std::byte* out, size_t bytes, Sector number) const;
    void decrypt(std::byte* data, size_t bytes, Sector number) const;

  private:
    template <class Convert>
    void each_run(std::byte* data, size_t bytes, Sector number, Convert convert) const;
    void encrypt_run(const std::byte* in, const Run& run, const SectorCipher& cipher) const;
    void decrypt_run(const Run& run, const SectorCipher& cipher) const;

    const SectorForm form_;
    const unsigned shift_;  // from a number to what the vector counts
    std::vector<SecretPtr<SectorCipher>> ciphers_;
    std::unique_ptr<Iv> iv_;
};

}  // namespace dmfs::crypt
