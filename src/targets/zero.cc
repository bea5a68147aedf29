// zero: reads give zeros, writes vanish.
//
//     zero
//
// A hole of any size, for tests and as the bottom of sparse volumes. It keeps
// nothing, so it has nothing to flush, and a discard has nothing to do.

#include <cstring>
#include <limits>

#include "targets/registry.h"

namespace dmfs {

namespace {

class Zero final : public Target {
  public:
    Task<Status> io(Bio bio) override {
        if (bio.op == Op::read) memset(bio.data(), 0, bio.bytes());
        return Task<Status>::ready(kOk);
    }
    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        visit(Step{op, at, count, nullptr, 0, op == Op::read ? "zeros" : "kept nowhere"});
    }
    void reverse(const Device&, Sector, Sector, const RunVisitor&) const override {}
    Flushing flushing() const override { return Flushing::none; }
    Extent extent(Sector, Look&) override { return {false, std::numeric_limits<Sector>::max() / 2}; }
};

}  // namespace

std::unique_ptr<Target> make_zero(TargetSetup& setup) {
    setup.need_words(0, "zero, and nothing behind it");
    return std::make_unique<Zero>();
}

}  // namespace dmfs
