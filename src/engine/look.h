// Look: how much of tables and disks one question may look at.
//
// How long the way to the next hole is, or how many volumes stand below one, is up to tables and
// disks. So who asks brings a Look, and every step is counted there. When it has ended the
// answer is "data", which is always true enough: whoever reads it finds out.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>

#include "base/units.h"
#include "engine/wait.h"

namespace dmfs {

class Look {
  public:
    // Some tenths of a second, if every step asks a file system.
    static constexpr uint64_t kMostSteps = 1 << 18;

    // It ends early when `cancel` is requested.
    explicit Look(Cancel* cancel = nullptr, uint64_t most_steps = kMostSteps)
        : cancel_(cancel), left_(most_steps) {}
    Look(const Look&) = delete;
    Look& operator=(const Look&) = delete;

    // One row or one file more. False: it has ended.
    bool step() {
        if (left_ == 0) return false;
        left_--;
        if (cancel_ == nullptr) return true;
        if (left_ % kListen == 0) cancel_->about_to_wait();
        if (!cancel_->requested()) return true;
        left_ = 0;
        return false;
    }
    bool ended() const { return left_ == 0; }
    bool cancelled() const { return cancel_ != nullptr && cancel_->requested(); }

    // What one volume has answered already: in a stack of diamonds each is asked 2^depth times.
    using Question = std::tuple<const void*, Sector, Sector>;
    std::optional<Sector> answered(const Question& question) const {
        auto found = answers_.find(question);
        return found == answers_.end() ? std::nullopt : std::optional(found->second);
    }
    void answer(const Question& question, Sector sectors) { answers_[question] = sectors; }

  private:
    static constexpr uint64_t kListen = 1024;  // a short look needs no ear for interruptions

    Cancel* const cancel_;
    uint64_t left_;
    std::map<Question, Sector> answers_;
};

}  // namespace dmfs
