// snapshot: what an origin held at one moment, and writes of its own.
//
//     snapshot ORIGIN COW P|PO|N CHUNK [COUNT discard_zeroes_cow discard_passdown_origin]
//
//     read     of a chunk with an exception: from the COW device; else from the origin
//     write    of a chunk with an exception: to the COW device; else the chunk is copied
//              there first, unless it is overwritten whole
//     flush    of the COW device
//
// The origin's writes come through snapshot-origin, and copy what they would destroy. In
// which order all this is done, and what a crash leaves: cow.h.
//
// A discard, with discard_zeroes_cow, zeros chunks that have an exception, and does nothing
// where there is none; with discard_passdown_origin the origin is discarded, too, for all its
// snapshots.

#include "parts/pieces.h"
#include "targets/registry.h"
#include "targets/snapshot/row.h"

namespace dmfs {

namespace {

class Snapshot final : public snapshot::Row {
    using Cow = snapshot::Cow;

  public:
    explicit Snapshot(TargetSetup& setup) : Row(setup, false) {}

    Task<Status> io(Bio bio) override {
        Cow* cow = claim_.serving();
        if (bio.op == Op::flush) return cow != nullptr ? cow->flush(bio) : device_->io(bio);
        if (cow == nullptr) return Task<Status>::ready(Status(EIO));
        switch (bio.op) {
            case Op::read:
                return cow->read(on_origin(bio));
            case Op::write:
                return cow->write(on_origin(bio));
            case Op::discard:
                return discard(cow, on_origin(bio));
            default:
                return as_writes(this, &Snapshot::io, bio, kZeros, &executor_);
        }
    }

    void ask_room(Sector at, Sector count, Room& room) const override {
        std::shared_ptr<Cow> cow = claim_.cow();
        if (!cow || cow->state() != Cow::State::good)
            return room.refuse(Refused(EIO, "the snapshot on " + device_->name() + " takes no writes"));
        cow->ask_room_to_write(start_ + at, start_ + at + count, room);
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        std::shared_ptr<Cow> cow = claim_.cow();
        if (op == Op::flush) return visit(Step{op, 0, 0, device_.get(), 0, {}});
        if (op == Op::read || !cow || cow->state() != Cow::State::good)
            return explain_reads(op, at, count, visit);
        if (op == Op::discard && !features_.discard_zeroes_cow)
            return visit(Step{op, at, count, nullptr, 0, "fails with EOPNOTSUPP"});
        if (op == Op::discard && features_.discard_passdown_origin)
            visit(Step{op, at, count, origin_device_.get(), start_ + at, "passed down"});
        Sector free = cow->usage().allocated;
        for (Sector end = at + count; at < end;) {
            Cow::Piece piece = cow->piece_at(start_ + at, end - at);
            if (piece.on_cow)
                visit(Step{op, at, piece.count, device_.get(), *piece.on_cow, "exception"});
            else if (op == Op::discard)
                visit(Step{op, at, piece.count, nullptr, 0, "no exception: nothing to zero"});
            else
                explain_first(*cow, at, piece.count, &free, visit);
            at += piece.count;
        }
    }

  private:
    Task<Status> discard(Cow* cow, Bio bio) {
        if (!features_.discard_zeroes_cow) co_return Status(EOPNOTSUPP);
        Task<Status> zeroing = cow->discard(bio);
        Status status = co_await zeroing;
        if (!status || !features_.discard_passdown_origin) co_return status;
        Task<Status> passing = origin_device_->io(bio);
        status = co_await passing;
        co_return status;
    }

    // The first write to chunks: where they would go now.
    void explain_first(const Cow& cow, Sector at, Sector count, Sector* free,
                       const StepVisitor& visit) const {
        const Sector chunk = cow.chunk_sectors();
        const Sector first = (start_ + at) / chunk, end = (start_ + at + count + chunk - 1) / chunk;
        const Sector whole = (start_ + at + chunk - 1) / chunk, whole_end = (start_ + at + count) / chunk;
        if (whole > first || whole_end < end) {
            Sector from = std::max(first * chunk, start_), until = std::min(end * chunk, start_ + length_);
            visit(Step{Op::read, from - start_, until - from, origin_device_.get(), from,
                       "copied: what is not overwritten of chunks " + std::to_string(first) + " to " +
                           std::to_string(end - 1)});
        }
        visit(Step{Op::write, at, count, device_.get(), *free + (start_ + at) % chunk,
                   end - first == 1 ? "to a new chunk, and its exception behind it"
                                    : "to " + std::to_string(end - first) +
                                          " new chunks, and their exceptions behind it"});
        *free += (end - first) * chunk;
    }
};

}  // namespace

std::unique_ptr<Target> make_snapshot(TargetSetup& setup) { return std::make_unique<Snapshot>(setup); }

}  // namespace dmfs
