#include "engine/executor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/refused.h"
#include "engine/buffer.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct File {
    int fd = ::memfd_create("test", MFD_CLOEXEC);
    ~File() { ::close(fd); }
    std::string text(size_t bytes) const {
        std::string out(bytes, '?');
        ssize_t got = ::pread(fd, out.data(), bytes, 0);
        out.resize(got > 0 ? static_cast<size_t>(got) : 0);
        return out;
    }
};

Task<int64_t> operate(Executor* executor, Operation operation, std::thread::id* where = nullptr) {
    Wait wait(*executor, operation);
    int64_t result = co_await wait;
    if (where != nullptr) *where = std::this_thread::get_id();
    co_return result;
}

// Posts itself over and over.
struct Posted {
    Executor& executor;
    bool await_ready() const noexcept { return false; }
    [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) { executor.post(self); }
    void await_resume() const noexcept {}
};

Task<Status> post_often(Executor* executor, int rounds) {
    for (int i = 0; i < rounds; i++) {
        Posted posted{*executor};
        co_await posted;
    }
    co_return kOk;
}

Task<Status> note_order(Executor* executor, int64_t deadline, int who, std::mutex* mutex,
                        std::vector<int>* order) {
    Task<Status> sleeping = sleep_until(*executor, deadline);
    Status status = co_await sleeping;
    std::lock_guard guard(*mutex);
    order->push_back(executor->now_ns() >= deadline ? who : -1);
    co_return status;
}

Operation transfer(Operation::Kind kind, int fd, void* data, size_t bytes, uint64_t offset) {
    Operation operation;
    operation.kind = kind;
    operation.fd = fd;
    operation.data = static_cast<std::byte*>(data);
    operation.bytes = bytes;
    operation.offset = offset;
    return operation;
}

struct LateFree {
    explicit LateFree(std::atomic<bool>* where) : freed(where) {}
    ~LateFree() {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        *freed = true;
    }
    std::atomic<bool>* freed;
};

Task<Status> frees_late(Executor* executor, std::shared_ptr<LateFree>) {
    Posted posted{*executor};
    co_await posted;
    co_return kOk;
}

}  // namespace

TEST_CASE("each executor reads, writes, syncs and allocates") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        CHECK(executor->name() == name);
        File file;
        char out[] = "0123456789", in[16] = {};
        CHECK(run(*executor, operate(&*executor, transfer(Operation::Kind::write, file.fd, out, 10, 4))) ==
              10);
        CHECK(file.text(100) == std::string(4, '\0') + "0123456789");
        CHECK(run(*executor, operate(&*executor, transfer(Operation::Kind::read, file.fd, in, 4, 6))) == 4);
        CHECK(std::string(in) == "2345");
        CHECK(run(*executor, operate(&*executor, transfer(Operation::Kind::read, file.fd, in, 16, 10))) == 4);
        CHECK(run(*executor, operate(&*executor, transfer(Operation::Kind::read, file.fd, in, 16, 100))) ==
              0);
        Operation operation = transfer(Operation::Kind::write, file.fd, out, 2, 0);
        operation.dsync = true;
        CHECK(run(*executor, operate(&*executor, operation)) == 2);
        CHECK(run(*executor, operate(&*executor, transfer(Operation::Kind::sync, file.fd, nullptr, 0, 0))) ==
              0);
        operation = transfer(Operation::Kind::fallocate, file.fd, nullptr, 4, 6);
        operation.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        CHECK(run(*executor, operate(&*executor, operation)) == 0);
        CHECK(file.text(100) == std::string("01\0\0"
                                            "01\0\0\0\0"
                                            "6789",
                                            14));
    }
}

TEST_CASE("each executor answers with a negative errno") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        char data[8];
        for (Operation::Kind kind : {Operation::Kind::read, Operation::Kind::write, Operation::Kind::sync,
                                     Operation::Kind::fallocate})
            CHECK(run(*executor, operate(&*executor, transfer(kind, -1, data, 8, 0))) == -EBADF);
    }
}

TEST_CASE("an operation never ends within its submission") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        std::thread::id where;
        run(*executor, operate(&*executor, transfer(Operation::Kind::sync, -1, nullptr, 0, 0), &where));
        CHECK(where != std::this_thread::get_id());
    }
}

TEST_CASE("sleepers wake in the order of their deadlines, never early") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        std::mutex mutex;
        std::vector<int> order;
        int64_t now = executor->now_ns();
        std::vector<Pending<Status>> sleeping;
        for (int who : {2, 0, 1})
            sleeping.push_back(
                begin(*executor, note_order(&*executor, now + (who + 1) * 30'000'000, who, &mutex, &order)));
        sleeping.push_back(begin(*executor, note_order(&*executor, now - 1, 3, &mutex, &order)));
        for (Pending<Status>& each : sleeping) CHECK(each.get() == kOk);
        CHECK(order == std::vector<int>{3, 0, 1, 2});
    }
}

TEST_CASE("many thousand coroutines may be posted at a time, from without and within") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        std::vector<Pending<Status>> posted;
        for (int i = 0; i < 6000; i++) posted.push_back(begin(*executor, post_often(&*executor, 10)));
        for (Pending<Status>& each : posted) REQUIRE(each.get() == kOk);
    }
}

TEST_CASE("many thousand reads may be under way at a time") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        File file;
        REQUIRE(::ftruncate(file.fd, 4096) == 0);
        std::vector<std::array<char, 8>> data(6000);
        std::vector<Pending<int64_t>> reading;
        for (auto& each : data)
            reading.push_back(begin(
                *executor, operate(&*executor, transfer(Operation::Kind::read, file.fd, each.data(), 8, 0))));
        for (Pending<int64_t>& each : reading) REQUIRE(each.get() == 8);
    }
}

TEST_CASE("a borrowed payload is copied before an operation is submitted") {
    Running executor;
    File file;
    char receive_buffer[] = "payload";
    Memory memory = Memory::borrow(receive_buffer, sizeof receive_buffer);
    auto pending =
        begin(*executor, operate(&*executor, transfer(Operation::Kind::sync, file.fd, nullptr, 0, 0)));
    memset(receive_buffer, 'x', sizeof receive_buffer);
    CHECK(strcmp(reinterpret_cast<char*>(memory.data()), "payload") == 0);
    CHECK(pending.get() == 0);
}

TEST_CASE("what is spawned is counted until everything of it is gone") {
    Running executor;
    for (int round = 0; round < 20; round++) {
        std::atomic<bool> freed{false};
        executor->spawn(frees_late(&*executor, std::make_shared<LateFree>(&freed)));
        REQUIRE(soon([&] { return executor->running() == 0; }));
        REQUIRE(freed);
    }
}

TEST_CASE("turns to block inline are handed out up to their number, and come back") {
    Running executor;
    {
        InlineTurn none(*executor);
        CHECK_FALSE(none);
    }
    executor->allow_inline(2);
    for (int round = 0; round < 3; round++) {
        InlineTurn one(*executor), two(*executor), three(*executor);
        CHECK(one);
        CHECK(two);
        CHECK_FALSE(three);
    }
}

TEST_CASE("an executor's own thread gets no turn to block") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        executor->allow_inline(8);
        struct Look {
            static Task<bool> look(Executor* executor) {
                Posted posted{*executor};
                co_await posted;
                InlineTurn turn(*executor);
                co_return static_cast<bool>(turn);
            }
        };
        CHECK_FALSE(run(*executor, Look::look(&*executor)));
    }
}

TEST_CASE("an executor that does not exist is refused with those that do") {
    try {
        make_executor("fibres");
        FAIL("made");
    } catch (const Refused& refused) {
        CHECK(refused.error() == EINVAL);
        CHECK(refused.detail().find("threads") != std::string::npos);
    }
}
