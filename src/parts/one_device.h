// What the targets share that lie on one device, sector by sector.
//
//     row      |-----------|            sector s of the row
//     device   ....|-----------|....    sector start + s of the device

#pragma once

#include <algorithm>

#include "engine/target.h"

namespace dmfs {

class OneDevice : public Target {
  public:
    Extent extent(Sector at, Look& look) override {
        if (differs()) return {true, length_};
        Extent below = device_->extent(start_ + at, look);
        return {below.data, below.end - start_};
    }

    void ask_room(Sector at, Sector count, Room& room) const override {
        device_->ask_room(start_ + at, count, room);
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        visit(Step{op, at, count, device_, op == Op::flush ? 0 : start_ + at, {}});
    }

    void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const override {
        Sector from = std::max(start, start_), end = std::min(start + count, start_ + length_);
        if (&device == device_ && from < end) visit(Run{from - start_, end - from, from});
    }

    void each_device(const DeviceVisitor& visit) const override { visit(*device_, start_, length_); }

  protected:
    // From the words DEVICE START, DEVICE being word number `at`.
    OneDevice(TargetSetup& setup, size_t at)
        : start_(setup.sector(at + 1, "start")),
          length_(setup.length()),
          device_(&setup.device(at, start_, length_, at + 1)) {}
    // The device from its beginning, where the row has no word START; or an area that
    // the target itself has looked at.
    OneDevice(Device& device, Sector length, Sector start = 0)
        : start_(start), length_(length), device_(&device) {}

    // The request as the device gets it; a flush has no place.
    Bio below(Bio bio) const {
        if (bio.op != Op::flush) bio.sector += start_;
        return bio;
    }
    // "DEVICE START", as a table has it.
    std::string place() const { return quote_word(device_->name()) + " " + std::to_string(start_); }

    Device& device() const { return *device_; }
    Sector start() const { return start_; }
    Sector length() const { return length_; }

  private:
    Sector start_;
    Sector length_;
    Device* device_;
};

}  // namespace dmfs
