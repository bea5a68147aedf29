// Holding: a block device or a store that is this process's own, as long as the pointer lives.
//
//     block device    opened with O_EXCL, as the kernel's device mapper does: nobody can mount it,
//                     and what is mounted, or has it otherwise, is EBUSY
//     store           a file that only one may write, since what it knows of it is in its memory: a
//                     snapshot's COW file, a log. Locked with flock(2); other programs need not mind
//
// All tables of this process share one: who may have a store beside whom is the targets' to know.
// A file that a table only maps is shared with everybody.

#pragma once

#include <memory>
#include <string>

#include "engine/target.h"

namespace dmfs {

class Holding {
  public:
    // Holds what `fd` has open. Throws Refused: EBUSY, with who has it where that can be known. May
    // wait for a server that never answers, and waits a moment for one who is about to go.
    static std::shared_ptr<Holding> of(int fd, const Identity& which, const std::string& name, bool block);

    explicit Holding(int fd) : fd_(fd) {}
    Holding(const Holding&) = delete;
    Holding& operator=(const Holding&) = delete;
    ~Holding();

    // A block device's: writable where that may be. The kernel lets nobody else punch holes.
    int fd() const { return fd_; }

  private:
    const int fd_;
};

// For a target: the device that word `index` names, and `device` is, is its store. Throws Refused
// with the place.
void hold_store(const TargetSetup& setup, size_t index, Device& device);

}  // namespace dmfs
