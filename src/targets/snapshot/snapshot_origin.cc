// snapshot-origin: a device of which there are snapshots, unchanged but for one thing: before
// a chunk is written, the snapshots that have no copy of it yet get one.
//
//     snapshot-origin ORIGIN
//
//     read     from ORIGIN
//     write    first the copies, for each snapshot by chunks of its own size, and when their
//              exceptions are durable the write
//
// As in the kernel, sector s of the volume is sector s of ORIGIN: a row's start is not
// subtracted. It takes no discards, which would destroy what snapshots show.

#include "parts/one_device.h"
#include "targets/registry.h"
#include "targets/snapshot/origin.h"

namespace dmfs {

namespace {

class SnapshotOrigin final : public OneDevice, private Lifecycle {
  public:
    SnapshotOrigin(TargetSetup& setup, Device& device)
        : OneDevice(device, setup.length(), setup.row_start()),
          origin_(snapshot::Origin::of(setup.executor(), device)) {}

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::flush) return origin_->flush(device(), bio);
        bio = below(bio);
        if (bio.op == Op::read) return device().io(bio);
        if (bio.op == Op::discard) return Task<Status>::ready(Status(EOPNOTSUPP));
        return origin_->write(device(), bio);
    }

    Flushing flushing() const override { return Flushing::itself; }
    Lifecycle* lifecycle() override { return this; }
    void adjust(Limits& limits) const override {
        limits.discard_granularity = 0;
        limits.write_zeroes = false;
    }

    void ask_room(Sector at, Sector count, Room& room) const override {
        origin_->ask_room(device(), start() + at, start() + at + count, room);
    }

    std::string status(StatusKind kind) const override {
        return kind == StatusKind::table ? quote_word(device().name()) : std::string();
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op == Op::discard) return visit(Step{op, at, count, nullptr, 0, "fails with EOPNOTSUPP"});
        if (op != Op::read && op != Op::flush)
            origin_->each_to_copy(
                start() + at, start() + at + count, [&](const snapshot::Cow& cow, Sector from, Sector end) {
                    const Sector first = std::max(from, start()), last = std::min(end, start() + length());
                    visit(Step{Op::read, first - start(), last - first, &device(), first,
                               "copied first, for the snapshot on " + cow.device().name() + ": sectors " +
                                   std::to_string(from) + " to " + std::to_string(end - 1)});
                });
        OneDevice::explain(op, at, count, visit);
    }

  private:
    void presuspend() override { origin_->let_go(); }
    // Who is killed meanwhile loses no snapshot.
    void end_waits() override {}
    void give_up(int64_t longer_than_ns) override { origin_->give_up(longer_than_ns); }

    const std::shared_ptr<snapshot::Origin> origin_;
};

}  // namespace

std::unique_ptr<Target> make_snapshot_origin(TargetSetup& setup) {
    setup.need_words(1, "snapshot-origin ORIGIN");
    Device& device = setup.device(0, 0, setup.length(), 0);
    return std::make_unique<SnapshotOrigin>(setup, device);
}

}  // namespace dmfs
