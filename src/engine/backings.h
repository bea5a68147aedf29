// Backings: all files and devices that the tables of a mount stand on, seen together: which
// of them do not answer, and which have writes under way that were given up.

#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "engine/device.h"

namespace dmfs {

class Cancel;
class Executor;
class Flights;
struct InlineCall;

// A thread that makes calls itself (InlineTurn), and what it is at.
struct alignas(64) InlineSlot {
    static constexpr uint64_t kLent = uint64_t{1} << 63;
    static constexpr uint64_t kHeld = uint64_t{1} << 62;  // being looked at: the call ends after that
    // Odd: within a call. Counts, so that a call that is seen twice is late; kLent: it was late,
    // and its turn was given to another.
    std::atomic<uint64_t> state{0};
    std::atomic<const InlineCall*> call{nullptr};  // there while it is being looked at, or lent
    uint64_t seen = 0;                             // by the last look
};

class Backings {
  public:
    explicit Backings(Executor& executor);
    Backings(const Backings&) = delete;
    Backings& operator=(const Backings&) = delete;
    ~Backings();

    void add(Flights* flights);
    void remove(Flights* flights);

    // Looks ten times a second. `replace`: a thread that makes calls itself hangs in one, and
    // another should take its place. May throw Refused: it is tried again.
    void watch(std::function<void()> replace);
    void unwatch();

    // Operations that nobody waits for any more; `changes`: it writes.
    void abandoned(const Identity& identity, bool changes);
    void landed(const Identity& identity, bool changes);
    // With those that threads make themselves, and hang in.
    size_t abandoned_writes(const Identity& identity) const;
    size_t abandoned() const;

    // The calling thread's.
    InlineSlot& slot();
    // A call that was late has ended: its thread is one more than is needed.
    void came_back(const InlineCall& call);

  private:
    void run();
    static bool lend(InlineSlot& slot, uint64_t state);
    void look();
    bool replaced();

    Executor& executor_;
    const uint64_t serial_;
    mutable std::mutex abandoned_mutex_;
    std::map<Identity, size_t> writes_;
    size_t all_abandoned_ = 0;

    mutable std::mutex mutex_;
    std::set<Flights*> all_;
    std::deque<InlineSlot> slots_;
    std::function<void()> replace_;
    std::atomic<int> spare_{0};
    int missing_ = 0;  // of look() alone: threads that hang, and whose turns nobody has yet
    bool said_missing_ = false;
    std::condition_variable stopping_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace dmfs
