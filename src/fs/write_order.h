// WriteOrder: no two writes change one block at the same time, unless each of them
// overwrites it whole.
//
// A write of part of a block reads the block first and writes it back; what another
// write has put there meanwhile would be undone. Writes of whole blocks have nothing
// to fear from each other. So these pass a gate, with one atomic operation, as long as
// nobody writes part of a block. Who does closes the gate, waits until those inside
// are out, and takes a range lock; whoever comes meanwhile takes one, too.

#pragma once

#include <mutex>

#include "engine/gate.h"
#include "engine/locks.h"

namespace dmfs::fs {

class WriteOrder {
  public:
    explicit WriteOrder(Executor& executor) : whole_(executor), ranges_(executor) {}

    // How a write got its turn; it is given back in the same way, by a Guard.
    enum class Turn { gate, range, part };

    // For [from, to) in bytes, whole blocks. EINTR: cancelled, and there is no turn.
    Task<Status> take_whole(uint64_t from, uint64_t to, Turn* turn, Cancel* cancel) {
        *turn = Turn::gate;
        if (whole_.enter()) return Task<Status>::ready(kOk);
        *turn = Turn::range;
        return ranges_.acquire(from, to, cancel);
    }
    Task<Status> take_part(uint64_t from, uint64_t to, Turn* turn, Cancel* cancel);
    void give_back(uint64_t from, uint64_t to, Turn turn);

    class Guard {
      public:
        Guard(WriteOrder& order, uint64_t from, uint64_t to, Turn turn)
            : order_(order), from_(from), to_(to), turn_(turn) {}
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        ~Guard() { order_.give_back(from_, to_, turn_); }

      private:
        WriteOrder& order_;
        const uint64_t from_, to_;
        const Turn turn_;
    };

  private:
    void one_part_less();

    Gate whole_;
    RangeLock ranges_;
    std::mutex mutex_;
    unsigned parts_ = 0;  // under the mutex: writes of parts of blocks, at work or waiting
};

}  // namespace dmfs::fs
