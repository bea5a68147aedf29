// What clients may see of a disk: now, and after a crash. Sectors are numbers.
//
//     kept | newer newer newer       a read sees what was written last; after a crash it is
//                                    one of them, or one of those that are kept

#pragma once

#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/units.h"

namespace dmfs::sim {

[[noreturn]] inline void fail(const std::string& what) { throw std::runtime_error(what); }

class Model {
  public:
    explicit Model(Sector sectors) : sectors_(sectors) {}

    Sector size() const { return sectors_.size(); }

    // A run of sectors nobody else uses; it stays taken until leave().
    bool take(Sector from, Sector end) {
        for (Sector s = from; s < end; s++)
            if (sectors_[s].busy) return false;
        for (Sector s = from; s < end; s++) sectors_[s].busy = true;
        return true;
    }
    void leave(Sector from, Sector end) {
        for (Sector s = from; s < end; s++) sectors_[s].busy = false;
    }

    uint64_t now() const { return clock_; }
    // What a read of the sector may see now.
    const std::set<uint64_t>& seen(Sector at) const { return sectors_[at].now; }

    // Whatever was there, it is one of these, and is kept.
    void set(Sector at, std::set<uint64_t> values) {
        State& state = sectors_[at];
        state.now = state.kept = std::move(values);
        state.newer.clear();
        state.lingering.clear();
        state.loose = false;
    }

    // Likewise, but that was not made durable: after a crash it may be one of `kept`.
    void set_loose(Sector at, std::set<uint64_t> values, std::set<uint64_t> kept) {
        set(at, std::move(values));
        sectors_[at].kept.merge(kept);
        sectors_[at].loose = true;
    }
    // What the sector may be after a crash.
    std::set<uint64_t> possible(Sector at) const {
        std::set<uint64_t> values = sectors_[at].kept;
        for (const Write& write : sectors_[at].newer) values.insert(write.value);
        return values;
    }

    void begin_write(Sector at, uint64_t value) {
        sectors_[at].newer.push_back({value, 0});
        sectors_[at].now.insert(value);
    }
    // One that failed was done, half done or not at all; one that `lingers` may yet be done,
    // as long as no other is.
    void end_write(Sector at, bool good, bool fua, bool lingers = false) {
        State& state = sectors_[at];
        if (lingers) state.lingering.insert(state.newer.back().value);
        if (!good) return;
        state.newer.back().completed = ++clock_;
        state.now = {state.newer.back().value};
        state.lingering.clear();
        if (fua) keep(state, state.newer.size());
    }
    // A flush that began at `began` was good.
    void flushed(uint64_t began) {
        for (State& state : sectors_)
            for (size_t count = state.newer.size(); count > 0; count--) {
                const Write& write = state.newer[count - 1];
                if (write.completed == 0 || write.completed > began) continue;
                keep(state, count);
                break;
            }
    }
    void check_read(Sector at, uint64_t value) {
        State& state = sectors_[at];
        if (!state.now.contains(value))
            fail("sector " + std::to_string(at) + " reads " + std::to_string(value) + ", not " +
                 list(state.now));
        state.now = state.lingering;
        state.now.insert(value);  // whatever a failed write left, it stays
        if (state.newer.empty() && !state.loose) state.kept = {value};
    }
    void check_after_crash(Sector at, uint64_t value) const {
        std::set<uint64_t> allowed = possible(at);
        if (!allowed.contains(value))
            fail("after the crash sector " + std::to_string(at) + " is " + std::to_string(value) + ", not " +
                 list(allowed));
    }

  private:
    struct Write {
        uint64_t value;
        uint64_t completed;  // when, on clock_; 0: it is under way or failed
    };
    struct State {
        bool busy = false;
        bool loose = false;  // see set_loose()
        std::set<uint64_t> now{0};
        std::set<uint64_t> kept{0};
        std::set<uint64_t> lingering;
        std::vector<Write> newer;
    };
    // The last of the first `count` is certainly there.
    static void keep(State& state, size_t count) {
        state.kept = {state.newer[count - 1].value};
        state.newer.erase(state.newer.begin(), state.newer.begin() + static_cast<ptrdiff_t>(count));
    }
    static std::string list(const std::set<uint64_t>& values) {
        std::string text;
        for (uint64_t value : values) text += (text.empty() ? "" : " or ") + std::to_string(value);
        return text;
    }

    std::vector<State> sectors_;
    uint64_t clock_ = 1;
};

}  // namespace dmfs::sim
