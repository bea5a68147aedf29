#include "engine/undo.h"

#include "engine/errand.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

Undo::Step note(std::vector<int>* order, int number, Outcome outcome = {}) {
    return [order, number, outcome] {
        order->push_back(number);
        return Task<Outcome>::ready(outcome);
    };
}

}  // namespace

TEST_CASE("what was done whole is not taken back") {
    Running executor;
    std::vector<int> order;
    Undo undo;
    undo.add(note(&order, 1));
    CHECK(run(*executor, undo.unless_done(Task<Outcome>::ready({}))));
    CHECK(order.empty());
}

TEST_CASE("what was refused is taken back, the last step first, and a step that fails is told") {
    Running executor;
    std::vector<int> order;
    Undo undo;
    undo.add(note(&order, 1));
    undo.add(note(&order, 2, Refused(EIO, "the way back is blocked", "another way")));
    undo.add(note(&order, 3));
    Outcome outcome =
        run(*executor, undo.unless_done(Task<Outcome>::ready(Refused(EBUSY, "it is in use", "wait"))));
    CHECK(order == std::vector<int>{3, 2, 1});
    REQUIRE_FALSE(outcome);
    CHECK(outcome.why().error() == EBUSY);
    CHECK(outcome.why().reason() == "it is in use; and then: the way back is blocked");
    CHECK(outcome.why().remedy() == "wait; then: another way");
}

namespace {

// Waits for the device, and then for it again as its way back.
Task<Outcome> ask(FakeDevice* device, Cancel* cancel, bool* undone, bool slow) {
    Task<Status> asking = device->io(Bio::flush(cancel));
    Status status = co_await asking;
    if (status) co_return Outcome();
    if (slow) {
        Task<Status> again = device->io(Bio::flush());
        status = co_await again;
    }
    *undone = true;
    co_return Refused(EINTR, "killed, and taken back");
}

}  // namespace

TEST_CASE("a control operation that is killed answers when it has taken back what it began") {
    Running executor;
    FakeDevice device(*executor, "d", 8);
    device.hold();
    for (bool slow : {false, true}) {
        Cancel cancel;
        std::atomic<bool> begun{false};
        bool undone = false;
        Pending<Outcome> doing = begin(*executor, control_errand(
                                                      *executor,
                                                      [&](Cancel* own) {
                                                          begun = true;
                                                          return ask(&device, own, &undone, slow);
                                                      },
                                                      &cancel));
        CHECK(begun);
        REQUIRE(soon([&] { return device.held() == 1; }));
        cancel.request();
        Outcome outcome = doing.get();
        REQUIRE_FALSE(outcome);
        CHECK(outcome.why().error() == EINTR);
        if (!slow) CHECK(outcome.why().reason() == "killed, and taken back");
        if (!slow) CHECK(undone);
        if (!slow) continue;
        // It goes, and the way back goes on alone.
        CHECK(outcome.why().reason() != "killed, and taken back");
        CHECK(executor->running() > 0);
        device.let_go();
        CHECK(soon([&] { return executor->running() == 0; }));
        CHECK(undone);
    }
}
