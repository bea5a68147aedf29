// The digests of a verity volume: of a block and the salt.
//
//     version 1    H(salt, block)      what the salt comes to is computed once, and copied
//     version 0    H(block, salt)

#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "crypto/hash.h"

namespace dmfs::verity {

inline constexpr size_t kMostDigestBytes = 64;
using Digest = std::byte[kMostDigestBytes];  // of which the first digest_bytes() count

class Hasher {
  public:
    Hasher(const HashType& type, unsigned version, std::span<const std::byte> salt)
        : salted_(type.make()),
          digest_bytes_(type.digest_bytes),
          behind_(version == 0 ? salt.begin() : salt.end(), salt.end()) {
        if (version != 0) salted_->update(salt);
    }

    size_t digest_bytes() const { return digest_bytes_; }

    // For one thread: hashes one block after the other.
    class Run {
      public:
        explicit Run(const Hasher& hasher) : hasher_(hasher), hash_(hasher.salted_->copy()) {}

        // Whether that is the block's digest.
        bool matches(std::span<const std::byte> block, const std::byte* digest) {
            Digest found;
            compute(block, found);
            return memcmp(found, digest, hasher_.digest_bytes_) == 0;
        }
        void compute(std::span<const std::byte> block, std::byte* digest) {
            if (used_) hash_->become(*hasher_.salted_);
            used_ = true;
            hash_->update(block);
            if (!hasher_.behind_.empty()) hash_->update(hasher_.behind_);
            hash_->finish(digest);
        }

      private:
        const Hasher& hasher_;
        std::unique_ptr<Hash> hash_;
        bool used_ = false;
    };

    bool matches(std::span<const std::byte> block, const std::byte* digest) const {
        return Run(*this).matches(block, digest);
    }

  private:
    std::unique_ptr<Hash> salted_;
    size_t digest_bytes_;
    std::vector<std::byte> behind_;  // the salt of version 0
};

}  // namespace dmfs::verity
