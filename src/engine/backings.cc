#include "engine/backings.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/refused.h"
#include "engine/executor.h"
#include "engine/flights.h"
#include "engine/wait.h"

namespace dmfs {

namespace {

constexpr std::chrono::milliseconds kBetweenLooks{100};

std::atomic<uint64_t> next_serial{1};

thread_local uint64_t slot_of = 0;  // whose slot it is
thread_local InlineSlot* slot_here = nullptr;

}  // namespace

Backings::Backings(Executor& executor) : executor_(executor), serial_(next_serial.fetch_add(1)) {}

Backings::~Backings() { unwatch(); }

void Backings::unwatch() {
    {
        std::lock_guard guard(mutex_);
        stop_ = true;
    }
    stopping_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Backings::add(Flights* flights) {
    std::lock_guard guard(mutex_);
    all_.insert(flights);
}

void Backings::remove(Flights* flights) {
    std::lock_guard guard(mutex_);
    all_.erase(flights);
}

void Backings::watch(std::function<void()> replace) {
    replace_ = std::move(replace);
    thread_ = std::thread([this] { run(); });
}

void Backings::abandoned(const Identity& identity, bool changes) {
    std::lock_guard guard(abandoned_mutex_);
    all_abandoned_++;
    if (changes) writes_[identity]++;
}

void Backings::landed(const Identity& identity, bool changes) {
    std::lock_guard guard(abandoned_mutex_);
    all_abandoned_--;
    if (changes && --writes_[identity] == 0) writes_.erase(identity);
}

size_t Backings::abandoned_writes(const Identity& identity) const {
    size_t count = 0;
    {
        std::lock_guard guard(mutex_);
        for (const Flights* each : all_) count += each->abandoned_calls(identity);
    }
    std::lock_guard guard(abandoned_mutex_);
    auto found = writes_.find(identity);
    return found == writes_.end() ? count : count + found->second;
}

size_t Backings::abandoned() const {
    std::lock_guard guard(abandoned_mutex_);
    return all_abandoned_;
}

InlineSlot& Backings::slot() {
    if (slot_of == serial_) return *slot_here;
    std::lock_guard guard(mutex_);
    slot_here = &slots_.emplace_back();
    slot_of = serial_;
    return *slot_here;
}

void Backings::came_back(const InlineCall& call) {
    spare_.fetch_add(1, std::memory_order_relaxed);
    if (call.whose != nullptr) call.whose->came_back();
    if (call.where != nullptr) call.where->call_ended(call);
}

void Backings::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_.wait_for(lock, kBetweenLooks, [this] { return stop_; })) look();
}

// The call in this slot is late, unless it has just ended. It is known as such before whoever waits for
// it can be told to go.
bool Backings::lend(InlineSlot& slot, uint64_t state) {
    if (!slot.state.compare_exchange_strong(state, state | InlineSlot::kHeld, std::memory_order_acq_rel))
        return false;
    const InlineCall& call = *slot.call.load(std::memory_order_relaxed);
    if (call.where != nullptr) call.where->call_is_late(call);
    if (call.whose != nullptr) call.whose->stuck();
    slot.state.store(state | InlineSlot::kLent, std::memory_order_release);
    return true;
}

// Whether another thread has the place of one that hangs.
bool Backings::replaced() {
    if (spare_.load(std::memory_order_relaxed) > 0) {
        spare_.fetch_sub(1, std::memory_order_relaxed);
        return true;
    }
    try {
        replace_();
        return true;
    } catch (const Refused& refused) {
        if (!std::exchange(said_missing_, true))
            log_line(Severity::error, "a thread that hangs in a call can't be replaced: " + refused.reason());
        return false;
    }
}

// Under the mutex: none of them goes meanwhile.
void Backings::look() {
    for (InlineSlot& slot : slots_) {
        uint64_t state = slot.state.load(std::memory_order_acquire);
        bool within = (state & 1) != 0, lent = (state & InlineSlot::kLent) != 0;
        if (within && !lent && state == slot.seen && lend(slot, state)) {
            state |= InlineSlot::kLent;
            missing_++;
        }
        slot.seen = state;
    }
    for (; missing_ > 0 && replaced(); missing_--) executor_.return_inline_turn();
    int64_t now_ns = executor_.now_ns();
    for (Flights* each : all_) each->look(now_ns);
}

}  // namespace dmfs
