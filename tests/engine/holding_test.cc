#include "engine/holding.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "engine/file_device.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct Store {
    Store() {
        char name[] = "/tmp/dmfs-holding-XXXXXX";
        int fd = ::mkstemp(name);
        path = name;
        REQUIRE(::ftruncate(fd, 1 << 20) == 0);
        ::close(fd);
    }
    ~Store() { std::filesystem::remove(path); }
    std::shared_ptr<FileDevice> open(bool writable = true) const {
        return FileDevice::open(*executor, path, {writable, false});
    }
    // 0, or what another process gets that wants it.
    int other_gets() const {
        pid_t child = ::fork();
        if (child == 0) {
            int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
            _exit(::flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    }

    std::string path;
    Running executor;
};

// Another process that has a file locked, until this goes.
struct Other {
    explicit Other(const std::string& path) {
        int ready[2];
        REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
        id = ::fork();
        if (id == 0) {
            int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
            char word = ::flock(fd, LOCK_EX) == 0 ? 'y' : 'n';
            if (::write(ready[1], &word, 1) == 1) ::pause();
            _exit(1);
        }
        char word = 0;
        REQUIRE(::read(ready[0], &word, 1) == 1);
        CHECK(word == 'y');
        ::close(ready[0]);
        ::close(ready[1]);
    }
    ~Other() {
        ::kill(id, SIGKILL);
        ::waitpid(id, nullptr, 0);
    }
    pid_t id = 0;
};

}  // namespace

TEST_CASE("a store is this process's own as long as one of its devices is open") {
    Store store;
    std::shared_ptr<FileDevice> one = store.open(), two = store.open(), reader = store.open(false);
    CHECK(store.other_gets() == 0);
    one->hold();
    two->hold();
    reader->hold();
    CHECK(store.other_gets() == EWOULDBLOCK);
    one.reset();
    two.reset();
    CHECK(store.other_gets() == EWOULDBLOCK);
    reader.reset();
    CHECK(store.other_gets() == 0);
}

TEST_CASE("a store of another process is refused, and who has it is named") {
    Store store;
    std::shared_ptr<FileDevice> device = store.open();
    {
        Other other(store.path);
        try {
            device->hold();
            FAIL("not refused");
        } catch (const Refused& refused) {
            CHECK(refused.error() == EBUSY);
            CHECK(refused.reason().find("process " + std::to_string(other.id)) != std::string::npos);
        }
    }
    device->hold();  // it is gone
    CHECK(store.other_gets() == EWOULDBLOCK);
}
