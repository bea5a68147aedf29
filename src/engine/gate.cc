#include "engine/gate.h"

namespace dmfs {

Task<Status> Gate::enter_or_wait(Cancel* cancel) {
    std::function<bool()> must_wait = [this] { return closed(); };
    while (!enter()) {
        Status status = co_await outside_.wait(must_wait, cancel);
        if (!status) co_return status;
    }
    co_return kOk;
}

void Gate::open() {
    // Under the queue's mutex: nobody can look, find it closed, and begin to wait behind this.
    outside_.wake_all(kOk, [this] { state_.fetch_and(~kClosed, std::memory_order_acq_rel); });
}

Task<Status> Gate::drain(Cancel* cancel) {
    std::function<bool()> must_wait = [this] { return inside() > 0; };
    while (inside() > 0) {
        Status status = co_await drained_.wait(must_wait, cancel);
        if (!status) co_return status;
    }
    co_return kOk;
}

}  // namespace dmfs
