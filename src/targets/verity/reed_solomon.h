// Reed-Solomon codewords of 255 bytes over GF(2^8) with the polynomial 0x11d, as the
// kernel's rslib is used by dm-verity: the last `roots` bytes are parity.
//
//     w[0] w[1] ... w[254-roots] | w[255-roots] ... w[254]
//
//     W(x) = w[0] x^254 + ... + w[254]  is 0 at  1, a, a^2, ..., a^(roots-1)
//
// `roots` bytes that are known to be wrong (erased) can be put right, or half as many of
// which nothing is known; or e of the one and n of the other, if e + 2 n <= roots.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace dmfs::verity {

inline constexpr size_t kCodewordBytes = 255;
inline constexpr unsigned kMostRoots = 24;

class ReedSolomon {
  public:
    explicit ReedSolomon(unsigned roots) : roots_(roots) {}

    unsigned roots() const { return roots_; }

    // Puts the word right; how many bytes were wrong. Nothing where that cannot be done;
    // then it is as it was. `erased`: places in the word, each once.
    std::optional<unsigned> correct(std::span<uint8_t, kCodewordBytes> word,
                                    std::span<const uint8_t> erased = {}) const;

  private:
    bool syndromes(std::span<const uint8_t, kCodewordBytes> word, uint8_t* syndromes) const;

    unsigned roots_;
};

}  // namespace dmfs::verity
