// Requests that wait, and how all of them are ended. libfuse is the real one; the test is its kernel.

#include "fs/request.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;
using fs::Request;
using fs::WaitingRequests;

namespace {

class Kernel {
  public:
    Kernel() {
        char name[] = "test";
        char* words[] = {name, nullptr};
        fuse_args arguments = FUSE_ARGS_INIT(1, words);
        fuse_lowlevel_ops operations{};
        operations.read = [](fuse_req_t request, fuse_ino_t, size_t, off_t, fuse_file_info*) {
            static_cast<Kernel*>(fuse_req_userdata(request))->taken_ = request;
        };
        session_ = fuse_session_new(&arguments, &operations, sizeof operations, this);
        fuse_opt_free_args(&arguments);
        REQUIRE(session_ != nullptr);
        fuse_custom_io io{};
        io.read = [](int, void*, size_t, void*) -> ssize_t { return -1; };
        io.writev = [](int, iovec* parts, int count, void* self) {
            return static_cast<Kernel*>(self)->answered(parts, count);
        };
        REQUIRE(fuse_session_custom_io(session_, &io, ::open("/dev/null", O_RDWR | O_CLOEXEC)) == 0);
        fuse_init_in init{};
        init.major = FUSE_KERNEL_VERSION;
        init.minor = FUSE_KERNEL_MINOR_VERSION;
        send(FUSE_INIT, 1, &init, sizeof init);
    }
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;
    ~Kernel() { fuse_session_destroy(session_); }

    // A read of this process, with this number.
    fuse_req_t read(uint64_t unique) {
        fuse_read_in read{};
        read.size = 4096;
        send(FUSE_READ, unique, &read, sizeof read);
        return taken_;
    }
    // Its answers; errnos.
    std::vector<int> answers(uint64_t unique) {
        std::lock_guard guard(mutex_);
        return answers_[unique];
    }

  private:
    void send(uint32_t opcode, uint64_t unique, const void* body, size_t bytes) {
        fuse_in_header header{};
        header.opcode = opcode;
        header.unique = unique;
        header.nodeid = FUSE_ROOT_ID;
        header.uid = ::getuid();
        header.pid = static_cast<uint32_t>(::getpid());
        header.len = static_cast<uint32_t>(sizeof header + bytes);
        std::vector<char> message(header.len);
        memcpy(message.data(), &header, sizeof header);
        memcpy(message.data() + sizeof header, body, bytes);
        fuse_buf buffer{};
        buffer.mem = message.data();
        buffer.size = message.size();
        fuse_session_process_buf(session_, &buffer);
    }
    ssize_t answered(const iovec* parts, int count) {
        const auto& header = *static_cast<const fuse_out_header*>(parts[0].iov_base);
        std::lock_guard guard(mutex_);
        answers_[header.unique].push_back(-header.error);
        ssize_t bytes = 0;
        for (int i = 0; i < count; i++) bytes += static_cast<ssize_t>(parts[i].iov_len);
        return bytes;
    }

    fuse_session* session_ = nullptr;
    fuse_req_t taken_ = nullptr;
    std::mutex mutex_;
    std::map<uint64_t, std::vector<int>> answers_;
};

struct World {
    // It waits until `open`.
    static Task<Status> serve(World* world, fuse_req_t fuse_request) {
        Request request(fuse_request, &world->waiting);
        std::function<bool()> must_wait = [world] { return !world->open; };
        Status status = co_await world->queue.wait(must_wait, &request);
        request.reply(status);
        co_return status;
    }
    void begin(uint64_t unique) { executor->spawn(serve(this, kernel.read(unique))); }
    bool ended(uint64_t unique, int error) {
        return soon([&] { return !kernel.answers(unique).empty(); }) &&
               kernel.answers(unique) == std::vector<int>{error};
    }
    void let_all_go() {
        queue.wake_all(kOk, [this] { open = true; });
        CHECK(soon([&] { return executor->running() == 0; }));
    }

    Running executor;
    WaitQueue queue{*executor};
    Kernel kernel;
    WaitingRequests waiting{0};
    std::atomic<bool> open{false};
};

}  // namespace

TEST_CASE("all requests that wait are ended with EIO, and none that comes later") {
    World world;
    for (uint64_t unique : {2, 3, 4}) world.begin(unique);
    CHECK(world.queue.size() == 3);
    world.waiting.end_all();
    for (uint64_t unique : {2, 3, 4}) CHECK(world.ended(unique, EIO));
    world.begin(5);
    a_moment();
    CHECK(world.kernel.answers(5).empty());
    world.let_all_go();
    CHECK(world.ended(5, 0));
    CHECK(world.kernel.answers(2).size() == 1);
}

TEST_CASE("a request whose thread hangs is answered when all are ended, and once") {
    World world;
    auto request = std::make_unique<Request>(world.kernel.read(2), &world.waiting);
    request->stuck();
    CHECK(world.kernel.answers(2).empty());
    world.waiting.end_all();
    CHECK(world.kernel.answers(2) == std::vector<int>{EIO});
    world.waiting.end_all();
    request->reply(kOk);
    CHECK(world.kernel.answers(2) == std::vector<int>{EIO});
    request.reset();
    world.waiting.end_all();  // of nobody
}

TEST_CASE("a request with two calls that hang is answered as long as one of them does") {
    World world;
    auto request = std::make_unique<Request>(world.kernel.read(2), &world.waiting);
    request->stuck();
    request->stuck();
    request->came_back();
    world.waiting.end_all();
    CHECK(world.kernel.answers(2) == std::vector<int>{EIO});
    request->reply(Status(EINTR));
}

TEST_CASE("a request whose call has come back goes on, and answers itself when it is ended") {
    World world;
    auto request = std::make_unique<Request>(world.kernel.read(2), &world.waiting);
    request->stuck();
    request->came_back();
    world.waiting.end_all();
    CHECK(world.kernel.answers(2).empty());
    request->reply(Status(EINTR));
    CHECK(world.kernel.answers(2) == std::vector<int>{EIO});
}
