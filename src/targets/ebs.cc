// ebs: emulates smaller blocks on a device of larger ones.
//
//     ebs DEVICE START EMULATED [UNDERLYING]
//
//     volume   | | | | | | | | | | | | | | | |      blocks of EMULATED sectors
//     device   |       |       |       |       |    blocks of UNDERLYING sectors
//     write         |~~~~~~~~~~~~~|
//               read............read                then the three blocks are written
//
// Sector s of the row is sector START + s of DEVICE; the device gets whole blocks only.
// A write of part of a block reads the block first, and writes it back with the change;
// a read of part reads the whole and gives the part. Discards shrink to the blocks that
// they cover. Writes and discards that touch a common block go one after the other, so
// that none puts back what another has just changed.
//
// A flush goes to the device, and so does FUA, with the write. A crash may tear a block
// only if the device tears its own blocks; then sectors of it may suffer that no write
// named. The last block may reach beyond the row's end: what lies there is read and
// written back, and must not be changed by others meanwhile.

#include <cstring>

#include "engine/locks.h"
#include "parts/one_device.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr Sector kMostEmulated = 8;        // a page of the kernel
constexpr Sector kMostUnderlying = 32768;  // the largest power of two of its 16 bits

class Ebs final : public OneDevice {
  public:
    Ebs(TargetSetup& setup, Sector emulated, Sector underlying, bool said, Device& device, Sector start)
        : OneDevice(device, setup.length(), start),
          emulated_(emulated),
          underlying_(underlying),
          underlying_said_(said),
          writes_(setup.executor()) {}

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::flush) return device().io(bio);
        bio = below(bio);
        if (bio.op == Op::discard) return discard(bio);
        if (bio.op != Op::read) return change(bio);
        Blocks blocks = around(bio.sector, bio.end());
        return blocks.cuts_first || blocks.cuts_last ? read_part(bio) : device().io(bio);
    }

    Flushing flushing() const override { return Flushing::devices; }

    void adjust(Limits& limits) const override {
        limits.logical_block = static_cast<uint32_t>(bytes_of(emulated_));
        limits.physical_block = static_cast<uint32_t>(bytes_of(std::max(emulated_, underlying_)));
        limits.io_min = limits.physical_block;
        limits.write_zeroes = false;
    }

    std::string status(StatusKind kind) const override {
        if (kind != StatusKind::table) return {};
        std::string text = place() + " " + std::to_string(emulated_);
        return underlying_said_ ? text + " " + std::to_string(underlying_) : text;
    }

    // Whole blocks of the device, as far as they reach beyond the row.
    void each_device(const DeviceVisitor& visit) const override {
        visit(device(), start(), whole_blocks_of(device(), length()));
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op == Op::flush) return OneDevice::explain(op, at, count, visit);
        auto step = [&](Op what, Sector from, Sector end, const std::string& note) {
            visit(Step{what, from - start(), end - from, &device(), from, note});
        };
        const Sector first = start() + at, last = first + count;
        const Blocks blocks = around(first, last);
        const std::string whole = "whole blocks of " + std::to_string(underlying_) + " sectors";
        const bool cut = blocks.cuts_first || blocks.cuts_last;
        const Sector inner_from = std::min(blocks.inner_from, last);
        const Sector inner_end = std::max(blocks.inner_end, inner_from);
        auto change = [&](Sector from, Sector end) {
            const Blocks part = around(from, end);
            if (part.cuts_first) step(Op::read, part.from, part.from + underlying_, "a block that is cut");
            if (part.cuts_last) step(Op::read, part.end - underlying_, part.end, "a block that is cut");
            step(Op::write, part.from, part.end, whole);
        };
        if (op == Op::read || (op != Op::discard && !cut))
            return step(op, blocks.from, blocks.end, cut ? whole : "");
        if (op == Op::write) return change(first, last);
        if (op == Op::write_zeroes && first < inner_from) change(first, inner_from);
        if (op == Op::write_zeroes && inner_end < last) change(inner_end, last);
        if (inner_from < inner_end)
            step(op, inner_from, inner_end, whole);
        else if (op == Op::discard)
            visit(Step{op, at, count, nullptr, 0, "covers no " + whole});
    }

    static Sector whole_blocks_of(const Device& device, Sector sectors) {
        Sector block = sectors_in(device.limits().logical_block);
        return (sectors + block - 1) / block * block;
    }

  private:
    // The blocks of the device that a range touches, and those it covers; in sectors.
    struct Blocks {
        Sector from, end;
        Sector inner_from, inner_end;  // empty or after one another where it covers none
        bool cuts_first, cuts_last;    // one block that is cut on both sides is the first
    };

    Blocks around(Sector from, Sector end) const {
        Blocks blocks{};
        blocks.from = from / underlying_ * underlying_;
        blocks.end = (end + underlying_ - 1) / underlying_ * underlying_;
        blocks.inner_from = (from + underlying_ - 1) / underlying_ * underlying_;
        blocks.inner_end = end / underlying_ * underlying_;
        bool one = blocks.end - blocks.from == underlying_;
        blocks.cuts_first = blocks.from != from || (one && blocks.end != end);
        blocks.cuts_last = blocks.end != end && !one;
        return blocks;
    }

    // The same request, for the sectors [from, end) of the device and other memory.
    static Bio moved(Bio bio, Op op, Sector from, Sector end, Memory* memory, Sector at) {
        bio.op = op;
        bio.fua = bio.fua && op == Op::write;
        bio.sector = from;
        bio.count = end - from;
        bio.memory = memory;
        bio.offset = bytes_of(at);
        return bio;
    }

    Task<Status> read_part(Bio bio) {
        Blocks blocks = around(bio.sector, bio.end());
        Memory whole(bytes_of(blocks.end - blocks.from));
        Task<Status> reading = device().io(moved(bio, Op::read, blocks.from, blocks.end, &whole, 0));
        Status status = co_await reading;
        if (!status) co_return status;
        memcpy(bio.data(), whole.data() + bytes_of(bio.sector - blocks.from), bio.bytes());
        co_return kOk;
    }

    // A write, or a zeroing.
    Task<Status> change(Bio bio) {
        Blocks blocks = around(bio.sector, bio.end());
        Task<Status> locking = writes_.acquire(blocks.from, blocks.end, bio.cancel);
        Status status = co_await locking;
        if (!status) co_return status;
        RangeLock::Guard guard(writes_, blocks.from, blocks.end);
        Task<Status> writing = !blocks.cuts_first && !blocks.cuts_last ? device().io(bio)
                               : bio.op == Op::write                   ? write_part(bio, blocks)
                                                                       : zero_part(bio, blocks);
        status = co_await writing;
        co_return status;
    }

    // Reads the blocks that are cut, puts the data among them, writes all.
    Task<Status> write_part(Bio bio, Blocks blocks) {
        Memory whole(bytes_of(blocks.end - blocks.from));
        Sector last = blocks.end - underlying_;
        std::vector<Task<Status>> reads;
        if (blocks.cuts_first)
            reads.push_back(
                device().io(moved(bio, Op::read, blocks.from, blocks.from + underlying_, &whole, 0)));
        if (blocks.cuts_last)
            reads.push_back(device().io(moved(bio, Op::read, last, blocks.end, &whole, last - blocks.from)));
        Task<Status> reading = all(std::move(reads));
        Status status = co_await reading;
        if (!status) co_return status;
        std::byte* place = whole.data() + bytes_of(bio.sector - blocks.from);
        if (bio.op == Op::write)
            memcpy(place, bio.data(), bio.bytes());
        else
            memset(place, 0, bio.bytes());
        Task<Status> writing = device().io(moved(bio, Op::write, blocks.from, blocks.end, &whole, 0));
        status = co_await writing;
        co_return status;
    }

    // Zeros in the blocks that are cut are written, the others go down as they are.
    Task<Status> zero_part(Bio bio, Blocks blocks) {
        Sector from = std::min(blocks.inner_from, bio.end());
        Sector end = std::max(blocks.inner_end, from);
        Status status;
        const std::pair<Sector, Sector> ends[2] = {{bio.sector, from}, {end, bio.end()}};
        for (auto [begin, until] : ends) {
            if (begin == until || !status) continue;
            Bio part = bio.part(begin - bio.sector, until - begin);
            Task<Status> writing = write_part(part, around(begin, until));
            status = co_await writing;
        }
        if (!status || from == end) co_return status;
        Task<Status> zeroing = device().io(moved(bio, Op::write_zeroes, from, end, nullptr, 0));
        status = co_await zeroing;
        co_return status;
    }

    Task<Status> discard(Bio bio) {
        Blocks blocks = around(bio.sector, bio.end());
        if (blocks.inner_from >= blocks.inner_end) co_return kOk;
        Task<Status> locking = writes_.acquire(blocks.inner_from, blocks.inner_end, bio.cancel);
        Status status = co_await locking;
        if (!status) co_return status;
        RangeLock::Guard guard(writes_, blocks.inner_from, blocks.inner_end);
        Task<Status> discarding =
            device().io(moved(bio, Op::discard, blocks.inner_from, blocks.inner_end, nullptr, 0));
        status = co_await discarding;
        co_return status;
    }

    const Sector emulated_, underlying_;
    const bool underlying_said_;
    RangeLock writes_;  // by sectors of the device, whole blocks
};

Sector power_of_two(TargetSetup& setup, size_t index, std::string_view what, Sector most) {
    Sector sectors = setup.number(index, what, 1, most);
    if ((sectors & (sectors - 1)) == 0) return sectors;
    throw setup.refuse(index, std::string(what) + " " + std::to_string(sectors) + " is no power of two",
                       "1, 2, 4, ... sectors");
}

}  // namespace

std::unique_ptr<Target> make_ebs(TargetSetup& setup) {
    constexpr std::string_view usage = "ebs DEVICE START EMULATED [UNDERLYING]";
    if (setup.words() != 3) setup.need_words(4, usage);
    Sector start = setup.sector(1, "start");
    Sector emulated = power_of_two(setup, 2, "the emulated block", kMostEmulated);
    bool said = setup.words() == 4;
    Sector underlying = said ? power_of_two(setup, 3, "the underlying block", kMostUnderlying) : 0;
    // The row need not lie on whole blocks of the device, that is what the target is for.
    Device& device = setup.device(0, 0, 0, 0);
    if (!said) underlying = sectors_in(device.limits().logical_block);
    if (start % underlying != 0)
        throw setup.refuse(1, "start " + std::to_string(start) + " is no multiple of the underlying block",
                           "a multiple of " + std::to_string(underlying));
    if (start % emulated != 0)
        throw setup.refuse(1, "start " + std::to_string(start) + " is no multiple of the emulated block",
                           "a multiple of " + std::to_string(emulated));
    if (setup.length() % emulated != 0)
        throw setup.refuse(2, "the row's " + std::to_string(setup.length()) + " sectors are no whole blocks",
                           "a divisor of " + std::to_string(setup.length()));
    setup.device(0, start, Ebs::whole_blocks_of(device, setup.length()), 1);
    return std::make_unique<Ebs>(setup, emulated, underlying, said, device, start);
}

}  // namespace dmfs
