// linear: a range of one device.
//
//     linear DEVICE START
//
//     volume   |-----------|            sector s of the row
//     device   ....|-----------|....    sector START + s of DEVICE
//
// Nothing is kept, nothing is reordered: what a crash leaves is what it leaves of
// the device.

#include "parts/one_device.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

class Linear final : public OneDevice {
  public:
    explicit Linear(TargetSetup& setup) : OneDevice(setup, 0) {}

    Task<Status> io(Bio bio) override { return device().io(below(bio)); }

    std::string status(StatusKind kind) const override {
        switch (kind) {
            case StatusKind::info:
                return {};
            case StatusKind::table:
                return place();
            case StatusKind::measure:
                return "device_name=" + quote_word(device().name()) + ",start=" + std::to_string(start()) +
                       ";";
        }
        return {};
    }
};

}  // namespace

std::unique_ptr<Target> make_linear(TargetSetup& setup) {
    setup.need_words(2, "linear DEVICE START");
    return std::make_unique<Linear>(setup);
}

}  // namespace dmfs
