// Flights: the operations of one backing that are under way, and may never come back.
//
//     room (32)  ->  under way  ->  landed: who waits goes on
//        |               |
//        |               +------->  abandoned (killed, or let_go): who waits gets its error at
//     who finds none                once; the operation keeps its memory and its file until
//     waits, killable               it lands, and what overlaps it waits for that
//
// A call that the thread which brought it makes itself is none of them until it is late: from then on
// it is under way as they are, and abandoned when whoever waits for it is killed.
//
// What is slow is made on threads of its own (Executor::operating), so that a dead server or
// disk holds up neither io_uring's workers nor anybody else's requests.

#pragma once

#include <functional>
#include <memory>

#include "engine/device.h"
#include "engine/executor.h"
#include "engine/wait.h"

namespace dmfs {

class Flights {
  public:
    // The most of one device; each is one of the 512 of a mount that threads can make at a time.
    static constexpr size_t kMost = 32;

    // `remote`: a server is asked, so it is slow from the start. `owner` gives what keeps the
    // file open.
    Flights(Executor& executor, std::string name, std::function<std::shared_ptr<void>()> owner);
    Flights(const Flights&) = delete;
    Flights& operator=(const Flights&) = delete;
    ~Flights();

    // Who it is, and whether a server is asked, so that it is slow from the start. Before the first.
    void settle(Identity identity, bool remote);

    // Whether no call may be made on the thread that brings a request.
    bool slow() const { return slow_.load(std::memory_order_relaxed); }
    bool remote() const { return remote_; }

    // The bytes done, or a negative errno: EINTR if cancelled, EIO if let go. `memory`: where
    // operation.data points into.
    Task<int64_t> make(Operation operation, Memory* memory, Cancel* cancel);
    // The result of an operation, as whoever asked for it shall have it. Linux tells a file once that
    // pages were lost, and he may have been `killed` meanwhile: then the next sync tells it.
    int64_t tell(const Operation& operation, int64_t result, bool killed);

    // Where nothing has landed for so long, those who have waited longer get EIO (for a flush, which
    // may write much, six times as long). While such operations are under way, so does whoever comes.
    void let_go(int64_t longer_than_ns);
    // To be called now and then: what is late makes the device slow, and is said in the log.
    void look(int64_t now_ns);

    // A call that a thread makes itself does not come back; and it has. `call` and its Cancel are there
    // until the second is done.
    void call_is_late(const InlineCall& call);
    void call_ended(const InlineCall& call);
    // Those of them that write and that nobody waits for any more; if this is `identity`.
    size_t abandoned_calls(const Identity& identity) const;

  private:
    struct Flight;

    Task<Status> enter(Operation::Kind kind, Cancel* cancel);
    Task<Status> enter_later(Cancel* cancel);
    void leave();
    Task<Status> after_abandoned(const Operation& operation, Cancel* cancel);
    bool overlaps_abandoned(const Operation& operation);
    void depart(Flight& flight);
    void insert(Flight& flight);
    void remove(Flight& flight);
    void land(Flight* flight);
    int64_t arrive(std::unique_ptr<Flight> flight, Status status, const Cancel* cancel);
    void keep_for_next_sync(const Operation& operation, int64_t result);
    static Task<Status> fly(Flight* flight);
    static void landed(Operation& operation);

    Executor& executor_;
    const std::string name_;
    const std::function<std::shared_ptr<void>()> owner_;
    Identity identity_;
    bool remote_ = false;
    std::atomic<bool> slow_{false};
    std::atomic<bool> given_up_{false};  // let_go() had something to do, and it has not landed
    std::atomic<size_t> abandoned_{0};   // or may be at any moment: calls that are late
    std::atomic<int64_t> untold_{0};     // the error of a sync that nobody was there to hear

    WaitQueue room_;
    size_t under_way_ = 0;  // under the queue's mutex; who waits is handed another's place
    WaitQueue waiting_;     // for their own; its mutex guards what follows
    Flight* first_ = nullptr;
    int64_t last_landed_ns_ = 0;
    WaitQueue overlapping_;  // for those that are abandoned

    // Only look() uses these.
    int quiet_looks_ = 0;
    bool said_ = false;
};

}  // namespace dmfs
