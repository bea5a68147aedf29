// SHA-256 of two messages at once, where the processor has instructions for it. Each round
// waits for the one before it, so two computations that do not wait for one another take
// hardly longer than one.
//
//     digest(A) = SHA-256( before | A | behind )       both of the same length
//
// The first whole blocks of `before` are computed once. By any number of threads.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dmfs {

class Sha256Pairs {
  public:
    // Whether this processor can.
    static bool possible();

    Sha256Pairs(std::span<const std::byte> before, std::span<const std::byte> behind);

    // `messages` of `bytes` each; a digest has 32.
    void digest(const std::byte* const messages[2], size_t bytes, std::byte* const digests[2]) const;

  private:
    using State = std::array<uint32_t, 8>;

    State begun_;                    // after the whole blocks of `before`
    std::vector<std::byte> before_;  // what is left of it
    std::vector<std::byte> behind_;
    uint64_t bytes_around_;  // of both
};

}  // namespace dmfs
