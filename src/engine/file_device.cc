#include "engine/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "base/log.h"
#include "base/refused.h"
#include "engine/backings.h"
#include "engine/errand.h"
#include "engine/holding.h"
#include "engine/look.h"

namespace dmfs {

namespace {

constexpr uint64_t kZeroPiece = 1 << 20;  // bytes written at a time where nothing zeroes a range
constexpr std::chrono::seconds kClosePatience{1};

// Whether a server is asked for what is in this file (linux/magic.h, and the file systems' own).
bool is_remote(int fd) {
    struct statfs found;
    if (::fstatfs(fd, &found) != 0) return false;
    switch (static_cast<uint32_t>(found.f_type)) {
        case 0x65735546:  // FUSE
        case 0x6969:      // NFS
        case 0x517b:      // SMB
        case 0xfe534d42:  // SMB2
        case 0xff534d42:  // CIFS
        case 0x01021997:  // 9P
        case 0x00c36400:  // Ceph
        case 0x5346414f:  // AFS
        case 0x73757245:  // Coda
        case 0x0bd00bd0:  // Lustre
        case 0x47504653:  // GPFS
            return true;
        default:
            return false;
    }
}

// What close(2) has to wait for is waited for elsewhere, and not for long: a server may be gone.
struct Closing {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
};

Task<Status> close_on_thread(Executor* executor, int fd, std::shared_ptr<Holding> holding,
                             std::shared_ptr<Closing> closing) {
    Blocking::Enter enter = executor->operating().enter();
    co_await enter;
    ::close(fd);
    holding.reset();  // its close may be the last
    {
        std::lock_guard guard(closing->mutex);
        closing->done = true;
    }
    closing->changed.notify_all();
    co_return kOk;
}

void close_patiently(Executor& executor, int fd, std::shared_ptr<Holding> holding) {
    auto closing = std::make_shared<Closing>();
    executor.spawn(close_on_thread(&executor, fd, std::move(holding), closing));
    std::unique_lock lock(closing->mutex);
    closing->changed.wait_for(lock, kClosePatience, [&] { return closing->done; });
}

}  // namespace

std::shared_ptr<FileDevice> FileDevice::open(Executor& executor, const std::string& path, Options options,
                                             const std::string& through) {
    int flags = O_CLOEXEC | (options.writable ? O_RDWR : O_RDONLY) | (options.direct ? O_DIRECT : 0);
    // O_NONBLOCK: a fifo, refused below, would wait for its other end.
    int fd = ::open(through.c_str(), flags | O_NONBLOCK);
    if (fd >= 0) {
        ::fcntl(fd, F_SETFL, flags);  // requests shall wait, not get EAGAIN
        return adopt(executor, fd, path, options);
    }
    int error = errno;
    struct stat found;
    if (::stat(through.c_str(), &found) == 0 && !S_ISREG(found.st_mode) && !S_ISBLK(found.st_mode))
        throw Refused(ENOTBLK, path + " is neither a file nor a block device");
    switch (error) {
        case EISDIR:
            throw Refused(ENOTBLK, path + " is a directory", "a file or a block device");
        case ENXIO:
            throw Refused(ENXIO, path + " has no device behind it");
        case EINVAL:
            if (options.direct)
                throw Refused(EINVAL, path + " can't be opened with O_DIRECT",
                              "mount with -o backing=cached");
            break;
        case EACCES:
        case EROFS:
        case EPERM:
            if (options.writable && ::access(through.c_str(), R_OK) == 0)
                throw Refused(error, path + " can't be written",
                              "a read-only table (load --readonly) needs no more");
            break;
        default:
            break;
    }
    throw Refused(error, "can't open " + path);
}

std::shared_ptr<FileDevice> FileDevice::adopt(Executor& executor, int fd, std::string name, Options options) {
    std::shared_ptr<FileDevice> device(new FileDevice(executor, fd, std::move(name), options));
    struct stat found;
    if (::fstat(fd, &found) != 0) throw Refused(errno, "can't stat " + device->name_);
    device->filesystem_ = found.st_dev;
    device->inode_ = found.st_ino;
    if (S_ISBLK(found.st_mode))
        device->number_ = DeviceNumber{major(found.st_rdev), minor(found.st_rdev)};
    else if (!S_ISREG(found.st_mode))
        throw Refused(ENOTBLK, device->name_ + " is neither a file nor a block device");
    if (size_t late = executor.backings().abandoned_writes(device->identity()); late > 0)
        throw Refused(EBUSY,
                      std::to_string(late) + (late == 1 ? " write" : " writes") + " to " + device->name_ +
                          " that nobody waits for any more may still land, on what would be newer",
                      "when it answers again; or in another mount, if they are of no account");
    device->size();  // while it may be asked: this thread has just opened it
    device->flights_.settle(device->identity(), is_remote(fd));
    device->learn_limits();
    return device;
}

std::shared_ptr<FileDevice> FileDevice::ram(Executor& executor, uint64_t bytes, std::string name) {
    int fd = ::memfd_create("dmfs", MFD_CLOEXEC);
    if (fd < 0) throw Refused(errno, "no memory for " + name);
    auto device = adopt(executor, fd, std::move(name), Options{});
    if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0)
        throw Refused(errno, "no memory for " + device->name_);
    return device;
}

FileDevice::FileDevice(Executor& executor, int fd, std::string name, Options options)
    : executor_(executor),
      fd_(fd),
      name_(std::move(name)),
      direct_(options.direct),
      space_(options.space),
      flights_(executor, name_, [this] { return shared_from_this(); }) {}

// The last close of a block device writes what the page cache has of it.
FileDevice::~FileDevice() {
    if ((flights_.slow() || number_) && !Blocking::is_inside())
        close_patiently(executor_, fd_, std::move(holding_));
    else
        ::close(fd_);
}

void FileDevice::hold() {
    if (!holding_) holding_ = Holding::of(fd_, identity(), name_, number_.has_value());
}

void FileDevice::learn_limits() {
    limits_.write_cache = true;
    limits_.fua = true;
    limits_.discard_granularity = 4096;
    if (number_) {
        int logical = 512;
        unsigned physical = 512, minimum = 512, optimal = 0;
        if (::ioctl(fd_, BLKSSZGET, &logical) == 0) limits_.logical_block = static_cast<uint32_t>(logical);
        if (::ioctl(fd_, BLKPBSZGET, &physical) == 0) limits_.physical_block = physical;
        if (::ioctl(fd_, BLKIOMIN, &minimum) == 0) limits_.io_min = minimum;
        if (::ioctl(fd_, BLKIOOPT, &optimal) == 0) limits_.io_opt = optimal;
        return;
    }
    if (!direct_) return;
    // What O_DIRECT on this file has to be aligned to.
    limits_.logical_block = 4096;
#ifdef STATX_DIOALIGN
    struct statx found;
    if (::statx(fd_, "", AT_EMPTY_PATH, STATX_DIOALIGN, &found) == 0 &&
        (found.stx_mask & STATX_DIOALIGN) != 0 && found.stx_dio_offset_align != 0)
        limits_.logical_block = std::max<uint32_t>(512, found.stx_dio_offset_align);
#endif
    limits_.physical_block = limits_.io_min = limits_.logical_block;
}

Sector FileDevice::size() const {
    struct stat found;
    if (!may_ask()) return seen_size();
    uint64_t bytes = 0;
    if (number_ ? ::ioctl(fd_, BLKGETSIZE64, &bytes) != 0 : ::fstat(fd_, &found) != 0) return 0;
    Sector now = sectors_in(number_ ? bytes : static_cast<uint64_t>(found.st_size));
    size_seen_.store(now, std::memory_order_relaxed);
    return now;
}

Identity FileDevice::identity() const {
    constexpr uint64_t kBlockDevice = 1, kInode = 2;
    if (number_) return {kBlockDevice, number_->major, number_->minor};
    return {kInode, filesystem_, inode_};
}

Extent FileDevice::extent(Sector at, Look& look) {
    Sector end = size();
    if (number_ || at >= end || !may_ask() || !look.step()) return {true, std::max(end, at + 1)};
    off_t from = static_cast<off_t>(bytes_of(at));
    off_t data = ::lseek(fd_, from, SEEK_DATA);
    if (data < 0) return errno == ENXIO ? Extent{false, end} : Extent{true, end};
    // A hole that ends within this sector is none.
    if (sectors_in(static_cast<uint64_t>(data)) > at) return {false, sectors_in(static_cast<uint64_t>(data))};
    off_t hole = ::lseek(fd_, from, SEEK_HOLE);
    if (hole < 0) return {true, end};
    return {true, std::clamp(sectors_in(static_cast<uint64_t>(hole) + kSectorBytes - 1), at + 1, end)};
}

Sector FileDevice::allocated(Sector start, Sector length, Look& look) {
    struct stat found;
    if (number_ || !may_ask() || !look.step() || ::fstat(fd_, &found) != 0) return length;
    Sector sectors = sectors_in(static_cast<uint64_t>(found.st_size));
    if (start > sectors || length > sectors - start) return length;  // it became shorter
    if (found.st_blocks == 0 || length == 0) return 0;
    double share = static_cast<double>(found.st_blocks) / static_cast<double>(sectors);
    if (share >= 1) return length;
    return std::max<Sector>(static_cast<Sector>(static_cast<double>(length) * share), 1);
}

// Not a request: that there is no room is nothing to log yet.
Task<Status> FileDevice::reserve(Sector start, Sector length) {
    if (number_) co_return Status(EOPNOTSUPP);
    Bio range;
    range.sector = start;
    range.count = length;
    Operation operation = fallocation(0, range);
    int64_t result = 0;
    do {
        Task<int64_t> reserving = flights_.make(operation, nullptr, nullptr);
        result = co_await reserving;
    } while (result == -EINTR || result == -EAGAIN);
    const int error = result < 0 ? static_cast<int>(-result) : 0;
    co_return Status(error == ENOSPC && may_ask() && fills_filesystem(length) ? EFBIG : error);
}

// Whether the file with so much more would not fit into its file system, were it alone there.
bool FileDevice::fills_filesystem(Sector more) const {
    struct stat found;
    struct statvfs whole;
    if (::fstat(fd_, &found) != 0 || ::fstatvfs(fd_, &whole) != 0) return false;
    return static_cast<Sector>(found.st_blocks) + more > sectors_in(whole.f_blocks * whole.f_frsize);
}

Status FileDevice::failed(const Bio& bio, int error) const {
    log_line(Severity::error, std::string(name_of(bio.op)) + " of " + std::to_string(bio.count) +
                                  " sectors at " + std::to_string(bio.sector) + " of " + name_ + ": " +
                                  strerror(error));
    return Status(error);
}

// A file may have grown.
bool FileDevice::beyond(const Bio& bio) { return bio.end() > seen_size() && bio.end() > size(); }

// A request that was killed begins nothing more: where a call of it hung its client has had the answer,
// and what others wrote since then is newer.
Task<Status> FileDevice::io(Bio bio) {
    if (is_cancelled(bio.cancel)) return Task<Status>::ready(Status(EINTR));
    if (bio.op != Op::flush && beyond(bio)) {
        if (!may_ask()) return look_and_go_on(bio);
        return Task<Status>::ready(failed(bio, EIO));
    }
    return go_on(bio);
}

Task<Status> FileDevice::look_and_go_on(Bio bio) {
    std::shared_ptr<FileDevice> self = shared_from_this();
    Task<Status> looking = until_killed(executor_, look(self), bio.cancel);
    Status status = co_await looking;
    if (!status) co_return status;
    if (bio.end() > seen_size()) co_return failed(bio, EIO);
    Task<Status> going_on = go_on(bio);
    status = co_await going_on;
    co_return status;
}

Task<Status> FileDevice::look(std::shared_ptr<FileDevice> self) {
    Blocking::Enter enter = self->executor_.operating().enter();
    co_await enter;
    self->size();
    co_return kOk;
}

Task<Status> FileDevice::go_on(Bio bio) {
    switch (bio.op) {
        case Op::read:
        case Op::write:
            return transfer(bio);
        case Op::flush:
            return operate(operation(Operation::Kind::sync, bio), bio);
        case Op::discard:
            return operate(fallocation(FALLOC_FL_PUNCH_HOLE, bio), bio);
        case Op::write_zeroes:
            return write_zeroes(bio);
    }
    return Task<Status>::ready(Status(EOPNOTSUPP));
}

Operation FileDevice::operation(Operation::Kind kind, const Bio& bio) const {
    Operation operation;
    operation.kind = kind;
    operation.fd = fd_;
    operation.bytes = bio.bytes();
    operation.offset = bytes_of(bio.sector);
    return operation;
}

Operation FileDevice::fallocation(int mode, const Bio& bio) const {
    Operation operation = this->operation(Operation::Kind::fallocate, bio);
    operation.mode = mode | FALLOC_FL_KEEP_SIZE;
    if (number_ && holding_) operation.fd = holding_->fd();
    return operation;
}

Operation FileDevice::transfer_operation(const Bio& bio) const {
    Operation operation =
        this->operation(bio.op == Op::read ? Operation::Kind::read : Operation::Kind::write, bio);
    operation.dsync = bio.fua;
    operation.data = bio.data();
    return operation;
}

Task<Status> FileDevice::transfer(Bio bio) {
    if (direct_) Memory::settle_borrowed();  // O_DIRECT wants aligned memory
    // Pieces of one request that wait for a disk should wait side by side.
    bool inline_ok = !(direct_ && bio.one_of_many);
    if (flights_.slow()) return transfer_rest(bio, 0);
    const Operation whole = transfer_operation(bio);
    if (std::optional<int64_t> done = inline_ok ? call_here(whole, bio.cancel) : std::nullopt) {
        if (*done == static_cast<int64_t>(bio.bytes())) return Task<Status>::ready(kOk);
        if (*done >= 0) return transfer_rest(bio, static_cast<size_t>(*done));
        return Task<Status>::ready(
            failed(bio, static_cast<int>(-flights_.tell(whole, *done, is_cancelled(bio.cancel)))));
    }
    bool writes = bio.op == Op::write;
    if (!direct_ && !bio.fua && nowait_[writes].load(std::memory_order_relaxed)) {
        iovec data{bio.data(), bio.bytes()};
        auto offset = static_cast<off_t>(bytes_of(bio.sector));
        ssize_t done = writes ? ::pwritev2(fd_, &data, 1, offset, RWF_NOWAIT)
                              : ::preadv2(fd_, &data, 1, offset, RWF_NOWAIT);
        if (done == static_cast<ssize_t>(bio.bytes())) return Task<Status>::ready(kOk);
        if (done < 0 && errno == EOPNOTSUPP) nowait_[writes].store(false, std::memory_order_relaxed);
        // A short answer here may only mean that the rest is not cached.
        return transfer_rest(bio, done > 0 ? static_cast<size_t>(done) : 0);
    }
    return transfer_rest(bio, 0);
}

Task<Status> FileDevice::transfer_rest(Bio bio, size_t done) {
    // In steps of whole blocks: O_DIRECT takes no others.
    size_t block = limits_.logical_block;
    done = done / block * block;
    while (done < bio.bytes()) {
        Memory::settle_borrowed();  // the wait would; but the address is taken here
        Operation operation = transfer_operation(bio);
        operation.data += done;
        operation.bytes -= done;
        operation.offset += done;
        Task<int64_t> flying = flights_.make(operation, bio.memory, bio.cancel);
        int64_t result = co_await flying;
        if (is_cancelled(bio.cancel)) co_return Status(EINTR);
        if (result == -EINTR || result == -EAGAIN) continue;
        if (result < 0) co_return failed(bio, static_cast<int>(-result));
        size_t further = (done + static_cast<size_t>(result)) / block * block;
        if (further == done) {
            log_line(Severity::error, name_ + " is shorter than the table that maps it: nothing at byte " +
                                          std::to_string(operation.offset));
            co_return Status(EIO);
        }
        done = further;
    }
    co_return kOk;
}

Task<Status> FileDevice::operate(Operation operation, Bio bio) {
    if (flights_.slow()) return operate_later(operation, bio);
    if (std::optional<int64_t> result = call_here(operation, bio.cancel))
        return Task<Status>::ready(
            operated(operation, flights_.tell(operation, *result, is_cancelled(bio.cancel)), bio));
    return operate_later(operation, bio);
}

std::optional<int64_t> FileDevice::call_here(const Operation& operation, Cancel* cancel) {
    InlineTurn turn(executor_, {&operation, &flights_, cancel});
    if (!turn) return std::nullopt;
    return do_blocking(operation);
}

Task<Status> FileDevice::operate_later(Operation operation, Bio bio) {
    while (true) {
        Task<int64_t> flying = flights_.make(operation, nullptr, bio.cancel);
        int64_t result = co_await flying;
        if (!is_cancelled(bio.cancel) && (result == -EINTR || result == -EAGAIN)) continue;
        co_return operated(operation, result, bio);
    }
}

// A request that was killed begins nothing more; but the error of a sync is told all the same: a volume
// keeps it for the next. That a filesystem lacks an operation is no failure of the disk.
Status FileDevice::operated(const Operation& operation, int64_t result, const Bio& bio) const {
    const bool failed_sync =
        operation.kind == Operation::Kind::sync && result < 0 && result != -EINTR && result != -EAGAIN;
    if (is_cancelled(bio.cancel) && !failed_sync) return Status(EINTR);
    if (result >= 0) return kOk;
    return result == -EOPNOTSUPP ? Status(EOPNOTSUPP) : failed(bio, static_cast<int>(-result));
}

Task<Status> FileDevice::write_zeroes(Bio bio) {
    struct Way {
        std::atomic<bool>* possible;
        int mode;
    };
    Way ways[] = {{&can_zero_range_, FALLOC_FL_ZERO_RANGE}, {&can_punch_hole_, FALLOC_FL_PUNCH_HOLE}};
    if (bio.unmap) std::swap(ways[0], ways[1]);
    for (Way& way : ways) {
        if (!way.possible->load(std::memory_order_relaxed)) continue;
        Task<Status> zeroed = operate(fallocation(way.mode, bio), bio);
        Status status = co_await zeroed;
        if (status.error() != EOPNOTSUPP) co_return status;
        way.possible->store(false, std::memory_order_relaxed);
    }
    Memory zeros(std::min<uint64_t>(bio.bytes(), kZeroPiece));
    memset(zeros.data(), 0, zeros.bytes());
    for (Sector done = 0; done < bio.count; done += sectors_in(zeros.bytes())) {
        Bio piece = bio;
        piece.op = Op::write;
        piece.memory = &zeros;
        piece.offset = 0;
        piece.sector = bio.sector + done;
        piece.count = std::min(bio.count - done, sectors_in(zeros.bytes()));
        Task<Status> written = transfer_rest(piece, 0);
        Status status = co_await written;
        if (!status) co_return status;
    }
    co_return kOk;
}

}  // namespace dmfs
