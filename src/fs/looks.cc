// Requests that only look at a volume, but may have to ask what does not answer.

#include "engine/errand.h"
#include "fs/filesystem.h"

namespace dmfs::fs {

Task<Status> FileSystem::reply_attributes(fuse_req_t request, Node node, bool entry) {
    std::shared_ptr<Volume> volume = node.is_volume() ? volume_of(node) : nullptr;
    if (volume) {
        Task<Status> renewing = block_counts_.renew(file_of(volume));
        Status renewed = co_await renewing;
        static_cast<void>(renewed);
    }
    fuse_entry_param found{};
    Status status = attributes(node, &found.attr);
    found.ino = node.ino();
    found.generation = 1;
    if (!status)
        fuse_reply_err(request, status.error());
    else if (entry)
        fuse_reply_entry(request, &found);
    else
        fuse_reply_attr(request, &found.attr, 0);
    co_return status;
}

namespace {

// A search that may hang; who asked for it may be gone before it ends.
struct Search {
    std::shared_ptr<VolumeFile> file;
    uint64_t offset;
    bool data;
    Cancel cancel;
    int64_t found = 0;
};

Task<Status> search(Executor* executor, std::shared_ptr<Search> search) {
    Blocking::Enter enter = executor->blocking().enter();
    co_await enter;
    if (!search->cancel.requested())
        search->found = search->file->seek(search->offset, search->data, &search->cancel);
    co_return kOk;
}

}  // namespace

Task<Status> FileSystem::seek_volume(fuse_req_t fuse_request, OpenVolume* open, uint64_t offset, bool data) {
    Request request(fuse_request, &waiting_);
    auto wanted = std::make_shared<Search>();
    wanted->file = open->file;
    wanted->offset = offset;
    wanted->data = data;
    Executor& executor = dm_.volumes().executor();
    Task<Status> searching = until_killed(executor, search(&executor, wanted), &request);
    Status status = co_await searching;
    if (!status)
        wanted->cancel.request();
    else if (wanted->found < 0)
        status = Status(static_cast<int>(-wanted->found));
    if (status)
        request.reply_found(wanted->found);
    else
        request.reply(status);
    co_return status;
}

}  // namespace dmfs::fs
