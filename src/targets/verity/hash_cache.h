// The blocks of the hash tree that were read, each verified once, in bounded memory.
//
//     get(leaf) -- in memory? ------------------------------------------> there it is
//               `- else read it; meanwhile get(its parent), and so on up to the root digest;
//                  compare, repair where it can be, keep it
//
// Who wants a block that another is just reading waits for that one. Leaves that are
// asked for one after the other are read ahead, several with one request. The blocks that
// nobody has wanted for the longest time go first; who holds one keeps it all the same.

#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/device.h"
#include "engine/locks.h"
#include "targets/verity/damage.h"
#include "targets/verity/hasher.h"
#include "targets/verity/tree.h"

namespace dmfs::verity {

// A block of the tree. It is what its digest says, or ignore_corruption lets it pass.
using HashBlock = std::shared_ptr<const std::byte[]>;

class HashCache {
  public:
    HashCache(Executor& executor, Device& device, const Tree& tree, const Hasher& hasher,
              std::vector<std::byte> root_digest, Damage& damage, size_t most_bytes);

    // Puts damaged blocks right, from now on. Before the first request.
    void repair_with(Repairer* repairer) { repairer_ = repairer; }

    // The block. kCorrupted: it is not what its digest says; else why it cannot be read.
    Task<Status> get(Node node, HashBlock* block, Cancel* cancel);
    // The same without waiting for anybody, repairing or reporting anything: for who
    // is repairing.
    Task<Status> peek(Node node, HashBlock* block);

    bool has(Node node) const;
    void forget();
    size_t most_blocks() const { return most_blocks_; }
    size_t blocks() const;

    const std::byte* root_digest() const { return root_digest_.data(); }

  private:
    enum class How { whole, peeking };
    struct Kept {
        HashBlock block;
        std::list<uint64_t>::iterator place;  // in order_
    };

    HashBlock find(Node node);
    void keep(Node node, HashBlock block);
    uint64_t ahead(Node node);
    size_t bytes() const { return tree_.shape().hash_block; }

    Task<Status> fetch(Node node, HashBlock* block, Cancel* cancel);
    Task<Status> load(Node node, HashBlock* block, How how, Cancel* cancel);
    Task<Status> load_ahead(Node node, uint64_t count, HashBlock* block, Cancel* cancel);
    Task<Status> read(Node node, uint64_t count, Memory* memory, Cancel* cancel);
    Task<Status> above(Node node, HashBlock* block, How how, Cancel* cancel);
    const std::byte* digest_of(Node node, const HashBlock& above) const;

    Device& device_;
    const Tree& tree_;
    const Hasher& hasher_;
    const std::vector<std::byte> root_digest_;
    Damage& damage_;
    Repairer* repairer_ = nullptr;
    const size_t most_blocks_;

    RangeLock reading_;                   // by the block's number on the device
    std::atomic<uint64_t> next_leaf_{0};  // after the last that was read

    mutable std::mutex mutex_;
    std::unordered_map<uint64_t, Kept> kept_;
    std::list<uint64_t> order_;  // the latest use first
};

}  // namespace dmfs::verity
