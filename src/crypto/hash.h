// Hash: the digests of Linux' crypto API, by its names.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace dmfs {

// One computation. Not for several threads at once: each makes or copies its own.
class Hash {
  public:
    virtual ~Hash() = default;
    virtual size_t digest_bytes() const = 0;
    virtual void update(std::span<const std::byte> bytes) = 0;
    // Writes digest_bytes() and begins anew.
    virtual void finish(std::byte* digest) = 0;
    // One that has come as far, so that a common beginning is computed once.
    virtual std::unique_ptr<Hash> copy() const = 0;
    // As copy(), into one that the same type made.
    virtual void become(const Hash& other) = 0;
};

struct HashType {
    std::string_view name;  // "sha256"
    size_t digest_bytes;
    size_t block_bytes;
    std::unique_ptr<Hash> (*make)();
};

const std::vector<HashType>& hash_types();
const HashType* find_hash(std::string_view name);  // or nullptr

}  // namespace dmfs
