#include "engine/gate.h"

namespace dmfs {

Task<Status> Gate::enter_or_wait(Cancel* cancel) {
    return outside_.until([this] { return enter(); }, cancel);
}

void Gate::open() {
    // Under the queue's mutex: nobody can look, find it closed, and begin to wait after this.
    outside_.wake_all(kOk, [this] { state_.fetch_and(~kClosed, std::memory_order_acq_rel); });
}

Task<Status> Gate::drain(Cancel* cancel) {
    return drained_.until([this] { return inside() == 0; }, cancel);
}

}  // namespace dmfs
