#include "fs/write_order.h"

namespace dmfs::fs {

Task<Status> WriteOrder::take_part(uint64_t from, uint64_t to, Turn* turn, Cancel* cancel) {
    *turn = Turn::part;
    {
        std::lock_guard guard(mutex_);
        if (parts_++ == 0) whole_.close();
    }
    Task<Status> draining = whole_.drain(cancel);
    Status status = co_await draining;
    if (status) {
        Task<Status> locking = ranges_.acquire(from, to, cancel);
        status = co_await locking;
    }
    if (!status) one_part_less();
    co_return status;
}

void WriteOrder::one_part_less() {
    std::lock_guard guard(mutex_);
    if (--parts_ == 0) whole_.open();
}

void WriteOrder::give_back(uint64_t from, uint64_t to, Turn turn) {
    if (turn == Turn::gate) {
        whole_.leave();
        return;
    }
    ranges_.release(from, to);
    if (turn == Turn::part) one_part_less();
}

}  // namespace dmfs::fs
