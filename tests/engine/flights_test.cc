#include "engine/flights.h"

#include "base/log.h"
#include "base/refused.h"
#include "engine/backings.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// Operations stay under way until the test ends them; the clock is the test's.
class HoldingExecutor final : public Executor {
  public:
    void submit(Operation& operation) override {
        std::lock_guard guard(mutex_);
        held_.push_back(&operation);
    }
    void post(std::coroutine_handle<> coroutine) override {
        std::lock_guard guard(mutex_);
        posted_.push_back(coroutine);
    }
    void arm(Timer&, int64_t) override {}
    void disarm(Timer&) override {}
    int64_t now_ns() const override { return now; }
    std::string name() const override { return "holding"; }

    size_t held() const { return held_.size(); }
    const Operation& at(size_t index) const { return *held_[index]; }
    void end(size_t index, int64_t result) {
        Operation* operation = held_[index];
        held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
        operation->end(result);
        go_on();
    }
    void go_on() {
        while (!posted_.empty()) {
            std::coroutine_handle<> next = posted_.front();
            posted_.erase(posted_.begin());
            next.resume();
        }
    }

    int64_t now = 1;

  private:
    std::mutex mutex_;
    std::vector<Operation*> held_;
    std::vector<std::coroutine_handle<>> posted_;
};

constexpr Identity kFile{2, 1, 7};
constexpr int64_t kSecond = 1'000'000'000;

struct Backing {
    explicit Backing(HoldingExecutor& on)
        : executor(on), file(std::make_shared<int>(0)), flights(on, "/f", [this] { return file; }) {
        flights.settle(kFile, false);
    }
    // What becomes of a request: nothing yet, or the bytes or the errno.
    std::shared_ptr<std::optional<int64_t>> begin(Operation::Kind kind, uint64_t offset, Memory* memory,
                                                  Cancel* cancel) {
        Operation operation;
        operation.kind = kind;
        operation.offset = offset;
        operation.data = memory->data();
        operation.bytes = memory->bytes();
        auto answer = std::make_shared<std::optional<int64_t>>();
        executor.spawn(collect(flights.make(operation, memory, cancel), answer));
        return answer;
    }
    static Task<Status> collect(Task<int64_t> task, std::shared_ptr<std::optional<int64_t>> answer) {
        *answer = co_await task;
        co_return kOk;
    }

    HoldingExecutor& executor;
    std::shared_ptr<int> file;
    Flights flights;
};

using Kind = Operation::Kind;

}  // namespace

TEST_CASE("who is killed goes at once, and the operation keeps its memory and its file until it lands") {
    HoldingExecutor executor;
    Backing backing(executor);
    Cancel cancel;
    auto memory = std::make_unique<Memory>(4096);
    memset(memory->data(), 'w', 4096);
    auto killed = backing.begin(Kind::write, 0, memory.get(), &cancel);
    cancel.request();
    executor.go_on();
    CHECK(*killed == -EINTR);
    memory.reset();
    for (int i = 0; i < 8; i++) memset(Buffer(4096).data(), 'x', 4096);  // somebody else's by now?
    REQUIRE(executor.held() == 1);
    CHECK(executor.at(0).data[4095] == std::byte{'w'});
    CHECK(backing.file.use_count() == 2);
    CHECK(executor.backings().abandoned_writes(kFile) == 1);
    executor.end(0, 4096);
    CHECK(backing.file.use_count() == 1);
    CHECK(executor.backings().abandoned_writes(kFile) == 0);
}

TEST_CASE("of one that was killed before nothing is begun, and its room is free again") {
    HoldingExecutor executor;
    Backing backing(executor);
    Cancel killed;
    killed.request();
    Memory memory(4096);
    for (size_t i = 0; i <= Flights::kMost; i++)
        CHECK(*backing.begin(Kind::write, 0, &memory, &killed) == -EINTR);
    CHECK(executor.held() == 0);
    CHECK(executor.backings().abandoned() == 0);
}

TEST_CASE("the error of a sync whose client is gone is the next one's, and no read's") {
    HoldingExecutor executor;
    Backing backing(executor);
    Memory memory(512);
    auto next = [&](Kind kind) {
        auto answer = backing.begin(kind, 0, &memory, nullptr);
        executor.end(0, 0);
        return **answer;
    };
    SECTION("it was killed, and the sync lands later") {
        Cancel cancel;
        auto killed = backing.begin(Kind::sync, 0, &memory, &cancel);
        cancel.request();
        executor.go_on();
        CHECK(*killed == -EINTR);
        executor.end(0, -EIO);
    }
    SECTION("it was killed when the sync had landed") {
        Cancel cancel;
        auto killed = backing.begin(Kind::sync, 0, &memory, &cancel);
        cancel.request();
        executor.end(0, -EIO);
    }
    SECTION("it was let go") {
        auto let_go = backing.begin(Kind::sync, 0, &memory, nullptr);
        executor.now += 10 * kSecond;
        backing.flights.let_go(kSecond);
        executor.go_on();
        CHECK(*let_go == -EIO);
        executor.end(0, -EIO);
    }
    SECTION("it hung in a thread that brought it") {
        Operation sync;
        sync.kind = Kind::sync;
        CHECK(backing.flights.tell(sync, -EIO, true) == -EIO);
    }
    CHECK(next(Kind::read) == 0);
    CHECK(next(Kind::sync) == -EIO);
    CHECK(next(Kind::sync) == 0);
}

TEST_CASE("nothing passes a write that was given up, where it would be under it; the rest does") {
    HoldingExecutor executor;
    Backing backing(executor);
    Cancel cancel;
    Memory memory(4096);
    auto killed = backing.begin(Kind::write, 4096, &memory, &cancel);
    cancel.request();
    executor.go_on();
    auto same = backing.begin(Kind::write, 4096, &memory, nullptr);
    auto other = backing.begin(Kind::write, 8192, &memory, nullptr);
    REQUIRE(executor.held() == 2);
    CHECK(executor.at(1).offset == 8192);
    executor.end(1, 4096);
    CHECK(*other == 4096);
    executor.end(0, -EIO);
    REQUIRE(executor.held() == 1);
    CHECK_FALSE(*same);
    executor.end(0, 4096);
    CHECK(*same == 4096);
}

TEST_CASE("so many are under way and no more; who waits for room can be killed") {
    HoldingExecutor executor;
    Backing backing(executor);
    Memory memory(512);
    std::vector<std::shared_ptr<std::optional<int64_t>>> answers;
    for (size_t i = 0; i < Flights::kMost; i++)
        answers.push_back(backing.begin(Kind::read, 0, &memory, nullptr));
    Cancel cancel;
    auto killed = backing.begin(Kind::read, 0, &memory, &cancel);
    auto next = backing.begin(Kind::read, 512, &memory, nullptr);
    CHECK(executor.held() == Flights::kMost);
    cancel.request();
    executor.go_on();
    CHECK(*killed == -EINTR);
    executor.end(0, 512);
    CHECK(executor.held() == Flights::kMost);
    CHECK(executor.at(Flights::kMost - 1).offset == 512);
    while (executor.held() > 0) executor.end(0, 512);
    CHECK(*next == 512);
    for (const auto& answer : answers) CHECK(*answer == 512);
}

TEST_CASE("let go: who has waited long enough gets EIO, so does whoever comes until all have landed") {
    HoldingExecutor executor;
    Backing backing(executor);
    Memory memory(512);
    auto old = backing.begin(Kind::write, 0, &memory, nullptr);
    executor.now += 2 * kSecond;
    auto young = backing.begin(Kind::read, 512, &memory, nullptr);
    backing.flights.let_go(kSecond);
    executor.go_on();
    CHECK(*old == -EIO);
    CHECK_FALSE(*young);
    CHECK(*backing.begin(Kind::read, 0, &memory, nullptr) == -EIO);
    executor.end(1, 512);
    CHECK(*young == 512);
    executor.end(0, 512);
    auto again = backing.begin(Kind::read, 0, &memory, nullptr);
    REQUIRE(executor.held() == 1);
    executor.end(0, 512);
    CHECK(*again == 512);
}

TEST_CASE("what answers late is slow, until it has been quick for a while") {
    HoldingExecutor executor;
    Backing backing(executor);
    Memory memory(512);
    auto answer = backing.begin(Kind::read, 0, &memory, nullptr);
    backing.flights.look(executor.now);
    CHECK_FALSE(backing.flights.slow());
    executor.now += 2 * kSecond;
    backing.flights.look(executor.now);
    CHECK(backing.flights.slow());
    executor.end(0, 512);
    auto is_quick_again = [&] {
        for (int looks = 0; looks < 100 && backing.flights.slow(); looks++)
            backing.flights.look(executor.now);
        return !backing.flights.slow();
    };
    CHECK(is_quick_again());
    Operation operation;
    const InlineCall call{&operation, &backing.flights, nullptr};  // of a thread that brought it
    backing.flights.call_is_late(call);
    CHECK(backing.flights.slow());
    CHECK_FALSE(is_quick_again());
    backing.flights.call_ended(call);
    CHECK(is_quick_again());
}

TEST_CASE("lent memory may go while the operation is under way") {
    HoldingExecutor executor;
    Backing backing(executor);
    Cancel cancel;
    std::byte bytes[512] = {};
    Memory memory = Memory::lend(bytes, 512);
    auto killed = backing.begin(Kind::read, 0, &memory, &cancel);
    auto read = backing.begin(Kind::read, 0, &memory, nullptr);
    cancel.request();
    executor.go_on();
    CHECK(*killed == -EINTR);
    CHECK(executor.at(0).data != bytes);
    memset(executor.at(1).data, 'r', 512);
    executor.end(1, 512);
    CHECK(*read == 512);
    CHECK(bytes[511] == std::byte{'r'});
    memset(executor.at(0).data, 'x', 512);
    executor.end(0, 512);
    CHECK(bytes[511] == std::byte{'r'});
}

TEST_CASE("a call inline that is late gives its turn back, its thread is replaced, its request told") {
    struct Told final : Cancel {
        void stuck() override { told = true; }
        std::atomic<bool> told{false};
    };
    Running executor;
    executor->allow_inline(1);
    std::atomic<int> replaced{0};
    executor->backings().watch([&] { replaced++; });
    Told request;
    {
        InlineTurn turn(*executor, {nullptr, nullptr, &request});
        REQUIRE(turn);
        CHECK(soon([&] { return replaced == 1; }));
        CHECK(request.told);
        std::thread([&] { CHECK(soon([&] { return bool(InlineTurn(*executor)); })); }).join();
    }
    std::thread([&] {
        InlineTurn one(*executor), two(*executor);
        CHECK(one);
        CHECK_FALSE(two);
    }).join();
    executor->backings().unwatch();
}

TEST_CASE("a thread that hangs and cannot be replaced gives its turn back when one can be had") {
    Running executor;
    executor->allow_inline(1);
    std::atomic<int> asked{0};
    std::atomic<bool> possible{false};
    log_to_stderr(false);
    executor->backings().watch([&] {
        asked++;
        if (!possible) throw Refused(EAGAIN, "no thread");
    });
    {
        InlineTurn turn(*executor);
        REQUIRE(soon([&] { return asked > 1; }));
        std::thread([&] { CHECK_FALSE(InlineTurn(*executor)); }).join();
        possible = true;
        std::thread([&] { CHECK(soon([&] { return bool(InlineTurn(*executor)); })); }).join();
    }
    executor->backings().unwatch();
    log_to_stderr(true);
}

TEST_CASE("a thread gets no turn while it does work of its own") {
    Running executor;
    executor->allow_inline(1);
    {
        NoInlineTurns none;
        { NoInlineTurns inner; }
        CHECK_FALSE(InlineTurn(*executor));
    }
    CHECK(InlineTurn(*executor));
}

namespace {

// A write of a thread that brought it, 4096 bytes at 4096, that hangs.
struct HangingCall {
    HangingCall(HoldingExecutor& on, Backing& at) : executor(on) {
        operation.kind = Kind::write;
        operation.offset = operation.bytes = 4096;
        executor.allow_inline(1);
        executor.backings().watch([this] { late = true; });
        turn.emplace(executor, InlineCall{&operation, &at.flights, &cancel});
        REQUIRE(soon([&] { return late.load(); }));
    }
    ~HangingCall() {
        executor.backings().unwatch();
        end();
    }
    void end() {
        turn.reset();
        executor.go_on();
    }

    HoldingExecutor& executor;
    Cancel cancel;
    Operation operation;
    std::atomic<bool> late{false};
    std::optional<InlineTurn> turn;
};

}  // namespace

TEST_CASE("a write inline that hangs is given up when its request is killed, and nothing passes it then") {
    HoldingExecutor executor;
    Backing backing(executor);
    HangingCall call(executor, backing);
    Memory memory(4096);
    CHECK(backing.flights.slow());
    CHECK(executor.backings().abandoned_writes(kFile) == 0);
    auto beside = backing.begin(Kind::write, 4096, &memory, nullptr);  // which is first is nobody's to say
    REQUIRE(executor.held() == 1);
    executor.end(0, 4096);
    CHECK(*beside == 4096);

    call.cancel.request();
    CHECK(executor.backings().abandoned_writes(kFile) == 1);
    CHECK(executor.backings().abandoned_writes({2, 1, 8}) == 0);
    auto same = backing.begin(Kind::write, 4096, &memory, nullptr);
    auto other = backing.begin(Kind::write, 8192, &memory, nullptr);
    REQUIRE(executor.held() == 1);
    CHECK(executor.at(0).offset == 8192);
    executor.end(0, 4096);
    CHECK(*other == 4096);

    call.end();
    CHECK(executor.backings().abandoned_writes(kFile) == 0);
    REQUIRE(executor.held() == 1);
    executor.end(0, 4096);
    CHECK(*same == 4096);
}

TEST_CASE(
    "let go: who waits behind a write inline that was given up gets EIO, and who comes until it ended") {
    HoldingExecutor executor;
    executor.now = 2 * kSecond;
    Backing backing(executor);
    HangingCall call(executor, backing);
    Memory memory(4096);
    call.cancel.request();
    auto same = backing.begin(Kind::write, 4096, &memory, nullptr);
    CHECK(executor.held() == 0);
    backing.flights.let_go(kSecond);
    executor.go_on();
    CHECK(*same == -EIO);
    CHECK(*backing.begin(Kind::read, 0, &memory, nullptr) == -EIO);
    call.end();
    auto again = backing.begin(Kind::write, 4096, &memory, nullptr);
    REQUIRE(executor.held() == 1);
    executor.end(0, 4096);
    CHECK(*again == 4096);
}
