#include "engine/errand.h"

#include <memory>

namespace dmfs {

namespace {

// Shared by the work and who waits for it.
struct Errand {
    explicit Errand(Executor& executor) : waiting(executor) {}
    WaitQueue waiting;
    bool done = false;  // under the queue's mutex, as the result
    Status result;
};

Task<Status> carry_out(Task<Status> work, std::shared_ptr<Errand> errand) {
    Status result = co_await work;
    errand->waiting.wake_all(kOk, [&] {
        errand->done = true;
        errand->result = result;
    });
    co_return result;
}

Task<Status> wait_for(std::shared_ptr<Errand> errand, Cancel* cancel) {
    std::function<bool()> must_wait = [&errand] { return !errand->done; };
    Waiter waiter = errand->waiting.wait(must_wait, cancel);
    Status status = co_await waiter;
    co_return errand->waiting.locked([&] { return errand->done ? errand->result : status; });
}

}  // namespace

Task<Status> until_killed(Executor& executor, Task<Status> work, Cancel* cancel) {
    if (cancel == nullptr) return work;
    work.start();
    if (work.is_done()) return work;
    auto errand = std::make_shared<Errand>(executor);
    executor.spawn(carry_out(std::move(work), errand));
    return wait_for(std::move(errand), cancel);
}

}  // namespace dmfs
