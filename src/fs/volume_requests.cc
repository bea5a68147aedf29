// Requests to volumes: reads, writes, flushes, holes, truncation. `open` stays until the kernel
// releases it, after the answer to its last request. A request that hung and was killed has its
// answer before it ends: what it needs is its own.

#include <atomic>
#include <cstring>

#include "engine/errand.h"
#include "fs/filesystem.h"

namespace dmfs::fs {

Task<Status> FileSystem::read_volume(fuse_req_t fuse_request, OpenVolume* open, size_t size, uint64_t offset,
                                     bool may_be_short) {
    Request request(fuse_request, &waiting_, Until::killed);
    const std::shared_ptr<VolumeFile> own = open->file;
    VolumeFile& file = *own;
    uint64_t end = file.bytes();
    if (offset >= end || size == 0) {
        request.reply_data(nullptr, 0);
        co_return kOk;
    }
    size = std::min<uint64_t>(size, end - offset);
    std::optional<Memory> memory;
    size_t begin = 0;
    Task<Status> reading = file.read(&memory, &begin, offset, size, &request);
    Status status = co_await reading;
    if (!status && may_be_short && status.error() != EINTR) {
        uint64_t length = size;
        Task<Status> reading_part = file.read_before_error(&memory, &begin, offset, &length, &request);
        Status part = co_await reading_part;
        if (part) {
            status = part;
            size = length;
        }
    }
    if (status)
        request.reply_data(memory->data() + begin, size);
    else
        request.reply(status);
    co_return status;
}

Task<Status> FileSystem::write_volume(fuse_req_t fuse_request, OpenVolume* open, const char* data,
                                      size_t size, uint64_t offset, bool fua) {
    Request request(fuse_request, &waiting_, Until::killed);
    const std::shared_ptr<VolumeFile> own = open->file;
    VolumeFile& file = *own;
    uint64_t end = file.bytes();
    Status status;
    if (file.volume().readonly())
        status = Status(EPERM);
    else if (offset >= end && size > 0)
        status = Status(ENOSPC);
    if (!status || size == 0) {
        request.reply(status);
        co_return status;
    }
    size = std::min<uint64_t>(size, end - offset);
    Memory memory = Memory::borrow(data, size);
    Task<Status> writing = file.write(&memory, offset, size, fua, &request);
    status = co_await writing;
    if (status)
        request.reply_written(size);
    else
        request.reply(status);
    co_return status;
}

Task<Status> FileSystem::flush_volume(fuse_req_t fuse_request, OpenVolume* open) {
    Request request(fuse_request, &waiting_, Until::killed);
    const std::shared_ptr<VolumeFile> own = open->file;
    Task<Status> flushing = own->flush(&request);
    Status status = co_await flushing;
    request.reply(status);
    co_return status;
}

Task<Status> FileSystem::clear_volume(fuse_req_t fuse_request, OpenVolume* open, Op op, uint64_t offset,
                                      uint64_t length) {
    Request request(fuse_request, &waiting_, Until::killed);
    const std::shared_ptr<VolumeFile> own = open->file;
    VolumeFile& file = *own;
    Status status;
    if (file.volume().readonly())
        status = Status(EPERM);
    else if (length == 0 || offset > file.bytes() || length > file.bytes() - offset)
        status = Status(EINVAL);
    else if (op == Op::discard && !file.volume().limits().discard())
        status = Status(EOPNOTSUPP);
    if (status) {
        Task<Status> clearing = file.clear(op, offset, length, &request);
        status = co_await clearing;
    }
    request.reply(status);
    co_return status;
}

Task<Status> FileSystem::truncate_volume(fuse_req_t fuse_request, std::shared_ptr<Volume> volume,
                                         struct stat wanted, int to_set) {
    Request request(fuse_request, &waiting_);
    Task<Outcome> truncating = truncate_counted(volume, static_cast<uint64_t>(wanted.st_size), &request);
    Outcome outcome = co_await truncating;
    Status status = !outcome ? controls_.note(volume->id(), outcome, "truncate") : kOk;
    const Node node{volume->id(), Kind::volume};
    if (status) status = set_attributes(node, wanted, to_set & ~FUSE_SET_ATTR_SIZE);
    struct stat found {};
    if (status) status = attributes(node, &found);
    if (status)
        request.reply_attributes(found);
    else
        request.reply(status);
    co_return status;
}

Task<Outcome> FileSystem::truncate_counted(std::shared_ptr<Volume> volume, uint64_t to, Cancel* cancel) {
    std::shared_ptr<Volume> counted;  // by its path nobody else may have it open
    Outcome outcome;
    try {
        counted = dm_.volumes().open(volume);
    } catch (const Refused& refused) {
        outcome = refused;
    }
    if (!outcome) co_return outcome;
    // What is below may never answer: whoever waits can go without it.
    std::function<Task<Outcome>(Cancel*)> begin = [file = file_of(volume), counted, to,
                                                   zeroes = options_.truncate_zeroes](Cancel* own) {
        return file->truncate(to, zeroes, own);
    };
    Task<Outcome> truncating = control_errand(dm_.volumes().executor(), std::move(begin), cancel);
    outcome = co_await truncating;
    if (!outcome || to != 0) co_return outcome;
    Task<Status> dropping = drop_truncated(std::move(volume));
    Status status = co_await dropping;
    static_cast<void>(status);
    co_return outcome;
}

namespace {

Task<Status> note_end(Task<Status> task, std::shared_ptr<std::atomic<bool>> ended) {
    Status status = co_await task;
    ended->store(true, std::memory_order_release);
    co_return status;
}

}  // namespace

// The kernel keeps its pages, as the size stays. It waits with dirty ones for the end of this
// request, so they are not waited for here for longer than a moment.
Task<Status> FileSystem::drop_truncated(std::shared_ptr<Volume> volume) {
    constexpr int kMoments = 200;
    constexpr int64_t kMomentNs = 1'000'000;
    auto ended = std::make_shared<std::atomic<bool>>(false);
    spawn(note_end(drop_cache(*volume, nullptr), ended));
    Executor& executor = dm_.volumes().executor();
    for (int i = 0; i < kMoments && !ended->load(std::memory_order_acquire); i++) {
        Task<Status> pause = sleep_until(executor, executor.now_ns() + kMomentNs);
        Status slept = co_await pause;
        static_cast<void>(slept);
    }
    co_return kOk;
}

}  // namespace dmfs::fs
