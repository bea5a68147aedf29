// dust: one device with blocks that went bad, until they are written again.
//
//     dust DEVICE START BLOCK
//
//     device   |.......|xxxxxxx|.......|.......|    bad block 1: a read of it fails
//     block        0       1       2       3        BLOCK bytes each, from sector 0 of DEVICE
//
// Sector s of the row is sector START + s of DEVICE. Once enabled, a read of a bad block
// fails with EIO; a write makes the block good, but fails so many times first as the
// block was added with.
//
// As in the kernel
// - blocks are counted from the beginning of the device, but requests are cut at BLOCK
//   from the beginning of the row; of each piece the first sector says which block it is;
// - a discard, of any length, is a write of the block in which it begins;
// - a flush is a write of the block at START, less the sectors before the row.
//
// The list is in memory: it goes with the table. What a crash leaves is what it leaves
// of the device.

#include <strings.h>

#include <atomic>
#include <map>
#include <mutex>

#include "base/log.h"
#include "parts/one_device.h"
#include "parts/pieces.h"
#include "parts/plus.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr uint64_t kMostBlockBytes = uint64_t{1} << 30;
constexpr unsigned kMostFailures = 255;

class Dust final : public OneDevice {
  public:
    explicit Dust(TargetSetup& setup)
        : OneDevice(setup, 0),
          executor_(setup.executor()),
          block_sectors_(sectors_in(block_bytes(setup))),
          flushed_block_((start() - setup.row_start()) / block_sectors_) {}

    Task<Status> io(Bio bio) override {
        if (all_good()) return device().io(below(bio));
        if (bio.op == Op::flush) return serve(bio, flushed_block_);
        // Zeros are written, as the kernel writes them: block after block.
        if (bio.op == Op::write_zeroes && bio.count > block_sectors_ - bio.sector % block_sectors_)
            return in_pieces(this, &Dust::io, bio, block_sectors_, &executor_);
        return serve(bio, block_of(bio.sector));
    }

    Sector chunk() const override { return block_sectors_; }
    Flushing flushing() const override { return Flushing::itself; }

    // Bad blocks are data: whoever copies the volume shall meet them.
    bool differs() const override { return !all_good(); }
    Extent extent(Sector at, Look& look) override {
        if (std::optional<Spoilt> spoilt = next_spoilt(at)) {
            if (spoilt->from <= at) return {true, spoilt->end};
            Extent below = below_extent(at, look);
            return {below.data, std::min(below.end, spoilt->from)};
        }
        return below_extent(at, look);
    }
    void adjust(Limits& limits) const override { limits.write_zeroes = false; }

    std::string status(StatusKind kind) const override {
        if (kind == StatusKind::table) return place() + " " + std::to_string(bytes_of(block_sectors_));
        if (kind == StatusKind::measure) return {};
        return quote_word(device().name()) + (enabled_ ? " fail_read_on_bad_block" : " bypass") +
               (quiet_ ? " quiet" : " verbose");
    }

    std::string message(const std::vector<Word>& words) override {
        const std::string_view verb = verb_of(words);
        if (verb == "addbadblock") return add(words, block_in(words[1]));
        if (verb == "removebadblock") return remove(words[1], block_in(words[1]));
        if (verb == "queryblock") return query(block_in(words[1]));
        if (verb == "countbadblocks")
            return "countbadblocks: " + std::to_string(count_) + " badblock(s) found";
        if (verb == "listbadblocks") return list();
        if (verb == "clearbadblocks") return clear();
        if (verb == "quiet")
            quiet_ = !quiet_;
        else
            enabled_ = verb == "enable";
        return {};
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op == Op::flush) return explain_piece(op, 0, 0, flushed_block_, visit);
        if (op == Op::discard) return explain_piece(op, at, count, block_of(at), visit);
        const Sector end = at + count;
        Sector good = at;  // the sectors [good, ...) are explained by one step
        auto bad = [&](Sector from, Sector to, uint64_t block) {
            if (good < from) OneDevice::explain(op, good, from - good, visit);
            explain_piece(op, from, to - from, block, visit);
            good = to;
        };
        // The table cuts at multiples of a block from the row's start.
        Sector whole = std::min(end, (at + block_sectors_ - 1) / block_sectors_ * block_sectors_);
        if (at < whole && failures_left(block_of(at))) bad(at, whole, block_of(at));
        if (whole < end)
            for (uint64_t block : bad_between(block_of(whole), block_of(end - 1))) {
                Sector from = (block - start() / block_sectors_) * block_sectors_;
                if (from < end) bad(from, std::min(end, from + block_sectors_), block);
            }
        if (good < end) OneDevice::explain(op, good, end - good, visit);
    }

  private:
    using BadBlocks = std::map<uint64_t, unsigned>;  // block -> how many writes are to fail yet

    // BLOCK of the row, in bytes.
    static uint64_t block_bytes(TargetSetup& setup) {
        uint64_t most = std::min(kMostBlockBytes, bytes_of(setup.length()));
        uint64_t bytes = plus_number(setup, 2, "block size", kSectorBytes, most);
        if ((bytes & (bytes - 1)) != 0)
            throw setup.refuse(2, "block size " + std::to_string(bytes) + " is no power of two",
                               "such as 512 or 4096");
        return bytes;
    }

    uint64_t block_of(Sector sector) const { return (start() + sector) / block_sectors_; }

    // A look without the mutex: nothing can fail, and a write has nothing to repair.
    bool all_good() const { return !enabled_ || count_ == 0; }

    // A read, or a write of any kind, of which `block` decides.
    Task<Status> serve(Bio bio, uint64_t block) {
        bool fails = bio.op == Op::read ? failures_left(block).has_value() : !write(block);
        if (fails) return Task<Status>::ready(Status(EIO));
        return device().io(below(bio));
    }

    // Whether a write of the block may be done; it is good then.
    bool write(uint64_t block) {
        std::lock_guard guard(mutex_);
        auto found = bad_.find(block);
        if (found == bad_.end()) return true;
        if (found->second > 0) {
            found->second--;
            return false;
        }
        erase(found);
        log("block " + std::to_string(block) + " removed from badblocklist by write");
        return true;
    }

    // Nothing if a request would not fail for this block now.
    std::optional<unsigned> failures_left(uint64_t block) const {
        if (all_good()) return {};
        std::lock_guard guard(mutex_);
        auto found = bad_.find(block);
        return found == bad_.end() ? std::nullopt : std::optional(found->second);
    }

    // Those of [first, last] that would fail a request, or be repaired by it.
    std::vector<uint64_t> bad_between(uint64_t first, uint64_t last) const {
        std::vector<uint64_t> blocks;
        if (all_good()) return blocks;
        std::lock_guard guard(mutex_);
        for (auto at = bad_.lower_bound(first); at != bad_.end() && at->first <= last; ++at)
            blocks.push_back(at->first);
        return blocks;
    }

    // Sectors of the row of which a read may fail.
    struct Spoilt {
        Sector from, end;
    };

    // The first bad block that spoils `at` or what is after it. Where blocks and pieces do not
    // begin together, a bad block may be the first of a piece that ends in the next one.
    std::optional<Spoilt> next_spoilt(Sector at) const {
        if (all_good()) return {};
        const uint64_t behind = start() % block_sectors_ == 0 ? 1 : 2;
        const uint64_t here = block_of(at);
        std::lock_guard guard(mutex_);
        auto bad = bad_.lower_bound(here - std::min(here, behind - 1));
        if (bad == bad_.end() || bad->first * block_sectors_ >= start() + length()) return {};
        const Sector from = bad->first * block_sectors_, end = from + behind * block_sectors_;
        return Spoilt{from - std::min(from, start()), end - start()};
    }

    Extent below_extent(Sector at, Look& look) const {
        Extent below = device().extent(start() + at, look);
        return {below.data, below.end - start()};
    }

    void explain_piece(Op op, Sector at, Sector count, uint64_t block, const StepVisitor& visit) const {
        std::optional<unsigned> failures = failures_left(block);
        if (!failures) return OneDevice::explain(op, at, count, visit);
        std::string note = "bad block " + std::to_string(block) + ": ";
        if (op == Op::read) return visit(Step{op, at, count, nullptr, 0, note + "fails with EIO"});
        if (*failures > 0)
            return visit(Step{op, at, count, nullptr, 0,
                              note + "fails with EIO, as " + std::to_string(*failures) +
                                  (*failures == 1 ? " write does" : " writes do")});
        Sector place = op == Op::flush ? 0 : start() + at;
        visit(Step{op, at, count, &device(), place, note + "made good by this"});
    }

    // What the messages do, and their answers, which are the kernel's.

    // The first word as it is spelled here, with as many after it as it takes.
    static std::string_view verb_of(const std::vector<Word>& words) {
        struct Verb {
            std::string_view name, usage;
            size_t least, most;  // words
        };
        static constexpr Verb kVerbs[] = {{"addbadblock", "addbadblock BLOCK [FAILURES]", 2, 3},
                                          {"removebadblock", "removebadblock BLOCK", 2, 2},
                                          {"queryblock", "queryblock BLOCK", 2, 2},
                                          {"countbadblocks", "countbadblocks", 1, 1},
                                          {"listbadblocks", "listbadblocks", 1, 1},
                                          {"clearbadblocks", "clearbadblocks", 1, 1},
                                          {"enable", "enable", 1, 1},
                                          {"disable", "disable", 1, 1},
                                          {"quiet", "quiet", 1, 1}};
        std::string known;
        for (const Verb& verb : kVerbs) {
            known += (known.empty() ? "" : ", ") + std::string(verb.name);
            if (strcasecmp(words[0].text.c_str(), verb.name.data()) != 0) continue;
            if (words.size() > verb.most)
                throw refuse(words[verb.most], "dust: a word too many", std::string(verb.usage));
            if (words.size() < verb.least)
                throw refuse(words[0], "dust: a word is missing", std::string(verb.usage));
            return verb.name;
        }
        throw refuse(words[0], "dust: unknown message '" + words[0].text + "'", "one of " + known);
    }

    uint64_t block_in(const Word& word) const {
        uint64_t end = device().size() / block_sectors_;  // taken too, as in the kernel
        std::optional<uint64_t> block = parse_decimal(word.text);
        if (!block || *block > end)
            throw refuse(word, "dust: '" + word.text + "' is no block of " + device().name(),
                         "0 to " + std::to_string(end));
        return *block;
    }

    std::string add(const std::vector<Word>& words, uint64_t block) {
        std::optional<uint64_t> failures = words.size() == 3 ? parse_decimal(words[2].text) : 0;
        if (!failures || *failures > kMostFailures)
            throw refuse(words[2], "dust: '" + words[2].text + "' is no number of writes that fail",
                         "0 to " + std::to_string(kMostFailures));
        std::lock_guard guard(mutex_);
        if (!bad_.emplace(block, static_cast<unsigned>(*failures)).second)
            throw refuse(words[1], "dust: block " + words[1].text + " already in badblocklist",
                         "removebadblock " + words[1].text + " comes first");
        count_ = bad_.size();
        log("badblock added at block " + std::to_string(block) + " with write fail count " +
            std::to_string(*failures));
        return {};
    }

    std::string remove(const Word& word, uint64_t block) {
        std::lock_guard guard(mutex_);
        auto found = bad_.find(block);
        if (found == bad_.end())
            throw refuse(word, "dust: block " + word.text + " not found in badblocklist",
                         "one that listbadblocks names");
        erase(found);
        log("badblock removed at block " + std::to_string(block));
        return {};
    }

    std::string query(uint64_t block) const {
        std::lock_guard guard(mutex_);
        return "dust_query_block: block " + std::to_string(block) +
               (bad_.contains(block) ? " found in badblocklist" : " not found in badblocklist");
    }

    std::string list() const {
        std::lock_guard guard(mutex_);
        if (bad_.empty()) return "No blocks in badblocklist";
        std::string lines;
        for (const auto& [block, failures] : bad_) lines += std::to_string(block) + "\n";
        return lines;
    }

    std::string clear() {
        std::lock_guard guard(mutex_);
        bool any = !bad_.empty();
        bad_.clear();
        count_ = 0;
        return any ? "dust_clear_badblocks: badblocks cleared" : "dust_clear_badblocks: no badblocks found";
    }

    void erase(BadBlocks::iterator found) {
        bad_.erase(found);
        count_ = bad_.size();
    }

    void log(const std::string& text) const {
        if (!quiet_) log_line(Severity::info, "dust on " + device().name() + ": " + text);
    }

    Executor& executor_;
    const Sector block_sectors_;
    const uint64_t flushed_block_;
    std::atomic<bool> enabled_{false}, quiet_{false};
    mutable std::mutex mutex_;
    BadBlocks bad_;                 // under the mutex
    std::atomic<size_t> count_{0};  // its size
};

}  // namespace

std::unique_ptr<Target> make_dust(TargetSetup& setup) {
    setup.need_words(3, "dust DEVICE START BLOCK");
    return make_or_einval<Dust>(setup);
}

}  // namespace dmfs
