#include "targets/verity/hash_cache.h"

#include <algorithm>

namespace dmfs::verity {

namespace {

constexpr uint64_t kAheadBytes = 128 << 10;  // read at once where leaves follow one another

std::shared_ptr<std::byte[]> copy_of(const std::byte* bytes, size_t count) {
    auto copy = std::make_shared_for_overwrite<std::byte[]>(count);
    memcpy(copy.get(), bytes, count);
    return copy;
}

}  // namespace

HashCache::HashCache(Executor& executor, Device& device, const Tree& tree, const Hasher& hasher,
                     std::vector<std::byte> root_digest, Damage& damage, size_t most_bytes)
    : device_(device),
      tree_(tree),
      hasher_(hasher),
      root_digest_(std::move(root_digest)),
      damage_(damage),
      // A way from the root to a leaf always finds room.
      most_blocks_(std::max<size_t>(most_bytes / tree.shape().hash_block, tree.levels() + 1)),
      reading_(executor) {}

// What is in memory.

HashBlock HashCache::find(Node node) {
    std::lock_guard guard(mutex_);
    auto found = kept_.find(tree_.block_of(node));
    if (found == kept_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second.place);
    return found->second.block;
}

void HashCache::keep(Node node, HashBlock block) {
    uint64_t number = tree_.block_of(node);
    std::lock_guard guard(mutex_);
    if (kept_.contains(number)) return;
    if (kept_.size() >= most_blocks_) {
        kept_.erase(order_.back());
        order_.pop_back();
    }
    order_.push_front(number);
    kept_.emplace(number, Kept{std::move(block), order_.begin()});
}

bool HashCache::has(Node node) const {
    std::lock_guard guard(mutex_);
    return kept_.contains(tree_.block_of(node));
}

size_t HashCache::blocks() const {
    std::lock_guard guard(mutex_);
    return kept_.size();
}

void HashCache::forget() {
    std::lock_guard guard(mutex_);
    kept_.clear();
    order_.clear();
}

// What is not.

Task<Status> HashCache::get(Node node, HashBlock* block, Cancel* cancel) {
    *block = find(node);
    return *block ? Task<Status>::ready(kOk) : fetch(node, block, cancel);
}

Task<Status> HashCache::peek(Node node, HashBlock* block) {
    *block = find(node);
    return *block ? Task<Status>::ready(kOk) : load(node, block, How::peeking, nullptr);
}

// One at a time for each block. They are held from a leaf upwards, so no two wait for
// one another.
Task<Status> HashCache::fetch(Node node, HashBlock* block, Cancel* cancel) {
    uint64_t number = tree_.block_of(node);
    Task<Status> locking = reading_.acquire(number, number + 1, cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    RangeLock::Guard guard(reading_, number, number + 1);
    *block = find(node);  // another may have read it meanwhile
    if (!*block) {
        if (uint64_t count = ahead(node); count > 1) {
            Task<Status> loading = load_ahead(node, count, block, cancel);
            status = co_await loading;
        }
        if (status && !*block) {
            Task<Status> loading = load(node, block, How::whole, cancel);
            status = co_await loading;
        }
    }
    co_return status;
}

// One block: read, verified, repaired.
Task<Status> HashCache::load(Node node, HashBlock* block, How how, Cancel* cancel) {
    Memory memory(bytes());
    HashBlock parent;
    Task<Status> reading = read(node, 1, &memory, cancel);
    reading.start();
    Task<Status> going_up = above(node, &parent, how, cancel);
    Status known = co_await going_up;
    Status status = co_await reading;
    if (!known) co_return known;
    const std::byte* digest = digest_of(node, parent);
    bool right = status && hasher_.matches({memory.data(), bytes()}, digest);
    if (!right && how == How::peeking) co_return Status(EIO);
    if (!right && repairer_ != nullptr) {
        Task<Status> repairing =
            repairer_->repair(BlockKind::hash, tree_.block_of(node), digest, memory.data(), cancel);
        Status repaired = co_await repairing;
        if (repaired.error() == EINTR) co_return repaired;
        right = repaired.good();
    }
    if (!right && !status) co_return status;
    if (!right && damage_.found(BlockKind::hash, tree_.block_of(node))) co_return kCorrupted;
    *block = copy_of(memory.data(), bytes());
    if (right) keep(node, *block);
    co_return kOk;
}

// How many leaves to read at once: not beyond those that have the same parent.
uint64_t HashCache::ahead(Node node) {
    if (node.level != 0 || tree_.is_top(node)) return 1;
    uint64_t next = next_leaf_.exchange(node.index + 1, std::memory_order_relaxed);
    if (next != node.index) return 1;
    uint64_t most = std::clamp<uint64_t>(kAheadBytes / bytes(), 1, std::max<size_t>(most_blocks_ / 4, 1));
    uint64_t siblings = tree_.per_block() - node.index % tree_.per_block();
    uint64_t count = std::min({most, siblings, tree_.blocks_in(0) - node.index});
    next_leaf_.store(node.index + count, std::memory_order_relaxed);
    return count;
}

// Keeps those of `count` leaves that are right. The others, and where they cannot be read
// together, are left to who wants them.
Task<Status> HashCache::load_ahead(Node node, uint64_t count, HashBlock* block, Cancel* cancel) {
    Memory memory(count * bytes());
    HashBlock parent;
    Task<Status> reading = read(node, count, &memory, cancel);
    reading.start();
    Task<Status> going_up = above(node, &parent, How::whole, cancel);
    Status known = co_await going_up;
    Status status = co_await reading;
    if (!known || !status) co_return known;
    Hasher::Run run(hasher_);
    for (uint64_t i = count; i-- > 0;) {  // the first is wanted now: it is kept last
        Node leaf{node.level, node.index + i};
        const std::byte* bytes_of_leaf = memory.data() + i * bytes();
        if (!run.matches({bytes_of_leaf, bytes()}, digest_of(leaf, parent))) continue;
        HashBlock right = copy_of(bytes_of_leaf, bytes());
        keep(leaf, right);
        if (i == 0) *block = std::move(right);
    }
    co_return kOk;
}

Task<Status> HashCache::read(Node node, uint64_t count, Memory* memory, Cancel* cancel) {
    Bio bio;
    bio.sector = sectors_in(tree_.block_of(node) * bytes());
    bio.count = sectors_in(count * bytes());
    bio.memory = memory;
    bio.cancel = cancel;
    return device_.io(bio);
}

// The block that has the node's digest; none above the top.
Task<Status> HashCache::above(Node node, HashBlock* block, How how, Cancel* cancel) {
    if (tree_.is_top(node)) return Task<Status>::ready(kOk);
    Node parent = tree_.parent(node).node;
    return how == How::peeking ? peek(parent, block) : get(parent, block, cancel);
}

const std::byte* HashCache::digest_of(Node node, const HashBlock& above) const {
    return above ? above.get() + tree_.parent(node).byte : root_digest_.data();
}

}  // namespace dmfs::verity
