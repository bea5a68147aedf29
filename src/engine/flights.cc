#include "engine/flights.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "engine/backings.h"

namespace dmfs {

namespace {

constexpr int64_t kLate = 1'000'000'000;  // nanoseconds: then the backing is slow
constexpr int64_t kSaid = 5 * kLate;      // then it is said in the log
constexpr int kQuietLooks = 20;           // then it is not slow any more

}  // namespace

// On the heap, since it may outlive the coroutine that waits for it.
struct Flights::Flight : Operation {
    Flight(Flights& of, const Operation& wanted, Memory* where)
        : Operation(wanted), flights(of), memory(where) {
        done = Flights::landed;
        if (data == nullptr || !memory->is_lent()) return;
        // Nobody promises that it is there until this has landed.
        lent = wanted.data;
        bounce = Buffer(bytes);
        data = bounce.data();
        if (kind == Kind::write) memcpy(data, lent, bytes);
    }
    bool changes() const { return kind == Kind::write || kind == Kind::fallocate; }
    bool is_abandoned() const {
        return abandoned || (call != nullptr && call->whose != nullptr && call->whose->requested());
    }
    bool overlaps(const Operation& other) const {
        return offset < other.offset + other.bytes && other.offset < offset + bytes;
    }

    Flights& flights;
    Memory* const memory;
    std::byte* lent = nullptr;
    Buffer bounce;
    int64_t since_ns = 0;
    const InlineCall* call = nullptr;  // that a thread makes itself; then nobody waits here

    // Under the mutex of `waiting_`.
    Flight* next = nullptr;
    Flight* previous = nullptr;
    Waiter* waiter = nullptr;
    bool has_landed = false;
    bool abandoned = false;
    std::shared_ptr<void> owner, held;  // once abandoned
    const std::function<bool()> must_wait = [this] { return !has_landed; };
};

Flights::Flights(Executor& executor, std::string name, std::function<std::shared_ptr<void>()> owner)
    : executor_(executor),
      name_(std::move(name)),
      owner_(std::move(owner)),
      room_(executor),
      waiting_(executor),
      overlapping_(executor) {
    executor_.backings().add(this);
}

Flights::~Flights() { executor_.backings().remove(this); }

void Flights::settle(Identity identity, bool remote) {
    identity_ = identity;
    remote_ = remote;
    slow_.store(remote, std::memory_order_relaxed);
}

Task<int64_t> Flights::make(Operation operation, Memory* memory, Cancel* cancel) {
    Task<Status> entering = enter(operation.kind, cancel);
    Status status = co_await entering;
    if (!status) co_return -status.error();
    Task<Status> waiting = after_abandoned(operation, cancel);
    status = co_await waiting;
    if (!status) {
        leave();
        co_return -status.error();
    }
    // Others may have been let in where it was: what they wrote is newer.
    if (is_cancelled(cancel)) {
        leave();
        co_return -EINTR;
    }
    auto flight = std::make_unique<Flight>(*this, operation, memory);
    Waiter waiter = waiting_.wait(flight->must_wait, cancel);
    flight->waiter = &waiter;
    depart(*flight);
    status = co_await waiter;
    co_return arrive(std::move(flight), status, cancel);
}

Task<Status> Flights::enter(Operation::Kind kind, Cancel* cancel) {
    if (given_up_.load(std::memory_order_acquire)) return Task<Status>::ready(Status(EIO));
    bool taken = room_.locked([this] { return under_way_ < kMost && ++under_way_ > 0; });
    if (taken) return Task<Status>::ready(kOk);
    if (kind == Operation::Kind::write && !Memory::has_room()) return Task<Status>::ready(Status(ENOMEM));
    return enter_later(cancel);
}

Task<Status> Flights::enter_later(Cancel* cancel) {
    bool refused = false;
    std::function<bool()> must_wait = [&] {
        refused = given_up_.load(std::memory_order_acquire);
        return !refused && !(under_way_ < kMost && ++under_way_ > 0);
    };
    Status status = co_await room_.wait(must_wait, cancel);
    co_return refused ? Status(EIO) : status;  // good: taken above, or handed over by leave()
}

void Flights::leave() {
    room_.wake_one([this] {
        if (room_.size() == 0) under_way_--;
    });
}

// A write that was given up may land at any time; nothing newer shall be under it.
Task<Status> Flights::after_abandoned(const Operation& operation, Cancel* cancel) {
    if (abandoned_.load(std::memory_order_acquire) == 0) return Task<Status>::ready(kOk);
    return overlapping_.until([this, operation] { return !overlaps_abandoned(operation); }, cancel);
}

bool Flights::overlaps_abandoned(const Operation& operation) {
    if (operation.kind == Operation::Kind::sync) return false;
    return waiting_.locked([&] {
        for (const Flight* flight = first_; flight != nullptr; flight = flight->next)
            if (flight->is_abandoned() && flight->changes() && flight->overlaps(operation)) return true;
        return false;
    });
}

void Flights::depart(Flight& flight) {
    flight.since_ns = executor_.now_ns();
    waiting_.locked([&] { insert(flight); });
    if (executor_.operating().threads() > 0 && (slow() || executor_.is_small()))
        executor_.spawn(fly(&flight));
    else
        executor_.submit(flight);
}

// These two under the mutex.

void Flights::insert(Flight& flight) {
    flight.next = first_;
    if (first_ != nullptr) first_->previous = &flight;
    first_ = &flight;
}

void Flights::remove(Flight& flight) {
    (flight.previous != nullptr ? flight.previous->next : first_) = flight.next;
    if (flight.next != nullptr) flight.next->previous = flight.previous;
    if (first_ == nullptr) given_up_.store(false, std::memory_order_release);
    last_landed_ns_ = executor_.now_ns();
}

// On a thread of its own.
Task<Status> Flights::fly(Flight* flight) {
    Blocking::Enter enter = flight->flights.executor_.operating().enter();
    co_await enter;
    bool given_up = flight->flights.waiting_.locked([&] { return flight->abandoned; });
    flight->end(given_up ? -ECANCELED : do_blocking(*flight));
    co_return kOk;
}

void Flights::landed(Operation& operation) {
    auto& flight = static_cast<Flight&>(operation);
    flight.flights.land(&flight);
}

void Flights::land(Flight* flight) {
    leave();  // before whoever waits can go on, and let the device go
    std::coroutine_handle<> waiter;
    std::unique_ptr<Flight> abandoned;
    waiting_.locked([&] {
        flight->has_landed = true;
        remove(*flight);
        if (flight->abandoned)
            abandoned.reset(flight);
        else
            waiter = waiting_.take_locked(*flight->waiter);
    });
    if (abandoned) {
        std::shared_ptr<void> owner = std::move(flight->owner);  // may be the last; outlives this
        keep_for_next_sync(*flight, flight->result);
        abandoned_.fetch_sub(1, std::memory_order_acq_rel);
        overlapping_.wake_all();
        executor_.backings().landed(identity_, flight->changes());
        abandoned.reset();
        return;
    }
    if (waiter) waiter.resume();
}

// Whoever made the operation goes on: because it has landed, or without it.
int64_t Flights::arrive(std::unique_ptr<Flight> flight, Status status, const Cancel* cancel) {
    bool has_landed = waiting_.locked([&] {
        if (flight->has_landed) return true;
        flight->abandoned = true;
        flight->waiter = nullptr;
        flight->owner = owner_();
        if (flight->data != nullptr && flight->lent == nullptr) flight->held = flight->memory->hold();
        abandoned_.fetch_add(1, std::memory_order_acq_rel);
        slow_.store(true, std::memory_order_relaxed);
        executor_.backings().abandoned(identity_, flight->changes());
        return false;
    });
    if (!has_landed) {
        flight.release();
        return -status.error();
    }
    if (flight->lent != nullptr && flight->kind == Operation::Kind::read && flight->result > 0)
        memcpy(flight->lent, flight->data, static_cast<size_t>(flight->result));
    return tell(*flight, flight->result, is_cancelled(cancel));
}

int64_t Flights::tell(const Operation& operation, int64_t result, bool killed) {
    if (killed) {
        keep_for_next_sync(operation, result);
        return result;
    }
    if (operation.kind != Operation::Kind::sync || untold_.load(std::memory_order_acquire) == 0)
        return result;
    const int64_t untold = untold_.exchange(0, std::memory_order_acq_rel);
    return result < 0 ? result : untold;
}

// A durable write syncs, too.
void Flights::keep_for_next_sync(const Operation& operation, int64_t result) {
    const bool syncs = operation.kind == Operation::Kind::sync || operation.dsync;
    const bool was_not_made = result == -ECANCELED || result == -EINTR || result == -EAGAIN;
    if (syncs && result < 0 && !was_not_made) untold_.store(result, std::memory_order_release);
}

void Flights::let_go(int64_t longer_than_ns) {
    const int64_t now_ns = executor_.now_ns();
    bool any = waiting_.locked([&] {
        bool late = false;
        if (last_landed_ns_ > now_ns - longer_than_ns) return late;  // slow, but it answers
        for (Flight* flight = first_; flight != nullptr; flight = flight->next) {
            const int64_t patience_ns = longer_than_ns * (flight->kind == Operation::Kind::sync ? 6 : 1);
            if (!flight->is_abandoned() && flight->since_ns > now_ns - patience_ns) continue;
            late = true;
            if (flight->waiter != nullptr) waiting_.wake_locked(*flight->waiter, Status(EIO));
        }
        if (late) given_up_.store(true, std::memory_order_release);
        return late;
    });
    if (!any) return;
    slow_.store(true, std::memory_order_relaxed);
    room_.wake_all(Status(EIO));
    overlapping_.wake_all(Status(EIO));
}

void Flights::call_is_late(const InlineCall& call) {
    Operation operation = *call.operation;
    operation.data = nullptr;  // the thread has it
    auto flight = std::make_unique<Flight>(*this, operation, nullptr);
    flight->call = &call;
    flight->since_ns = executor_.now_ns();
    abandoned_.fetch_add(1, std::memory_order_acq_rel);
    slow_.store(true, std::memory_order_relaxed);
    waiting_.locked([&] { insert(*flight.release()); });
}

void Flights::call_ended(const InlineCall& call) {
    std::unique_ptr<Flight> ended;
    waiting_.locked([&] {
        Flight* flight = first_;
        while (flight->call != &call) flight = flight->next;
        remove(*flight);
        ended.reset(flight);
    });
    abandoned_.fetch_sub(1, std::memory_order_acq_rel);
    overlapping_.wake_all();
}

size_t Flights::abandoned_calls(const Identity& identity) const {
    return waiting_.locked([&] {
        size_t count = 0;
        for (const Flight* flight = first_; flight != nullptr; flight = flight->next)
            if (flight->call != nullptr && flight->changes() && flight->is_abandoned()) count++;
        return count > 0 && identity_ == identity ? count : 0;
    });
}

void Flights::look(int64_t now_ns) {
    size_t under_way = 0;
    bool late = false;
    int64_t since = now_ns;
    waiting_.locked([&] {
        for (const Flight* flight = first_; flight != nullptr; flight = flight->next, under_way++) {
            since = std::min(since, flight->since_ns);
            late = late || flight->call != nullptr;
        }
    });
    late = late || now_ns - since > kLate;
    if (late) {
        slow_.store(true, std::memory_order_relaxed);
        quiet_looks_ = 0;
    } else if (slow() && !remote_ && abandoned_.load(std::memory_order_acquire) == 0 &&
               ++quiet_looks_ >= kQuietLooks) {
        slow_.store(false, std::memory_order_relaxed);
    }
    bool dead = now_ns - since > kSaid;
    if (dead && !said_)
        log_line(
            Severity::error,
            name_ + " does not answer: " + std::to_string(under_way) +
                " requests have been under way for up to " + std::to_string((now_ns - since) / kLate) +
                " s; `dmfs suspend --noflush` of its volume ends the waits, but for a call that hangs in "
                "the kernel (if it is a volume of another mount, it may stand on this one)");
    else if (said_ && under_way == 0)
        log_line(Severity::info, name_ + " answers again");
    said_ = dead || (said_ && under_way > 0);
}

}  // namespace dmfs
