#include "engine/errand.h"

#include <memory>

namespace dmfs {

namespace {

// How long who is killed waits for what it began to be taken back.
constexpr int kMomentSteps = 20;
constexpr int64_t kMomentStepNs = 5'000'000;

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

struct ControlErrand {
    explicit ControlErrand(Executor& executor) : waiting(executor) {}
    WaitQueue waiting;
    Cancel cancel;
    bool done = false;  // under the queue's mutex, as the outcome
    Outcome outcome;
};

Task<Status> carry_out_control(std::function<Task<Outcome>(Cancel*)> begin,
                               std::shared_ptr<ControlErrand> errand) {
    Task<Outcome> doing = begin(&errand->cancel);
    Outcome outcome = co_await doing;
    errand->waiting.wake_all(kOk, [&] {
        errand->done = true;
        errand->outcome = std::move(outcome);
    });
    co_return kOk;
}

Task<Outcome> wait_for_control(Executor* executor, std::shared_ptr<ControlErrand> errand, Cancel* cancel) {
    std::function<bool()> must_wait = [&errand] { return !errand->done; };
    Waiter waiter = errand->waiting.wait(must_wait, cancel);
    Status status = co_await waiter;
    if (!status) errand->cancel.request();
    for (int step = 0; step < kMomentSteps && errand->waiting.locked(must_wait); step++) {
        Task<Status> pause = sleep_until(*executor, executor->now_ns() + kMomentStepNs);
        Status slept = co_await pause;
        if (!slept) break;
    }
    co_return errand->waiting.locked([&] {
        return errand->done ? errand->outcome
                            : Refused(EINTR, "interrupted; what was begun is still being taken back",
                                      "when the devices below answer, it has been");
    });
}

struct Call {
    std::function<void()> make;
    Outcome outcome;
};

Task<Status> make_aside(Executor& executor, std::shared_ptr<Call> call) {
    Blocking::Enter enter = executor.blocking().enter();
    co_await enter;
    try {
        call->make();
    } catch (const Refused& refused) {
        call->outcome = refused;
    }
    call->make = nullptr;  // what only it has goes here, too: closing a file may hang as well
    co_return kOk;
}

}  // namespace

Task<Status> until_killed(Executor& executor, Task<Status> work, Cancel* cancel) {
    if (cancel == nullptr) return work;
    const NoInlineTurns none;  // this thread is to wait for nothing but `cancel`
    work.start();
    if (work.is_done()) return work;
    auto errand = std::make_shared<Errand>(executor);
    executor.spawn(carry_out(std::move(work), errand));
    return wait_for(std::move(errand), cancel);
}

Task<Outcome> control_errand(Executor& executor, std::function<Task<Outcome>(Cancel*)> begin,
                             Cancel* cancel) {
    if (cancel == nullptr) return begin(nullptr);
    const NoInlineTurns none;
    auto errand = std::make_shared<ControlErrand>(executor);
    executor.spawn(carry_out_control(std::move(begin), errand));
    if (errand->waiting.locked([&] { return errand->done; }))
        return Task<Outcome>::ready(std::move(errand->outcome));
    return wait_for_control(&executor, std::move(errand), cancel);
}

Task<Outcome> aside(Executor& executor, std::function<void()> call, Cancel* cancel) {
    auto shared = std::make_shared<Call>();
    shared->make = std::move(call);
    Task<Status> calling = until_killed(executor, make_aside(executor, shared), cancel);
    Status status = co_await calling;
    if (!status) co_return Refused(status.error(), "interrupted while a device did not answer");
    co_return shared->outcome;
}

}  // namespace dmfs
