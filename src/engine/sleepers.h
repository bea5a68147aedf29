// Sleepers: requests that are held for a time, in the order of their deadlines, those of one in the
// order they came. Each goes on at its own, or when all are let go, or when its process is killed.

#pragma once

#include <map>

#include "engine/lifecycle.h"
#include "engine/wait.h"

namespace dmfs {

class Sleepers final : public Holder {
  public:
    explicit Sleepers(Executor& executor);
    // Nobody sleeps any more.
    ~Sleepers();

    // A deadline that never comes.
    static constexpr int64_t kForever = INT64_MAX;

    // Answers kOk at deadline_ns (on the executor's clock) or when let go, EINTR when
    // cancelled. While they are let go nobody sleeps. `group` is for let_go().
    Task<Status> sleep(int64_t deadline_ns, Cancel* cancel, uint64_t group = 0);

    // Wakes all, and turns later sleepers away until hold_again().
    void let_go() override;
    void hold_again() override;
    // Wakes those of one group; later ones sleep.
    void let_go(uint64_t group);

    size_t size() const { return queue_.size(); }

  private:
    struct Sleeper {
        int64_t deadline_ns;
        uint64_t group;
        Waiter* waiter = nullptr;
        bool awake = false;
    };
    using Order = std::multimap<int64_t, Sleeper*>;

    void wake_due();
    void wake(const std::function<bool(const Sleeper&)>& wanted);
    void set_alarm();

    Executor& executor_;
    WaitQueue queue_;
    // Under the queue's mutex.
    Order order_;
    bool held_ = true;
    bool alarm_set_ = false;
    int64_t alarm_ns_ = 0;

    Timer timer_;
};

}  // namespace dmfs
