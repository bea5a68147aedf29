// linear: a range of one device.
//
//     linear DEVICE START
//
//     volume   |-----------|            sector s of the row
//     device   ....|-----------|....    sector START + s of DEVICE
//
// Nothing is kept, nothing is reordered: what a crash leaves is what it leaves of
// the device.

#include "targets/registry.h"

namespace dmfs {

namespace {

class Linear final : public Target {
  public:
    explicit Linear(TargetSetup& setup) {
        setup.need_words(2, "linear DEVICE START");
        start_ = setup.sector(1, "start");
        length_ = setup.length();
        device_ = &setup.device(0, start_, length_, 1);
    }

    Task<Status> io(Bio bio) override {
        bio.sector += start_;
        return device_->io(bio);
    }

    std::string status(StatusKind kind) const override {
        switch (kind) {
            case StatusKind::info:
                return {};
            case StatusKind::table:
                return quote_word(device_->name()) + " " + std::to_string(start_);
            case StatusKind::measure:
                return "device_name=" + quote_word(device_->name()) + ",start=" + std::to_string(start_) +
                       ";";
        }
        return {};
    }

    Extent extent(Sector at) override {
        Extent below = device_->extent(start_ + at);
        return {below.data, below.end - start_};
    }

    void each_device(const DeviceVisitor& visit) const override { visit(*device_, start_, length_); }

  private:
    Device* device_;
    Sector start_;
    Sector length_;
};

}  // namespace

std::unique_ptr<Target> make_linear(TargetSetup& setup) { return std::make_unique<Linear>(setup); }

}  // namespace dmfs
