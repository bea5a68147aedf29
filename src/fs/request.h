// What every FUSE request needs: its reply, and its interruption when the process
// that waits for it is killed (see Signals). libfuse is told to listen only when the request
// begins to wait, so a request that goes straight through pays nothing.

#pragma once

#include <chrono>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "engine/wait.h"
#include "fs/fuse.h"
#include "fs/interruptions.h"
#include "fs/signals.h"

namespace dmfs::fs {

class Request;

// The requests that wait. Whichever lock, gate or disk each of them waits for, it ends when its
// time is over (park_timeout), or the mount's is. And those that a signal interrupted.
class WaitingRequests {
  public:
    explicit WaitingRequests(unsigned seconds) : limit_(seconds) {}

    void add(Request* request);
    void remove(Request* request);
    // Ends those whose time is over; to be called about once a second, where there is a limit.
    void end_late();
    // Ends those that wait now: EIO.
    void end_all();

    Interruptions& interruptions() { return interruptions_; }

  private:
    const std::chrono::seconds limit_;
    std::mutex mutex_;
    Request* first_ = nullptr;  // a list, since a set would allocate for each of them
    Interruptions interruptions_{std::chrono::milliseconds(100)};
};

class Request final : public Cancel {
  public:
    Request(fuse_req_t request, WaitingRequests* waiting, Until until = Until::killed)
        : request_(request), waiting_(waiting), until_(until), process_(fuse_req_ctx(request)->pid) {}

    // Each ends the request; nothing of it may be used afterwards.
    void reply(Status status) {
        if (!take_answer()) return;
        fuse_reply_err(request_, late() && status.error() == EINTR ? EIO : status.error());
    }
    void reply_data(const std::byte* data, size_t bytes) {
        if (!take_answer()) return;
        fuse_reply_buf(request_, reinterpret_cast<const char*>(data), bytes);
    }
    void reply_attributes(const struct stat& found) {
        if (!take_answer()) return;
        fuse_reply_attr(request_, &found, 0);
    }
    void reply_written(size_t bytes) {
        if (!take_answer()) return;
        fuse_reply_write(request_, bytes);
    }

    void reply_found(int64_t offset) {
        if (!take_answer()) return;
        fuse_reply_lseek(request_, offset);
    }

    pid_t process() const override { return process_; }

    // Whether it was ended because it waited too long.
    bool late() const { return late_.load(std::memory_order_acquire); }

    void about_to_wait() override {
        if (armed_.exchange(true, std::memory_order_acq_rel)) return;
        since_ = std::chrono::steady_clock::now();
        waiting_->add(this);
        fuse_req_interrupt_func(
            request_, [](fuse_req_t, void* self) { static_cast<Request*>(self)->interrupted(); }, this);
        listens_.store(true, std::memory_order_release);
    }

    // What came before libfuse listened is told within the call that makes it listen, and there an
    // answer would free what libfuse still holds: so it is given after that.
    void stuck() override {
        about_to_wait();
        while (!listens_.load(std::memory_order_acquire)) std::this_thread::yield();
        stuck_.fetch_add(1, std::memory_order_acq_rel);
        if (requested()) cancelled();
    }
    void came_back() override { stuck_.fetch_sub(1, std::memory_order_acq_rel); }

  private:
    friend class WaitingRequests;

    // Killed, or late, while the thread that has the request hangs: nobody else will answer.
    void cancelled() override {
        // Written, too: either this sees that it is stuck, or stuck() sees that it was requested.
        if (stuck_.fetch_or(0, std::memory_order_acq_rel) == 0 ||
            answered_.exchange(true, std::memory_order_acq_rel))
            return;
        // Waits for an interruption that is just being delivered, unless this is one.
        if (told_here_ != this) fuse_req_interrupt_func(request_, nullptr, nullptr);
        fuse_reply_err(request_, late() ? EIO : EINTR);
        answered_elsewhere_.store(true, std::memory_order_release);
    }

    // False: cancelled() has answered, and this is free to go.
    bool take_answer() {
        if (!answered_.exchange(true, std::memory_order_acq_rel)) {
            disarm();
            return true;
        }
        while (!answered_elsewhere_.load(std::memory_order_acquire)) std::this_thread::yield();
        if (interrupted_) waiting_->interruptions().remove(this);
        waiting_->remove(this);
        return false;
    }

    // A signal came. Not twice: FUSE tells of one only.
    void interrupted() {
        told_here_ = this;
        bool ends = end_wait();  // then this may be gone
        told_here_ = nullptr;
        if (ends) return;
        interrupted_ = true;
        waiting_->interruptions().add(this, [this] { return end_wait(); });
    }
    bool end_wait() {
        bool ends = ends_wait(process(), until_);
        if (ends) request();
        return ends;
    }

    // Also waits for an interruption that is just being delivered.
    void disarm() {
        if (!armed_.load(std::memory_order_acquire)) return;
        fuse_req_interrupt_func(request_, nullptr, nullptr);
        if (interrupted_) waiting_->interruptions().remove(this);
        waiting_->remove(this);
    }

    fuse_req_t request_;
    WaitingRequests* waiting_;
    const Until until_;
    const pid_t process_;  // kept: libfuse's request is gone once cancelled() has answered
    static inline thread_local const Request* told_here_ = nullptr;  // in interrupted() of this thread
    bool interrupted_ = false;  // written within libfuse's lock, read when nobody is told any more
    std::atomic<bool> armed_{false};
    std::atomic<bool> listens_{false};  // armed_, and libfuse knows
    std::atomic<bool> late_{false};
    std::atomic<unsigned> stuck_{0};  // calls, perhaps on several threads
    std::atomic<bool> answered_{false};
    std::atomic<bool> answered_elsewhere_{false};  // the last that cancelled() does with this
    std::chrono::steady_clock::time_point since_{};
    Request* next_ = nullptr;  // these two under the mutex of WaitingRequests
    Request* previous_ = nullptr;
};

inline void WaitingRequests::add(Request* request) {
    std::lock_guard guard(mutex_);
    request->next_ = first_;
    if (first_ != nullptr) first_->previous_ = request;
    first_ = request;
}

inline void WaitingRequests::remove(Request* request) {
    std::lock_guard guard(mutex_);
    if (request->next_ != nullptr) request->next_->previous_ = request->previous_;
    if (request->previous_ != nullptr)
        request->previous_->next_ = request->next_;
    else if (first_ == request)
        first_ = request->next_;
}

inline void WaitingRequests::end_late() {
    auto before = std::chrono::steady_clock::now() - limit_;
    size_t late = 0;
    std::lock_guard guard(mutex_);
    for (Request* request = first_; request != nullptr; request = request->next_) {
        if (request->since_ > before || request->late_.exchange(true, std::memory_order_acq_rel)) continue;
        request->request();
        late++;
    }
    if (late > 0)
        log_line(Severity::error, std::to_string(late) + " requests ended after waiting for " +
                                      std::to_string(limit_.count()) + " seconds (park_timeout)");
}

inline void WaitingRequests::end_all() {
    std::lock_guard guard(mutex_);
    for (Request* request = first_; request != nullptr; request = request->next_)
        if (!request->late_.exchange(true, std::memory_order_acq_rel)) request->request();
}

}  // namespace dmfs::fs
