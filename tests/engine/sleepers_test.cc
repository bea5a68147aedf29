// Requests that are held for a time.

#include "engine/sleepers.h"

#include <algorithm>
#include <vector>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

constexpr int64_t kMs = 1'000'000;

Task<Status> sleep_and_note(Executor* executor, Sleepers* sleepers, int64_t deadline_ns, int64_t* late_ns) {
    Task<Status> sleeping = sleepers->sleep(deadline_ns, nullptr);
    Status status = co_await sleeping;
    *late_ns = executor->now_ns() - deadline_ns;
    co_return status;
}

// All of one deadline go on on one thread.
Task<Status> sleep_and_tell(Sleepers* sleepers, int64_t deadline_ns, size_t which,
                            std::vector<size_t>* woken) {
    Task<Status> sleeping = sleepers->sleep(deadline_ns, nullptr);
    Status status = co_await sleeping;
    woken->push_back(which);
    co_return status;
}

}  // namespace

TEST_CASE("sleepers go on at their deadlines, in whatever order they came") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        Sleepers sleepers(*executor);
        std::vector<int64_t> late(300);
        std::vector<Pending<Status>> sleeping;
        int64_t now = executor->now_ns();
        for (size_t i = 0; i < late.size(); i++) {
            int64_t deadline = now + static_cast<int64_t>(i * 7 % 50) * kMs - 5 * kMs;
            sleeping.push_back(begin(*executor, sleep_and_note(&*executor, &sleepers, deadline, &late[i])));
        }
        for (Pending<Status>& each : sleeping) CHECK(each.get() == kOk);
        for (int64_t each : late) CHECK(each >= 0);
        CHECK(sleepers.size() == 0);
    }
}

TEST_CASE("sleepers of one deadline go on in the order they came") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        Sleepers sleepers(*executor);
        constexpr size_t kCount = 100;
        for (int round = 0; round < 2; round++) {  // the second in memory that the first gave back
            std::vector<size_t> woken;
            std::vector<Pending<Status>> sleeping;
            int64_t deadline = executor->now_ns() + 50 * kMs;
            for (size_t i = 0; i < kCount; i++)
                sleeping.push_back(begin(*executor, sleep_and_tell(&sleepers, deadline, i, &woken)));
            for (Pending<Status>& each : sleeping) CHECK(each.get() == kOk);
            CHECK(woken.size() == kCount);
            CHECK(std::ranges::is_sorted(woken));
        }
    }
}

TEST_CASE("sleepers that are let go go on at once, and later ones do not sleep") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        Sleepers sleepers(*executor);
        std::vector<Pending<Status>> sleeping;
        int64_t never = executor->now_ns() + 3600'000 * kMs;
        for (int i = 0; i < 1000; i++)
            sleeping.push_back(
                begin(*executor, sleepers.sleep(i % 2 == 0 ? never : Sleepers::kForever, nullptr)));
        CHECK(sleepers.size() == 1000);
        sleepers.let_go();
        for (Pending<Status>& each : sleeping) CHECK(each.get() == kOk);
        CHECK(begin(*executor, sleepers.sleep(never, nullptr)).get() == kOk);
        sleepers.hold_again();
        Pending<Status> held = begin(*executor, sleepers.sleep(never, nullptr));
        CHECK(sleepers.size() == 1);
        sleepers.let_go();
        CHECK(held.get() == kOk);
    }
}

TEST_CASE("one group of sleepers is let go, the others sleep on") {
    Running executor;
    Sleepers sleepers(*executor);
    Pending<Status> one = begin(*executor, sleepers.sleep(Sleepers::kForever, nullptr, 1));
    Pending<Status> two = begin(*executor, sleepers.sleep(Sleepers::kForever, nullptr, 2));
    sleepers.let_go(2);
    CHECK(two.get() == kOk);
    CHECK(!one.done());
    sleepers.let_go(1);
    CHECK(one.get() == kOk);
}

TEST_CASE("a sleeper whose process is killed ends with EINTR") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        Sleepers sleepers(*executor);
        Cancel cancel;
        Pending<Status> sleeping = begin(*executor, sleepers.sleep(Sleepers::kForever, &cancel));
        cancel.request();
        CHECK(sleeping.get() == Status(EINTR));
        CHECK(sleepers.size() == 0);
        CHECK(begin(*executor, sleepers.sleep(Sleepers::kForever, &cancel)).get() == Status(EINTR));
    }
}

TEST_CASE("an alarm that was set for a sleeper that is gone does no harm") {
    Running executor;
    {
        Sleepers sleepers(*executor);
        Cancel cancel;
        Pending<Status> first = begin(*executor, sleepers.sleep(executor->now_ns() + 20 * kMs, &cancel));
        cancel.request();
        CHECK(first.get() == Status(EINTR));
        CHECK(begin(*executor, sleepers.sleep(executor->now_ns() + 30 * kMs, nullptr)).get() == kOk);
    }
    {
        Sleepers sleepers(*executor);
        Cancel cancel;
        Pending<Status> only = begin(*executor, sleepers.sleep(executor->now_ns() + 20 * kMs, &cancel));
        cancel.request();
        CHECK(only.get() == Status(EINTR));
    }  // destroyed with its alarm still set
}
