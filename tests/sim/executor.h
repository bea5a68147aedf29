// An executor of one thread and a clock of its own. What is ready to go on goes on
// in random order, so a seed is a schedule.

#pragma once

#include <map>
#include <random>
#include <vector>

#include "engine/executor.h"

namespace dmfs::sim {

using Random = std::mt19937_64;

class SimExecutor final : public Executor {
  public:
    explicit SimExecutor(Random& random) : random_(random) {}

    void submit(Operation& operation) override {
        operation.result = 0;
        if (operation.kind == Operation::Kind::sleep && operation.deadline_ns > now_)
            sleepers_.emplace(operation.deadline_ns, operation.waiter);
        else
            ready_.push_back(operation.waiter);
    }
    void post(std::coroutine_handle<> coroutine) override { ready_.push_back(coroutine); }
    int64_t now_ns() const override { return now_; }
    std::string name() const override { return "simulated"; }

    // Resumes one coroutine; false if there is none to resume.
    bool step() {
        if (ready_.empty()) {
            if (sleepers_.empty()) return false;
            now_ = sleepers_.begin()->first;
            while (!sleepers_.empty() && sleepers_.begin()->first <= now_) {
                ready_.push_back(sleepers_.begin()->second);
                sleepers_.erase(sleepers_.begin());
            }
        }
        std::swap(ready_[random_() % ready_.size()], ready_.back());
        std::coroutine_handle<> next = ready_.back();
        ready_.pop_back();
        next.resume();
        return true;
    }

  private:
    Random& random_;
    int64_t now_ = 1;
    std::vector<std::coroutine_handle<>> ready_;
    std::multimap<int64_t, std::coroutine_handle<>> sleepers_;
};

}  // namespace dmfs::sim
