// verity: a device that is read only as it was when its hash tree was made. (verity.cc is
// the way of a request, tree.h the tree, hash_cache.h how its blocks come to memory,
// fec.h how blocks are repaired, settings.h the words.)
//
//     verity VERSION DATA HASH DATA_BLOCK HASH_BLOCK BLOCKS HASH_START ALGORITHM DIGEST SALT
//            [COUNT FEATURE...]
//
//     sector s of the row    ->   sector s of DATA
//
//     read [    |    |    ]       data blocks, from DATA            } at the same time
//             digests [   ]       their hash blocks, from HASH      }
//          =    =    /=           each block's digest is compared; the third is corrupted:
//                                 it is repaired, if there is parity, or the request fails
//
// Nothing is ever written, so there is no order and nothing that a crash could leave. What
// was read is as DIGEST says, or the request fails, whoever has changed the devices.

#include <cstdlib>

#include "base/log.h"
#include "parts/one_device.h"
#include "targets/registry.h"
#include "targets/verity/fec.h"
#include "targets/verity/hash_cache.h"
#include "targets/verity/settings.h"

namespace dmfs {

namespace {

using namespace verity;

constexpr size_t kHashMemory = 4 << 20;  // bytes of hash blocks that are kept for a row
constexpr size_t kPiece = 32 << 10;      // bytes of data that one thread hashes at a time

// Which data blocks were found right, for check_at_most_once; memory that is touched only
// where there are some.
class SeenBlocks {
  public:
    explicit SeenBlocks(uint64_t blocks)
        : words_(static_cast<uint64_t*>(std::calloc(blocks / 64 + 1, sizeof(uint64_t)))) {
        if (!words_) throw Refused(ENOMEM, "no memory to remember which blocks were checked");
    }
    bool has(uint64_t block) const {
        return (std::atomic_ref(words_.get()[block / 64]).load(std::memory_order_relaxed) >> (block % 64) &
                1) != 0;
    }
    void add(uint64_t block) {
        std::atomic_ref(words_.get()[block / 64])
            .fetch_or(uint64_t{1} << (block % 64), std::memory_order_relaxed);
    }

  private:
    struct Free {
        void operator()(uint64_t* words) const { std::free(words); }
    };
    std::unique_ptr<uint64_t, Free> words_;
};

class Verity final : public OneDevice, private Lifecycle {
  public:
    Verity(TargetSetup& setup, Settings settings)
        : OneDevice(*settings.data, setup.length()),
          executor_(setup.executor()),
          settings_(std::move(settings)),
          block_sectors_(sectors_in(settings_.data_block)),
          tree_(settings_.shape),
          hasher_(*settings_.algorithm, settings_.shape.version, settings_.salt),
          damage_(settings_.on_corruption, settings_.on_error, settings_.data->name(),
                  settings_.hash->name()),
          hashes_(executor_, *settings_.hash, tree_, hasher_, settings_.root_digest, damage_, kHashMemory) {
        if (settings_.check_at_most_once) seen_ = std::make_unique<SeenBlocks>(settings_.shape.data_blocks);
        if (settings_.ignore_zero_blocks) {
            zero_digest_.resize(hasher_.digest_bytes());
            Hasher::Run(hasher_).compute(std::vector<std::byte>(settings_.data_block), zero_digest_.data());
        }
        if (settings_.fec) {
            fec_ = std::make_unique<Fec>(executor_, settings_, tree_, hasher_, hashes_, zero_digest_);
            hashes_.repair_with(fec_.get());
        }
    }

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::flush) return Task<Status>::ready(kOk);
        if (bio.op != Op::read || damage_.halted()) return Task<Status>::ready(Status(EIO));
        return read(bio);
    }

    Flushing flushing() const override { return Flushing::none; }

    void adjust(Limits& limits) const override {
        auto block = static_cast<uint32_t>(settings_.data_block);
        limits.logical_block = std::max(limits.logical_block, block);
        limits.physical_block = std::max(limits.physical_block, block);
        limits.io_min = limits.logical_block;
        limits.discard_granularity = 0;
        limits.write_zeroes = limits.write_cache = limits.fua = false;
    }

    std::string status(StatusKind kind) const override {
        switch (kind) {
            case StatusKind::info:
                return damage_.any() ? "C" : "V";
            case StatusKind::table:
                return settings_.words();
            case StatusKind::measure:
                return settings_.measured(damage_.any());
        }
        return {};
    }

    // Also where DATA has a hole: zeros have to be right as anything else.
    bool differs() const override { return true; }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override;

    void each_side_device(const DeviceVisitor& visit) const override {
        visit(*settings_.hash, sectors_in(tree_.shape().hash_start * tree_.shape().hash_block),
              sectors_in((tree_.end() - tree_.shape().hash_start) * tree_.shape().hash_block));
        if (fec_) fec_->each_device(visit);
    }

    Lifecycle* lifecycle() override { return this; }

  private:
    // The devices may be others' when the volume goes on.
    void postsuspend() override { hashes_.forget(); }

    // The data blocks of a request, and what is known of them.
    struct Blocks {
        uint64_t first = 0, count = 0;
        std::byte* data = nullptr;
        bool were_read = true;
        uint64_t first_leaf = 0;
        std::vector<HashBlock> leaves;  // from first_leaf on
        std::vector<uint8_t> wrong;     // of each: whether its digest is another
    };

    Task<Status> read(Bio bio);
    bool trim_seen(uint64_t* from, uint64_t* end) const;
    Task<Status> get_leaves(Blocks* blocks, Cancel* cancel);
    void verify(Blocks& blocks);
    void verify_some(Blocks& blocks, uint64_t from, uint64_t end);
    Task<Status> mend(Blocks* blocks, uint64_t which, Cancel* cancel);
    Task<Status> read_again(uint64_t block, std::byte* to, Cancel* cancel);

    // What is explained: sectors, and of those the data blocks whose digests are asked for.
    struct Asked {
        Sector at, count;
        uint64_t first, end;
    };
    bool explain_hashes(Node node, const Asked& asked, const StepVisitor& visit) const;

    bool is_seen(uint64_t block) const { return seen_ && seen_->has(block); }
    bool is_zero(const std::byte* digest) const {
        return !zero_digest_.empty() && memcmp(digest, zero_digest_.data(), zero_digest_.size()) == 0;
    }
    const std::byte* digest_of(const Blocks& blocks, uint64_t block) const {
        if (tree_.levels() == 0) return hashes_.root_digest();
        Slot slot = tree_.leaf(block);
        return blocks.leaves[slot.node.index - blocks.first_leaf].get() + slot.byte;
    }

    Executor& executor_;
    const Settings settings_;
    const Sector block_sectors_;
    const Tree tree_;
    const Hasher hasher_;
    Damage damage_;
    HashCache hashes_;
    std::unique_ptr<SeenBlocks> seen_;    // or none
    std::vector<std::byte> zero_digest_;  // of a block of zeros; empty: they are as others
    std::unique_ptr<Fec> fec_;            // or none
};

Task<Status> Verity::read(Bio bio) {
    Blocks blocks;
    blocks.first = bio.sector / block_sectors_;
    blocks.count = bio.count / block_sectors_;
    Task<Status> reading = device().io(below(bio));
    reading.start();
    Task<Status> getting = get_leaves(&blocks, bio.cancel);
    Status known = co_await getting;
    Status status = co_await reading;
    if (!status && fec_ && status.error() != EINTR) {  // block by block, some may be readable
        blocks.were_read = false;
        status = kOk;
    }
    status = status.and_then(known);
    if (status && !blocks.were_read && seen_) {  // what was right before may be repaired now
        Task<Status> getting_all = get_leaves(&blocks, bio.cancel);
        status = co_await getting_all;
    }
    if (status) {
        blocks.wrong.assign(blocks.count, blocks.were_read ? 0 : 1);
        if (bio.bytes() > kPiece && is_executor_thread()) {
            Workers::Enter enter = executor_.workers().enter();
            co_await enter;
        }
        blocks.data = bio.data();
        if (blocks.were_read) verify(blocks);
        for (uint64_t i = 0; i < blocks.count && status; i++) {
            if (blocks.wrong[i] == 0) continue;
            Task<Status> mending = mend(&blocks, i, bio.cancel);
            status = co_await mending;
        }
    }
    if (status == kCorrupted) co_return Status(EIO);
    if (!status && status.error() != EINTR) damage_.request_failed();
    co_return status;
}

// Leaves of [from, end) what is still to be checked, and all between; whether that is anything.
bool Verity::trim_seen(uint64_t* from, uint64_t* end) const {
    while (*from < *end && is_seen(*from)) ++*from;
    while (*from < *end && is_seen(*end - 1)) --*end;
    return *from < *end;
}

// Those that have digests of blocks that are still to be checked.
Task<Status> Verity::get_leaves(Blocks* blocks, Cancel* cancel) {
    uint64_t from = blocks->first, end = from + blocks->count;
    blocks->leaves.clear();
    if (blocks->were_read && !trim_seen(&from, &end)) co_return kOk;
    if (tree_.levels() == 0) co_return kOk;
    blocks->first_leaf = tree_.leaf(from).node.index;
    for (uint64_t leaf = blocks->first_leaf; leaf <= tree_.leaf(end - 1).node.index; leaf++) {
        HashBlock block;
        Task<Status> getting = hashes_.get(Node{0, leaf}, &block, cancel);
        Status status = co_await getting;
        if (!status) co_return status;
        blocks->leaves.push_back(std::move(block));
    }
    co_return kOk;
}

void Verity::verify(Blocks& blocks) {
    uint64_t at_a_time = std::max<uint64_t>(kPiece / settings_.data_block, 1);
    if (blocks.count <= at_a_time) return verify_some(blocks, 0, blocks.count);
    executor_.workers().share((blocks.count - 1) / at_a_time + 1, [&](size_t piece) {
        verify_some(blocks, piece * at_a_time, std::min((piece + 1) * at_a_time, blocks.count));
    });
}

void Verity::verify_some(Blocks& blocks, uint64_t from, uint64_t end) {
    Hasher::Run run(hasher_);
    bool right[kPiece / kSectorBytes];
    uint64_t checked[kPiece / kSectorBytes];
    size_t count = 0;
    for (uint64_t i = from; i < end; i++) {
        uint64_t block = blocks.first + i;
        if (is_seen(block)) continue;
        std::byte* data = blocks.data + i * settings_.data_block;
        const std::byte* digest = digest_of(blocks, block);
        if (is_zero(digest)) {
            memset(data, 0, settings_.data_block);
            continue;
        }
        run.check({data, settings_.data_block}, digest, &right[count]);
        checked[count++] = i;
    }
    run.settle();
    for (size_t n = 0; n < count; n++) {
        if (!right[n]) blocks.wrong[checked[n]] = 1;
        if (right[n] && seen_) seen_->add(blocks.first + checked[n]);
    }
}

// A block that is not what it should be, or that was not read. After this it is right, or
// passes all the same, or the request fails.
Task<Status> Verity::mend(Blocks* blocks, uint64_t which, Cancel* cancel) {
    uint64_t block = blocks->first + which;
    std::byte* data = blocks->data + which * settings_.data_block;
    Status readable;
    const std::byte* digest = digest_of(*blocks, block);
    if (!blocks->were_read && is_zero(digest)) {
        memset(data, 0, settings_.data_block);
        co_return kOk;
    }
    if (!blocks->were_read) {
        Task<Status> reading = read_again(block, data, cancel);
        readable = co_await reading;
        if (readable && hasher_.matches({data, settings_.data_block}, digest)) co_return kOk;
    }
    if (fec_) {
        Task<Status> repairing = fec_->repair(BlockKind::data, block, digest, data, cancel);
        Status repaired = co_await repairing;
        if (repaired || repaired.error() == EINTR) co_return repaired;
    }
    if (!readable) co_return readable;
    co_return damage_.found(BlockKind::data, block) ? kCorrupted : kOk;
}

Task<Status> Verity::read_again(uint64_t block, std::byte* to, Cancel* cancel) {
    Memory memory = Memory::lend(to, settings_.data_block);
    Bio bio;
    bio.sector = block * block_sectors_;
    bio.count = block_sectors_;
    bio.memory = &memory;
    bio.cancel = cancel;
    Task<Status> reading = device().io(bio);
    Status status = co_await reading;
    co_return status;
}

// The data, and the hash blocks that are not in memory, from the leaves upwards.
void Verity::explain(Op op, Sector at, Sector count, const StepVisitor& visit) const {
    if (op == Op::flush) return visit(Step{op, at, count, nullptr, 0, "nothing to flush"});
    if (op != Op::read || damage_.halted())
        return visit(Step{op, at, count, nullptr, 0, op == Op::read ? "halted: fails" : "read-only: fails"});
    uint64_t first = at / block_sectors_, end = (at + count - 1) / block_sectors_ + 1;
    visit(Step{op, at, count, &device(), at,
               end - first == 1 ? "data block " + std::to_string(first)
                                : "data blocks " + std::to_string(first) + " to " + std::to_string(end - 1)});
    if (tree_.levels() == 0 || !trim_seen(&first, &end)) return;
    explain_hashes(Node{tree_.levels() - 1, 0}, {at, count, first, end}, visit);
}

// A hash block is read if it is not in memory, and if what it has the digest of is read, too.
bool Verity::explain_hashes(Node node, const Asked& asked, const StepVisitor& visit) const {
    bool wanted = node.level == 0;
    if (!wanted) {
        uint64_t last = tree_.above(node.level - 1, asked.end - 1).index;
        Node child{node.level - 1,
                   std::max(tree_.first_child(node), tree_.above(node.level - 1, asked.first).index)};
        for (; child.index <= last && tree_.parent(child).node.index == node.index; child.index++)
            if (explain_hashes(child, asked, visit)) wanted = true;
    }
    if (!wanted || hashes_.has(node)) return false;
    Sector begin = std::max(asked.at, tree_.first_data_block(node) * block_sectors_);
    Sector until = std::min(asked.at + asked.count, tree_.end_data_block(node) * block_sectors_);
    uint64_t block = tree_.block_of(node);
    visit(Step{Op::read, begin, until - begin, settings_.hash, block * sectors_in(tree_.shape().hash_block),
               "hash block " + std::to_string(block) + ", level " + std::to_string(node.level)});
    return true;
}

}  // namespace

std::unique_ptr<Target> make_verity(TargetSetup& setup) {
    return std::make_unique<Verity>(setup, read_settings(setup));
}

}  // namespace dmfs
