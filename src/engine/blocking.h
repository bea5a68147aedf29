// Blocking: threads for calls that may never return, such as opening a file on a server that
// is gone, or asking for its size.
//
//     Blocking::Enter enter = executor.blocking().enter();
//     co_await enter;              from here to its next wait: on a thread of its own
//
// What hangs holds its own thread and nobody else's: no FUSE worker, no executor's thread.
// Threads come when they are needed and go when they have been idle for a while. Where the system gives
// no more, who enters waits for one that is there; if there is none he stays where he is. Whoever has to
// be killable while the call hangs awaits the work through until_killed().

#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <mutex>

namespace dmfs {

class Blocking {
  public:
    // At most so many threads; who enters beyond that waits for one. 0: nobody hops.
    explicit Blocking(size_t most) : most_(most) {}
    Blocking(const Blocking&) = delete;
    Blocking& operator=(const Blocking&) = delete;
    // Waits for its threads, so nobody may be inside any more.
    ~Blocking();

    class Enter {
      public:
        explicit Enter(Blocking& blocking) : blocking_(blocking) {}
        bool await_ready() const noexcept;
        [[gnu::noinline]] bool await_suspend(std::coroutine_handle<> self);
        void await_resume() const noexcept {}

      private:
        Blocking& blocking_;
    };
    Enter enter() { return Enter(*this); }

    // How many there may be.
    size_t threads() const { return most_; }
    // Whether the calling thread is such a one: it may make calls that hang.
    static bool is_inside();

    // How many are inside, or wait for a thread.
    size_t busy() const;

  private:
    bool add_thread();
    void work();

    const size_t most_;
    mutable std::mutex mutex_;
    std::condition_variable entering_, ended_;
    std::deque<std::coroutine_handle<>> waiting_;
    size_t threads_ = 0, idle_ = 0;
    bool stop_ = false;
};

}  // namespace dmfs
