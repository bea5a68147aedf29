#include "engine/file_device.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/log.h"
#include "base/refused.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

class Folder {
  public:
    Folder() {
        const char* parent = getenv("TMPDIR");
        std::string pattern = std::string(parent != nullptr ? parent : "/tmp") + "/dmfs-test-XXXXXX";
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
        log_to_stderr(false);
    }
    ~Folder() {
        log_to_stderr(true);
        std::filesystem::remove_all(path_);
    }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    std::string file(const std::string& name, uint64_t bytes) const {
        std::string path = *this / name;
        int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        REQUIRE(fd >= 0);
        REQUIRE(::ftruncate(fd, static_cast<off_t>(bytes)) == 0);
        ::close(fd);
        return path;
    }

  private:
    std::string path_;
};

// Every way in which a request may reach the file: inline, nowait, executor.
struct Way {
    Running executor;
    std::string name;
};

std::vector<Way> ways() {
    std::vector<Way> ways;
    for (const std::string& name : executor_names())
        for (int turns : {0, 4}) {
            ways.push_back({Running(make_executor(name)), name + (turns > 0 ? ", inline" : "")});
            ways.back().executor->allow_inline(turns);
        }
    return ways;
}

Status write(Executor& executor, Device& device, Sector at, Sector count, uint64_t tag, bool fua = false) {
    Memory memory(bytes_of(count));
    for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), tag, at + s);
    Bio bio = bio_of(Op::write, at, count, &memory);
    bio.fua = fua;
    return run(executor, device.io(bio));
}

// Which tag each sector bears: 0 for zeros, -1 for anything else.
std::vector<int> tags(Executor& executor, Device& device, Sector at, Sector count) {
    Memory memory(bytes_of(count));
    memset(memory.data(), 0xee, memory.bytes());
    REQUIRE(run(executor, device.io(bio_of(Op::read, at, count, &memory))) == kOk);
    std::vector<int> tags;
    for (Sector s = 0; s < count; s++) {
        const std::byte* sector = memory.data() + bytes_of(s);
        int tag = all_zero(sector, kSectorBytes) ? 0 : -1;
        for (int t = 1; t < 9 && tag == -1; t++)
            if (stamped(sector, static_cast<uint64_t>(t), at + s)) tag = t;
        tags.push_back(tag);
    }
    return tags;
}

int refused_error(const std::function<void()>& act) {
    try {
        act();
    } catch (const Refused& refused) {
        return refused.error();
    }
    return 0;
}

}  // namespace

TEST_CASE("a file serves reads and writes at their sectors, and nothing around them") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        auto device = FileDevice::open(*way.executor, folder.file("a", 1 << 20), {});
        CHECK(device->size() == 2048);
        CHECK(write(*way.executor, *device, 10, 5, 1) == kOk);
        CHECK(write(*way.executor, *device, 12, 2, 2, true) == kOk);
        CHECK(tags(*way.executor, *device, 9, 7) == std::vector<int>{0, 1, 1, 2, 2, 1, 0});
        CHECK(write(*way.executor, *device, 2047, 1, 3) == kOk);
        CHECK(tags(*way.executor, *device, 2046, 2) == std::vector<int>{0, 3});
        CHECK(run(*way.executor, device->io(Bio::flush())) == kOk);
        CHECK(device->size() == 2048);
    }
}

TEST_CASE("a transfer begins at its offset in the memory") {
    for (Way& way : ways()) {
        INFO(way.name);
        auto device = FileDevice::ram(*way.executor, 1 << 20, "ram:1M");
        Memory memory(bytes_of(4));
        for (Sector s = 0; s < 4; s++) stamp(memory.data() + bytes_of(s), 5, s);
        Bio bio = bio_of(Op::write, 1, 2, &memory);
        bio.offset = bytes_of(1);
        CHECK(run(*way.executor, device->io(bio)) == kOk);
        CHECK(tags(*way.executor, *device, 0, 4) == std::vector<int>{0, 5, 5, 0});
    }
}

TEST_CASE("a megabyte is transferred whole") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        auto device = FileDevice::open(*way.executor, folder.file("a", 4 << 20), {});
        CHECK(write(*way.executor, *device, 8, 4096, 4) == kOk);
        CHECK(tags(*way.executor, *device, 8, 4096) == std::vector<int>(4096, 4));
    }
}

TEST_CASE("many requests may wait for one file") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        Folder folder;
        auto device = FileDevice::open(*executor, folder.file("a", 1 << 20), {});
        std::vector<std::unique_ptr<Memory>> memories;
        std::vector<Pending<Status>> writing;
        for (Sector s = 0; s < 2048; s++) {
            memories.push_back(std::make_unique<Memory>(kSectorBytes));
            stamp(memories.back()->data(), 6, s);
            Bio bio = bio_of(Op::write, s, 1, memories.back().get());
            bio.fua = s % 64 == 0;
            writing.push_back(begin(*executor, device->io(bio)));
        }
        for (Pending<Status>& each : writing) REQUIRE(each.get() == kOk);
        CHECK(tags(*executor, *device, 0, 2048) == std::vector<int>(2048, 6));
    }
}

TEST_CASE("of a request that was killed nothing is begun any more") {
    Cancel cancel;
    cancel.request();
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        auto device = FileDevice::open(*way.executor, folder.file("a", 1 << 20), {});
        CHECK(write(*way.executor, *device, 8, 2, 1) == kOk);
        Memory memory(bytes_of(2));
        for (Op op : {Op::write, Op::discard, Op::write_zeroes})
            CHECK(run(*way.executor, device->io(bio_of(op, 8, 2, &memory, &cancel))) == Status(EINTR));
        CHECK(tags(*way.executor, *device, 8, 2) == std::vector<int>{1, 1});
    }
}

TEST_CASE("memory is a device of zeros") {
    Running executor;
    auto device = FileDevice::ram(*executor, 64 * 512, "ram:32K");
    CHECK(device->size() == 64);
    CHECK(device->name() == "ram:32K");
    CHECK_FALSE(device->number());
    CHECK(tags(*executor, *device, 0, 64) == std::vector<int>(64, 0));
    CHECK(write(*executor, *device, 63, 1, 1) == kOk);
    CHECK(tags(*executor, *device, 62, 2) == std::vector<int>{0, 1});
}

TEST_CASE("what was discarded reads as zeros") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        for (bool ram : {false, true}) {
            auto device = ram ? FileDevice::ram(*way.executor, 1 << 20, "ram:1M")
                              : FileDevice::open(*way.executor, folder.file("a", 1 << 20), {});
            CHECK(write(*way.executor, *device, 0, 64, 1) == kOk);
            CHECK(run(*way.executor, device->io(bio_of(Op::discard, 3, 40))) == kOk);
            std::vector<int> wanted(64, 1);
            std::fill(wanted.begin() + 3, wanted.begin() + 43, 0);
            CHECK(tags(*way.executor, *device, 0, 64) == wanted);
            CHECK(device->limits().discard());
        }
    }
}

TEST_CASE("zeroes are written where asked, and nowhere else") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        for (bool ram : {false, true}) {
            auto device = ram ? FileDevice::ram(*way.executor, 4 << 20, "ram:4M")
                              : FileDevice::open(*way.executor, folder.file("b", 4 << 20), {});
            CHECK(write(*way.executor, *device, 0, 8192, 1) == kOk);
            CHECK(run(*way.executor, device->io(bio_of(Op::write_zeroes, 5, 8000))) == kOk);
            std::vector<int> wanted(8192, 1);
            std::fill(wanted.begin() + 5, wanted.begin() + 8005, 0);
            CHECK(tags(*way.executor, *device, 0, 8192) == wanted);
        }
    }
}

TEST_CASE("a file that was cut below its table gives an error, not zeros") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        std::string path = folder.file("a", 1 << 20);
        auto device = FileDevice::open(*way.executor, path, {});
        CHECK(write(*way.executor, *device, 0, 64, 1) == kOk);
        REQUIRE(::truncate(path.c_str(), 10 * 512 + 100) == 0);
        Memory memory(bytes_of(8));
        CHECK(run(*way.executor, device->io(bio_of(Op::read, 2, 8, &memory))) == kOk);
        CHECK(run(*way.executor, device->io(bio_of(Op::read, 3, 8, &memory))) == Status(EIO));
        CHECK(run(*way.executor, device->io(bio_of(Op::read, 10, 1, &memory))) == Status(EIO));
        CHECK(run(*way.executor, device->io(bio_of(Op::read, 100, 8, &memory))) == Status(EIO));
        CHECK(device->size() == 10);
    }
}

TEST_CASE("a request beyond the end fails and does not make the file longer, until it is longer") {
    Folder folder;
    for (Way& way : ways()) {
        std::string path = folder.file("a", bytes_of(16));
        auto device = FileDevice::open(*way.executor, path, {});
        Memory memory(bytes_of(8));
        memset(memory.data(), 'x', memory.bytes());
        for (Op op : {Op::read, Op::write, Op::discard, Op::write_zeroes})
            CHECK(run(*way.executor, device->io(bio_of(op, 12, 8, &memory))) == Status(EIO));
        CHECK(std::filesystem::file_size(path) == bytes_of(16));
        CHECK(run(*way.executor, device->io(bio_of(Op::write, 8, 8, &memory))) == kOk);
        std::filesystem::resize_file(path, bytes_of(32));
        CHECK(run(*way.executor, device->io(bio_of(Op::write, 12, 8, &memory))) == kOk);
        CHECK(run(*way.executor, device->io(Bio::flush())) == kOk);
    }
}

TEST_CASE("a write through a read-only file fails") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        auto device = FileDevice::open(*way.executor, folder.file("a", 1 << 20), {.writable = false});
        CHECK(write(*way.executor, *device, 0, 1, 1) == Status(EBADF));
        CHECK(tags(*way.executor, *device, 0, 1) == std::vector<int>{0});
    }
}

TEST_CASE("extents follow the holes of a file") {
    Running executor;
    Folder folder;
    auto device = FileDevice::open(*executor, folder.file("a", 1 << 20), {});
    Extent hole = extent_of(*device, 0);
    if (hole.data) return;  // this file system has no holes to show
    CHECK(hole.end == 2048);
    CHECK(write(*executor, *device, 128, 64, 1) == kOk);
    hole = extent_of(*device, 0);
    CHECK_FALSE(hole.data);
    CHECK(hole.end == 128);
    hole = extent_of(*device, 100);
    CHECK_FALSE(hole.data);
    CHECK(hole.end == 128);
    Extent data = extent_of(*device, 130);
    CHECK(data.data);
    CHECK(data.end == 192);
    hole = extent_of(*device, 192);
    CHECK_FALSE(hole.data);
    CHECK(hole.end == 2048);
    for (Sector at = 0; at < 2048;) {
        Extent run = extent_of(*device, at);
        REQUIRE(run.end > at);
        at = run.end;
    }
}

TEST_CASE("a tail of less than a sector is not part of the device") {
    Running executor;
    Folder folder;
    auto device = FileDevice::open(*executor, folder.file("a", 1000), {});
    CHECK(device->size() == 1);
    CHECK(FileDevice::open(*executor, folder.file("b", 511), {})->size() == 0);
}

TEST_CASE("what is neither a file nor a block device is refused with ENOTBLK") {
    Running executor;
    Folder folder;
    REQUIRE(::mkdir((folder / "folder").c_str(), 0700) == 0);
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, (folder / "socket").c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ::close(listening);
    for (std::string path : {folder / "folder", folder / "fifo", folder / "socket", std::string("/dev/null")})
        for (bool writable : {true, false}) {
            INFO(path << (writable ? ", writable" : ", read-only"));
            CHECK(refused_error([&] { FileDevice::open(*executor, path, {.writable = writable}); }) ==
                  ENOTBLK);
        }
}

TEST_CASE("a file that cannot be opened is refused with the errno of open") {
    Running executor;
    Folder folder;
    CHECK(refused_error([&] { FileDevice::open(*executor, folder / "missing", {}); }) == ENOENT);
    CHECK(refused_error([&] { FileDevice::open(*executor, folder.file("a", 512) + "/b", {}); }) == ENOTDIR);
    REQUIRE(::symlink("loop", (folder / "loop").c_str()) == 0);
    CHECK(refused_error([&] { FileDevice::open(*executor, folder / "loop", {}); }) == ELOOP);
    if (::geteuid() != 0) {
        std::string path = folder.file("b", 512);
        REQUIRE(::chmod(path.c_str(), 0400) == 0);
        CHECK(refused_error([&] { FileDevice::open(*executor, path, {}); }) == EACCES);
        CHECK(FileDevice::open(*executor, path, {.writable = false})->size() == 1);
    }
}

TEST_CASE("an open file does not answer EAGAIN: its reads may wait") {
    Running executor;
    Folder folder;
    std::string path = folder.file("a", 4096);
    auto device = FileDevice::open(*executor, path, {});
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code error;
        if (std::filesystem::read_symlink(entry.path(), error) != path) continue;
        int fd = std::stoi(entry.path().filename());
        CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    }
}

TEST_CASE("direct files transfer whole blocks, also from memory that was borrowed") {
    for (Way& way : ways()) {
        INFO(way.name);
        Folder folder;
        std::string path = folder.file("a", 1 << 20);
        std::shared_ptr<FileDevice> device;
        try {
            device = FileDevice::open(*way.executor, path, {.direct = true});
        } catch (const Refused& refused) {
            CHECK(refused.error() == EINVAL);
            return;  // no O_DIRECT on this file system
        }
        Sector block = device->limits().logical_block / kSectorBytes;
        std::vector<char> receive_buffer(80 + bytes_of(block), 'p');
        {
            Memory memory = Memory::borrow(receive_buffer.data() + 80, bytes_of(block));
            CHECK(run(*way.executor, device->io(bio_of(Op::write, block, block, &memory))) == kOk);
        }
        Memory memory(bytes_of(2 * block));
        CHECK(run(*way.executor, device->io(bio_of(Op::read, 0, 2 * block, &memory))) == kOk);
        CHECK(all_zero(memory.data(), bytes_of(block)));
        CHECK(memory.data()[bytes_of(block)] == std::byte{'p'});
        CHECK(memory.data()[bytes_of(2 * block) - 1] == std::byte{'p'});
    }
}
