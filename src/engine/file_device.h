// The leaves of every stack: a regular file, a block device, or memory (ram:SIZE).
//
// Most requests end where they begin: the thread that brought one makes the
// system call itself, if others of its kind stay free (InlineTurn) or the call
// promises not to wait (RWF_NOWAIT). The rest goes to the executor (see Flights). A file on a
// server, which may be gone, is asked nothing on a thread that others need.
//
//     read, write    preadv2, pwritev2; FUA is RWF_DSYNC
//     flush          fdatasync
//     discard        fallocate(PUNCH_HOLE): the range reads as zeros
//     write_zeroes   fallocate(ZERO_RANGE, else PUNCH_HOLE; unmap: the other first), else written
//     reserve()      fallocate
//
// A short read is an error: the file was truncated below a live table.

#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "engine/device.h"
#include "engine/executor.h"
#include "engine/flights.h"

namespace dmfs {

class Holding;

class FileDevice final : public Device, public std::enable_shared_from_this<FileDevice> {
  public:
    struct Options {
        bool writable = true;
        bool direct = false;  // O_DIRECT: without the host's page cache
        Space space = {};     // of a regular file
    };

    // `name` is what tables print; takes over `fd`, which `path` opened. Throws
    // Refused: ENOTBLK where it is neither a file nor a block device; EBUSY while writes of another
    // table to it are under way that were given up.
    static std::shared_ptr<FileDevice> adopt(Executor& executor, int fd, std::string name, Options options);
    // Opens an absolute path, or `through` that leads there. Throws Refused.
    static std::shared_ptr<FileDevice> open(Executor& executor, const std::string& path, Options options,
                                            const std::string& through);
    static std::shared_ptr<FileDevice> open(Executor& executor, const std::string& path, Options options) {
        return open(executor, path, options, path);
    }
    // Memory of `bytes` zeros.
    static std::shared_ptr<FileDevice> ram(Executor& executor, uint64_t bytes, std::string name);

    ~FileDevice() override;

    Task<Status> io(Bio bio) override;
    // A file on a server has the size that was seen last, unless this thread may hang (Blocking).
    Sector size() const override;
    Limits limits() const override { return limits_; }
    Extent extent(Sector at, Look& look) override;
    void give_up(int64_t longer_than_ns) override { flights_.let_go(longer_than_ns); }
    // As if the file's blocks were spread evenly.
    Sector allocated(Sector start, Sector length, Look& look) override;
    Task<Status> reserve(Sector start, Sector length) override;
    Space space() const override { return number_ ? Space{} : space_; }
    std::string name() const override { return name_; }
    std::optional<DeviceNumber> number() const override { return number_; }
    Identity identity() const override;
    // Makes it this process's own as long as it is open: engine/holding.h. Throws Refused (EBUSY).
    void hold();
    uint64_t filesystem() const { return filesystem_; }  // st_dev of where it lies

  private:
    FileDevice(Executor& executor, int fd, std::string name, Options options);

    void learn_limits();
    Operation operation(Operation::Kind kind, const Bio& bio) const;
    Operation fallocation(int mode, const Bio& bio) const;
    Operation transfer_operation(const Bio& bio) const;
    Task<Status> transfer(Bio bio);
    // What of `bio` stands after its first `done` bytes.
    Task<Status> transfer_rest(Bio bio, size_t done);
    Task<Status> go_on(Bio bio);
    Task<Status> look_and_go_on(Bio bio);
    static Task<Status> look(std::shared_ptr<FileDevice> self);
    bool may_ask() const { return !flights_.remote() || Blocking::is_inside(); }
    Sector seen_size() const { return size_seen_.load(std::memory_order_relaxed); }
    // What the call gives that this thread makes itself, if it may. Behind that nobody answers for it
    // any more but whoever goes on here.
    std::optional<int64_t> call_here(const Operation& operation, Cancel* cancel);
    Task<Status> operate(Operation operation, Bio bio);
    Task<Status> operate_later(Operation operation, Bio bio);
    Task<Status> write_zeroes(Bio bio);
    Status operated(const Operation& operation, int64_t result, const Bio& bio) const;
    Status failed(const Bio& bio, int error) const;
    bool fills_filesystem(Sector more) const;
    // Whether it reaches beyond the end: a file would grow.
    bool beyond(const Bio& bio);

    Executor& executor_;
    const int fd_;
    const std::string name_;
    const bool direct_;
    const Space space_;
    std::optional<DeviceNumber> number_;
    std::shared_ptr<Holding> holding_;
    uint64_t filesystem_ = 0;
    uint64_t inode_ = 0;
    Limits limits_;
    mutable std::atomic<Sector> size_seen_{0};  // when somebody last asked; a file may grow
    // Learned once: which calls this file system refuses.
    std::atomic<bool> nowait_[2] = {true, true};  // reads, writes
    std::atomic<bool> can_zero_range_{true};
    std::atomic<bool> can_punch_hole_{true};
    Flights flights_;
};

}  // namespace dmfs
