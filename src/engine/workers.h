// Workers: threads that compute. A large request's encryption, hashing or parity is cut
// into pieces; whoever has it takes pieces, and so do the workers that are idle.
//
//     workers.share(16, [&](size_t piece) { ... });      all 16 are done when it returns
//
// Pieces compute; they must not wait for anything.

#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dmfs {

class Workers {
  public:
    // 0 threads: callers compute everything themselves, in order.
    explicit Workers(unsigned threads);
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;
    ~Workers();

    unsigned threads() const { return static_cast<unsigned>(threads_.size()); }

    // Calls piece(0) ... piece(pieces - 1), each once, on the calling thread and on workers.
    void share(size_t pieces, const std::function<void(size_t)>& piece);

    // co_await workers.enter(): goes on on a worker, so that long work does not hold up an
    // executor's thread. Without workers, or on one, it goes on at once.
    class Enter {
      public:
        explicit Enter(Workers& workers) : workers_(workers) {}
        bool await_ready() const noexcept;
        [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self);
        void await_resume() const noexcept {}

      private:
        Workers& workers_;
    };
    Enter enter() { return Enter(*this); }

  private:
    struct Shared;

    void work();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::coroutine_handle<>> entering_;
    std::deque<Shared*> shared_;  // work that has pieces left
    size_t idle_ = 0;
    bool stop_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace dmfs
