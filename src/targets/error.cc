// error: every request fails with EIO.
//
//     error [anything...]
//     error DEVICE START
//
// A disk that is gone. Words are ignored, but for exactly two: they name a device
// whose limits and place in `deps` the row takes, so that it can stand in for a
// linear row. A flush finds nothing to flush and succeeds: the volume's other rows
// are not to be kept from theirs.

#include <limits>

#include "targets/registry.h"

namespace dmfs {

namespace {

class Error final : public Target {
  public:
    explicit Error(TargetSetup& setup) {
        if (setup.words() != 2) return;
        start_ = setup.sector(1, "start");
        length_ = setup.length();
        device_ = &setup.device(0, start_, length_, 1);
    }

    Task<Status> io(Bio) override { return Task<Status>::ready(Status(EIO)); }
    Flushing flushing() const override { return Flushing::none; }
    // Data: whoever copies the volume shall meet the error.
    bool differs() const override { return true; }
    void ask_room(Sector, Sector, Room& room) const override {
        room.refuse(Refused(EIO, "a row of the target error takes no zeros"));
    }
    Extent extent(Sector, Look&) override { return {true, std::numeric_limits<Sector>::max() / 2}; }
    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        visit(Step{op, at, count, nullptr, 0, "fails with EIO"});
    }
    void reverse(const Device&, Sector, Sector, const RunVisitor&) const override {}
    void each_device(const DeviceVisitor& visit) const override {
        if (device_ != nullptr) visit(*device_, start_, length_);
    }

  private:
    Device* device_ = nullptr;
    Sector start_ = 0;
    Sector length_ = 0;
};

}  // namespace

std::unique_ptr<Target> make_error(TargetSetup& setup) { return std::make_unique<Error>(setup); }

}  // namespace dmfs
