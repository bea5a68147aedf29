// What is known of the damage of a verity volume, and what it costs.
//
//     mode                     a block that is corrupted     a block that cannot be read
//     (none)                   the request fails             the request fails
//     ignore_corruption        is read as it is
//     restart_on_corruption    the row is halted
//     panic_on_corruption      the row is halted
//     restart_on_error                                       the row is halted
//     panic_on_error                                         the row is halted
//
// The kernel ends the whole machine where a row is halted here: from then on each of its
// requests fails, until another table takes its place. Nobody reads anything any more,
// and the rest of the machine has no part in it.

#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "engine/task.h"

namespace dmfs {
class Cancel;
}

namespace dmfs::verity {

enum class BlockKind { data, hash };
// Within the target: a request met corruption, and fails with EIO. No errno, which end at
// 4095: a device may fail with any of those.
inline constexpr Status kCorrupted{4096};

enum class Mode { fail, ignore, restart, panic };

class Damage {
  public:
    Damage(Mode on_corruption, Mode on_error, std::string data_name, std::string hash_name)
        : on_corruption_(on_corruption),
          on_error_(on_error),
          data_name_(std::move(data_name)),
          hash_name_(std::move(hash_name)) {}

    // A block is not what its digest says, and nothing repairs it. Whether its request
    // fails. `block`: of the data or of the hash device.
    bool found(BlockKind kind, uint64_t block);
    // A request failed that met no corruption.
    void request_failed();

    bool any() const { return any_.load(std::memory_order_relaxed); }
    bool halted() const { return halted_.load(std::memory_order_relaxed); }
    Mode on_corruption() const { return on_corruption_; }
    Mode on_error() const { return on_error_; }
    // "data block 7 of /a.img"
    std::string name_of(BlockKind kind, uint64_t block) const;

  private:
    void halt(const char* why);

    const Mode on_corruption_, on_error_;
    const std::string data_name_, hash_name_;
    std::atomic<bool> any_{false}, halted_{false};
    std::atomic<unsigned> logged_{0};
};

// Who can put a block right.
class Repairer {
  public:
    virtual ~Repairer() = default;
    // The block as it was, which has this digest, into `to`. EIO where it cannot be had.
    virtual Task<Status> repair(BlockKind kind, uint64_t block, const std::byte* digest, std::byte* to,
                                Cancel* cancel) = 0;
};

}  // namespace dmfs::verity
