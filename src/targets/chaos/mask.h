// Masks: which volume may be hurt where. Rules of several volumes that name the same
// mask never fire in the same chunk of two of them, so that never both legs of a
// mirror are hit in one place.
//
//     chunks of the row     0   1   2   3   4   5
//     owner                 -   A   -   B   A   -       A, B: rows of chaos
//
// Who fires first in a chunk owns it until its table goes.

#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/units.h"

namespace dmfs::chaos {

class Mask {
  public:
    // A chunk more is nobody's, and nothing fires there.
    static constexpr size_t kMostChunks = 1 << 20;

    // The one of that name, which all share who have it open. Throws Refused if it is
    // there with chunks of another size.
    static std::shared_ptr<Mask> open(const std::string& name, Sector chunk_sectors);

    struct Range {
        Sector from, end;
    };

    explicit Mask(Sector chunk_sectors) : chunk_sectors_(chunk_sectors) {}

    // Makes `owner` the owner of every chunk that the ranges touch, or of none.
    bool claim(const void* owner, const std::vector<Range>& ranges);
    void release(const void* owner);

  private:
    const Sector chunk_sectors_;
    std::mutex mutex_;
    std::unordered_map<Sector, const void*> owners_;
};

// A mask as one row has it: what the row owns is released with it.
class MaskShare {
  public:
    MaskShare(std::shared_ptr<Mask> mask, std::string name)
        : mask_(std::move(mask)), name_(std::move(name)) {}
    MaskShare(const MaskShare&) = delete;
    MaskShare& operator=(const MaskShare&) = delete;
    ~MaskShare() { mask_->release(this); }

    bool claim(const std::vector<Mask::Range>& ranges) { return mask_->claim(this, ranges); }
    const std::string& name() const { return name_; }
    Mask& mask() const { return *mask_; }

  private:
    std::shared_ptr<Mask> mask_;
    std::string name_;
};

}  // namespace dmfs::chaos
