// Room: what zeroing would take of stores that can become full, asked before it begins.
//
//     Room room;
//     device.ask_room(start, count, room);     for each range; nothing is taken
//     room.outcome()                           why it should not begin
//
// A snapshot that overflows is lost, so who is about to change much asks first. Others may take
// the room meanwhile: it is an answer of this moment.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "base/refused.h"
#include "engine/look.h"

namespace dmfs {

class Room {
  public:
    explicit Room(Look& look) : look_(look) {}
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;

    // Whether this part of a device is still to be asked: it is no more room if several rows
    // stand on it. False, too, when the look has ended.
    bool ask(const void* device, Sector start, Sector count) {
        if (!outcome_ || !look_.step()) return false;
        const Look::Question question{device, start, count};
        if (look_.answered(question)) return false;
        look_.answer(question, 0);
        return true;
    }

    // The first of the chunks [first, end) that was not asked for already: a range may end in the
    // chunk in which the next begins.
    uint64_t first_new(const void* store, uint64_t first, uint64_t end) {
        uint64_t& asked = asked_[store];
        if (asked != 0 && first == asked - 1) first++;
        asked = end;
        return first;
    }
    // So many chunks more of a store, of which `free` are left.
    void take(const void* store, const std::string& name, uint64_t chunks, uint64_t free) {
        uint64_t& taken = taken_[store];
        taken += chunks;
        if (taken > free)
            refuse(Refused(ENOSPC,
                           "it would overflow the snapshot on " + name + ": at least " +
                               std::to_string(taken) + " chunks more, and " + std::to_string(free) +
                               " are free",
                           "a larger COW device, or drop the snapshot first"));
    }
    void refuse(Refused why) {
        if (outcome_) outcome_ = std::move(why);
    }
    const Outcome& outcome() const { return outcome_; }

  private:
    Look& look_;
    std::map<const void*, uint64_t> taken_, asked_;
    Outcome outcome_;
};

}  // namespace dmfs
