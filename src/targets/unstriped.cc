// unstriped: the chunks of one leg, out of a device on which several are striped.
//
//     unstriped STRIPES CHUNK INDEX DEVICE START
//
//     device, from START    | 0  1  2 | 0  1  2 | 0  1  2 |      STRIPES = 3
//     row, INDEX = 1             0         1         2
//
// It undoes what `striped` does: chunk c of the row is chunk c x STRIPES + INDEX of the
// device. Nothing is kept, nothing is reordered: what a crash leaves is what it leaves
// of the device.
//
// As in the kernel, INDEX may be STRIPES itself (or anything, of one stripe), a flush
// goes nowhere, there are no discards, and of the device only [START, START + the row's
// length) is compared with its size: chunks beyond its end fail when they are used.

#include <limits>

#include "parts/pieces.h"
#include "parts/plus.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

class Unstriped final : public Target {
  public:
    explicit Unstriped(TargetSetup& setup) : executor_(setup.executor()), length_(setup.length()) {
        constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
        setup.need_words(5, "unstriped STRIPES CHUNK INDEX DEVICE START");
        stripes_ = plus_number(setup, 0, "the number of stripes", 1, kMost);
        chunk_ = plus_number(setup, 1, "chunk size", 1, kMost);
        index_ = plus_number(setup, 2, "the stripe's number", 0, stripes_ > 1 ? stripes_ : kMost);
        if (length_ % chunk_ != 0)
            throw setup.refuse(1,
                               "chunk size " + std::to_string(chunk_) + " does not divide the row's " +
                                   std::to_string(length_) + " sectors",
                               "a divisor of " + std::to_string(length_));
        start_ = setup.sector(4, "start");
        device_ = &setup.device(3, start_, length_, 4);
        first_ = start_ + std::min(index_ * chunk_, kMaxSectors);
        stripe_ = stripes_ * chunk_;
        known_size_ = device_->size();
    }

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::discard) return Task<Status>::ready(Status(EOPNOTSUPP));
        if (bio.count > chunk_ - bio.sector % chunk_)
            return in_pieces(this, &Unstriped::io, bio, chunk_, &executor_);
        bio.sector = place_of(bio.sector);
        // Not left to the device: a file would grow.
        if (bio.end() > known_size_ && bio.end() > device_->size()) return Task<Status>::ready(Status(EIO));
        return device_->io(bio);
    }

    Sector chunk() const override { return chunk_; }
    Flushing flushing() const override { return Flushing::none; }
    void adjust(Limits& limits) const override {
        limits.discard_granularity = 0;
        limits.write_zeroes = false;
    }

    std::string status(StatusKind kind) const override {
        if (kind != StatusKind::table) return {};
        return std::to_string(stripes_) + " " + std::to_string(chunk_) + " " + std::to_string(index_) + " " +
               quote_word(device_->name()) + " " + std::to_string(start_);
    }

    // What cannot be read counts as data: who copies the volume shall meet the error.
    bool differs() const override { return place_of(length_ - 1) >= device_->size(); }
    Extent extent(Sector at, Look& look) override {
        Sector place = place_of(at);
        if (place >= device_->size()) return {true, length_};
        Extent below = device_->extent(place, look);
        return {below.data, sectors_before(below.end)};
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op == Op::flush) return visit(Step{op, 0, 0, nullptr, 0, "goes nowhere"});
        if (op == Op::discard) return visit(Step{op, at, count, nullptr, 0, "fails with EOPNOTSUPP"});
        for (Sector end = at + count; at < end;) {
            Sector piece = std::min(end - at, chunk_ - at % chunk_);
            visit(Step{op, at, piece, device_, place_of(at),
                       "chunk " + std::to_string(at / chunk_) + ", which is chunk " +
                           std::to_string(at / chunk_ * stripes_ + index_) + " of the stripes"});
            at += piece;
        }
    }

    void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const override {
        if (&device != device_) return;
        Sector end = std::min(start + count, kMaxSectors);
        for (Sector from = std::max(start, first_); from < end;) {
            Sector chunk = (from - first_) / stripe_, within = (from - first_) % stripe_;
            if (chunk >= length_ / chunk_) return;
            if (within < chunk_)
                visit(Run{chunk * chunk_ + within, std::min(end - from, chunk_ - within), from});
            if (stripe_ - within >= end - from) return;
            from += stripe_ - within;
        }
    }

    void each_device(const DeviceVisitor& visit) const override { visit(*device_, start_, length_); }

  private:
    // Where sector `sector` of the row lies on the device. Beyond 64 bits there is none,
    // where the kernel would come round to another sector.
    Sector place_of(Sector sector) const {
        Sector chunk = sector / chunk_;
        if (chunk > kMaxSectors / stripe_) return kMaxSectors;
        return first_ + chunk * stripe_ + sector % chunk_;
    }

    // How many sectors of the row lie in front of sector `place` of the device.
    Sector sectors_before(Sector place) const {
        if (place <= first_) return 0;
        Sector chunk = (place - first_) / stripe_, within = (place - first_) % stripe_;
        return std::min(length_, chunk * chunk_ + std::min(within, chunk_));
    }

    Executor& executor_;
    Sector length_;
    uint64_t stripes_, index_;
    Sector chunk_;
    Sector start_;
    Device* device_;
    Sector first_;       // of the device: where chunk 0 of the row lies
    Sector stripe_;      // from one chunk of the row to the next
    Sector known_size_;  // of the device, when the table was made
};

}  // namespace

std::unique_ptr<Target> make_unstriped(TargetSetup& setup) { return make_or_einval<Unstriped>(setup); }

}  // namespace dmfs
