// Gate: how a volume stops its requests without a mutex on their way.
//
//     state    [ closed: 1 bit | requests inside ]     one atomic word
//
// A request enters and leaves with one atomic operation each. Who closes the gate
// turns new requests away, to wait outside, and can wait until nobody is inside.

#pragma once

#include <atomic>
#include <cstdint>

#include "engine/wait.h"

namespace dmfs {

class Gate {
  public:
    explicit Gate(Executor& executor) : drained_(executor), outside_(executor) {}

    // True: the caller is inside until leave(). False: the gate is closed.
    bool enter() {
        uint64_t state = state_.load(std::memory_order_relaxed);
        do {
            if ((state & kClosed) != 0) return false;
        } while (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                               std::memory_order_relaxed));
        return true;
    }
    void leave() {
        if (state_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) drained_.wake_all();
    }
    // enter() that waits outside while the gate is closed. EINTR when cancelled, or
    // what turn_away() says.
    Task<Status> enter_or_wait(Cancel* cancel);

    void close() { state_.fetch_or(kClosed, std::memory_order_acq_rel); }
    void open();
    // Waits until nobody is inside a closed gate; EINTR when cancelled.
    Task<Status> drain(Cancel* cancel);
    // Ends the wait of all who are outside now.
    void turn_away(Status result) { outside_.wake_all(result); }

    bool closed() const { return (state_.load(std::memory_order_acquire) & kClosed) != 0; }
    uint64_t inside() const { return state_.load(std::memory_order_acquire) & ~kClosed; }
    uint64_t outside() const { return outside_.size(); }

  private:
    static constexpr uint64_t kClosed = uint64_t{1} << 63;

    std::atomic<uint64_t> state_{0};
    WaitQueue drained_;
    WaitQueue outside_;
};

}  // namespace dmfs
