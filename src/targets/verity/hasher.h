// The digests of a verity volume: of a block and the salt.
//
//     version 1    H(salt, block)      what the salt comes to is computed once, and copied
//     version 0    H(block, salt)

#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "crypto/hash.h"
#include "crypto/sha256_pairs.h"

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
        if (type.name == "sha256" && Sha256Pairs::possible())
            pairs_.emplace(version == 0 ? salt.first(0) : salt, behind_);
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
            return hasher_.same(found, digest);
        }
        // The same for many blocks of one size: the answer comes with the next, or with settle().
        void check(std::span<const std::byte> block, const std::byte* digest, bool* right) {
            if (!hasher_.pairs_) {
                *right = matches(block, digest);
            } else if (!waiting_) {
                waiting_ = Check{block.data(), digest, right};
            } else {
                Digest found[2];
                const std::byte* blocks[2] = {waiting_->block, block.data()};
                std::byte* digests[2] = {found[0], found[1]};
                hasher_.pairs_->digest(blocks, block.size(), digests);
                *waiting_->right = hasher_.same(found[0], waiting_->digest);
                *right = hasher_.same(found[1], digest);
                waiting_.reset();
            }
            bytes_ = block.size();
        }
        void settle() {
            if (waiting_) *waiting_->right = matches({waiting_->block, bytes_}, waiting_->digest);
            waiting_.reset();
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
        struct Check {
            const std::byte* block;
            const std::byte* digest;
            bool* right;
        };
        std::optional<Check> waiting_;
        size_t bytes_ = 0;
    };

    bool matches(std::span<const std::byte> block, const std::byte* digest) const {
        return Run(*this).matches(block, digest);
    }

  private:
    bool same(const std::byte* a, const std::byte* b) const { return memcmp(a, b, digest_bytes_) == 0; }

    std::unique_ptr<Hash> salted_;
    size_t digest_bytes_;
    std::vector<std::byte> behind_;  // the salt of version 0
    std::optional<Sha256Pairs> pairs_;
};

}  // namespace dmfs::verity
