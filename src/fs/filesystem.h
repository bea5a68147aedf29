// The filesystem: FUSE's requests, answered by volumes and controls.
//
// A request is a coroutine that begins on the libfuse thread that took it and ends
// with its reply; most end before that thread comes back for the next one. None
// holds a libfuse thread while it waits.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "dm/device_mapper.h"
#include "fs/block_counts.h"
#include "fs/cache_drops.h"
#include "fs/controls.h"
#include "fs/kept.h"
#include "fs/nodes.h"
#include "fs/notifier.h"
#include "fs/options.h"
#include "fs/request.h"
#include "fs/volume_file.h"

namespace dmfs::fs {

class FileSystem final : public NamespaceObserver {
  public:
    FileSystem(DeviceMapper& dm, const Options& options);
    ~FileSystem() override;

    // For fuse_session_new, with this as user data. Without `poll` the kernel asks
    // only once: an io_uring client would else send a poll before every request.
    static fuse_lowlevel_ops operations(bool poll);
    void set_session(fuse_session* session) { session_ = session; }
    // No request is taken any more: ends those that wait, within seconds, also for what does not
    // answer. False: some have no answer yet.
    bool answer_all();
    // Behind that: makes everything durable, for which it may take half a minute. False: something
    // is still under way.
    bool finish();
    // While requests are still taken: the kernel has written what was mapped. False: it still does.
    bool end_drops();
    // Behind the unmount: nothing is told to the kernel any more. False: it still is.
    bool stop_notices();

    void event_raised(Volume& volume) override;
    void removed(Volume& volume) override;
    void table_swapped(Volume& volume) override;

  private:
    friend struct Operations;

    struct OpenVolume {
        std::shared_ptr<VolumeFile> file;
        std::shared_ptr<Volume> counted;  // Namespace::open()
    };
    struct OpenFolder {
        struct Entry {
            std::string name;
            fuse_ino_t ino;
            mode_t mode;
        };
        std::vector<Entry> entries;
    };

    std::shared_ptr<Volume> volume_of(Node node) const { return dm_.volumes().by_id(node.id); }
    std::shared_ptr<VolumeFile> file_of(const std::shared_ptr<Volume>& volume);
    // ENOENT where the node is gone.
    Status attributes(Node node, struct stat* found);
    Status own_attributes(Node node, struct stat* found);  // without what is kept
    Status find(fuse_ino_t parent, const std::string& name, Node* found);
    // The volume that is called so in this folder, or nullptr.
    std::shared_ptr<Volume> volume_in(fuse_ino_t folder, const std::string& name);
    std::vector<OpenFolder::Entry> list(Node folder);
    Status set_attributes(Node node, const struct stat& wanted, int to_set);

    // The answer to getattr, or to a lookup.
    Task<Status> reply_attributes(fuse_req_t request, Node node, bool entry);
    Task<Status> seek_volume(fuse_req_t request, OpenVolume* open, uint64_t offset, bool data);
    // `may_be_short`: the reader takes what lies before an error, and comes again.
    Task<Status> read_volume(fuse_req_t request, OpenVolume* open, size_t size, uint64_t offset,
                             bool may_be_short);
    Task<Status> write_volume(fuse_req_t request, OpenVolume* open, const char* data, size_t size,
                              uint64_t offset, bool fua);
    Task<Status> flush_volume(fuse_req_t request, OpenVolume* open);
    Task<Status> clear_volume(fuse_req_t request, OpenVolume* open, Op op, uint64_t offset, uint64_t length);
    // setattr with a size.
    Task<Status> truncate_volume(fuse_req_t request, std::shared_ptr<Volume> volume, struct stat wanted,
                                 int to_set);
    Task<Outcome> truncate_counted(std::shared_ptr<Volume> volume, uint64_t to, Cancel* cancel);
    Task<Status> drop_truncated(std::shared_ptr<Volume> volume);
    Task<Status> write_control(fuse_req_t request, ControlFile* file, std::string text, uint64_t offset,
                               WriterFolder writer);
    Task<Status> close_control(fuse_req_t request, ControlFile* file, bool killed);
    Task<Status> remove_volume(fuse_req_t request, std::shared_ptr<Volume> volume);
    Task<Status> read_trace(fuse_req_t request, ControlFile* file, size_t size);
    Task<Status> read_events(fuse_req_t request, ControlFile* file, size_t size);
    void read_control(fuse_req_t request, ControlFile& file, size_t size, uint64_t offset);
    using Volumes = std::vector<std::shared_ptr<Volume>>;
    Volumes to_flush_before(const ControlFile& file, const std::string& text);
    Task<Status> with_dropped_cache(Task<Status> swapping, std::shared_ptr<Volume> volume, Volumes flushed,
                                    Cancel* cancel);
    Task<Status> drop_cache(const Volume& volume, Cancel* cancel);
    bool is_open(uint64_t volume);
    void end_waits();
    bool drain(std::chrono::milliseconds patience, const std::function<bool()>& ended);
    void stop_traces();
    void flush_all();
    static Task<Status> flush_last(std::shared_ptr<Volume> volume);
    void spawn(Task<Status> task) { dm_.volumes().executor().spawn(std::move(task)); }

    DeviceMapper& dm_;
    const Options options_;
    Controls controls_;
    BlockCounts block_counts_;
    WaitQueue events_;  // of those who read the next event's number
    fuse_session* session_ = nullptr;
    struct timespec started_;
    Kept kept_;

    std::mutex mutex_;  // guards what follows
    std::map<uint64_t, std::weak_ptr<VolumeFile>> files_;
    std::set<uint64_t> swapped_;  // volumes of which a page cache may be stale
    std::set<OpenVolume*> open_volumes_;
    std::set<std::shared_ptr<ControlFile>> open_controls_;

    // The last: their threads use the others.
    WaitingRequests waiting_;
    CacheDrops drops_;
    Notifier notifier_;
    Notifier clock_;
};

}  // namespace dmfs::fs
