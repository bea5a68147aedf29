#include "fs/filesystem.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <cstring>
#include <ctime>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "dm/snapshots.h"
#include "engine/backings.h"

namespace dmfs::fs {

namespace {

// Clients have their answers within five seconds of a SIGTERM: for so long they wait for what is
// slow, and then so long for what is to tell them so.
constexpr std::chrono::milliseconds kAnswerPatience{2000};
constexpr std::chrono::milliseconds kEndPatience{1000};
// What nobody waits for may take longer.
constexpr std::chrono::milliseconds kFinishPatience{30'000};
constexpr std::chrono::milliseconds kNoticePatience{1000};
constexpr int64_t kNsPerSecond = 1'000'000'000;

}  // namespace

FileSystem::FileSystem(DeviceMapper& dm, const Options& options)
    : dm_(dm),
      options_(options),
      controls_(dm, options.text()),
      block_counts_(dm.volumes().executor()),
      events_(dm.volumes().executor()),
      waiting_(options.park_seconds),
      drops_(dm.volumes().executor(),
             [this](uint64_t id) {
                 fuse_lowlevel_notify_inval_inode(session_, Node{id, Kind::volume}.ino(), 0, 0);
             }),
      notifier_({}, std::chrono::seconds(0)),
      clock_([this] { waiting_.end_late(); }, std::chrono::seconds(options.park_seconds > 0 ? 1 : 0)) {
    clock_gettime(CLOCK_REALTIME, &started_);
    dm_.volumes().observe(this);
}

FileSystem::~FileSystem() {
    dm_.volumes().observe(nullptr);
    // The kernel tells of no close once the mount is gone.
    for (OpenVolume* open : open_volumes_) delete open;
    for (const auto& open : open_controls_)
        if (open->poll != nullptr) fuse_pollhandle_destroy(open->poll);
}

// Those that are parked fail with EIO, those that a target holds go on.
void FileSystem::end_waits() {
    for (const auto& volume : dm_.volumes().volumes()) volume->end_waits();
    events_.wake_all(Status(EIO));
    drops_.end_waits();
    stop_traces();
}

// Until `ended`, with nobody parked meanwhile. False: it has lasted longer than `patience`.
bool FileSystem::drain(std::chrono::milliseconds patience, const std::function<bool()>& ended) {
    auto until = std::chrono::steady_clock::now() + patience;
    while (!ended()) {
        if (std::chrono::steady_clock::now() >= until) return false;
        end_waits();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

void FileSystem::stop_traces() {
    std::lock_guard guard(mutex_);
    for (const auto& file : open_controls_)
        if (file->trace) file->trace->stop();
}

Task<Status> FileSystem::flush_last(std::shared_ptr<Volume> volume) {
    // It may hang, and the others shall be flushed meanwhile.
    Blocking::Enter enter = volume->executor().operating().enter();
    co_await enter;
    Task<Status> flushing = volume->io(Bio::flush());
    Status status = co_await flushing;
    if (!status)
        log_line(Severity::error, "the last flush of " + volume->name() + ": " + strerror(status.error()));
    co_return status;
}

// What a target does for itself is left alone: that it is slow now must not break a snapshot.
bool FileSystem::answer_all() {
    Executor& executor = dm_.volumes().executor();
    if (drain(kAnswerPatience, [&] { return executor.running() == 0; })) return true;
    return drain(kEndPatience, [&] {
        waiting_.end_all();
        return executor.running() == 0;
    });
}

// A suspended volume was flushed when it was suspended; a volume that another's flush reaches needs none of
// its own: a stack of thousands would be flushed from each of its levels.
void FileSystem::flush_all() {
    std::vector<std::shared_ptr<Volume>> volumes;
    std::unordered_set<const Device*> reached;
    for (const auto& volume : dm_.volumes().volumes()) {
        const std::shared_ptr<Table> table = volume->live();
        if (!table || volume->suspended()) continue;
        volumes.push_back(volume);
        reached.insert(table->flushed_devices().begin(), table->flushed_devices().end());
    }
    for (const auto& volume : volumes)
        if (!reached.contains(volume.get())) spawn(flush_last(volume));
}

bool FileSystem::finish() {
    Executor& executor = dm_.volumes().executor();
    flush_all();
    // Also for what was abandoned, and lands on a disk that is only slow.
    bool finished = drain(kFinishPatience, [&] {
        waiting_.end_all();
        return executor.running() == 0 && executor.backings().abandoned() == 0;
    });
    if (!finished)
        log_line(Severity::error, "requests are still under way at what does not answer: leaving them");
    // What tables still write when they are closed is not to be held by a volume below.
    for (const auto& volume : dm_.volumes().volumes()) volume->end_waits();
    return finished;
}

bool FileSystem::end_drops() {
    return drain(kNoticePatience, [this] { return drops_.stop(std::chrono::milliseconds(1)); });
}

bool FileSystem::stop_notices() {
    notifier_.stop();
    return drops_.stop(kNoticePatience);
}

// Nodes.

std::shared_ptr<VolumeFile> FileSystem::file_of(const std::shared_ptr<Volume>& volume) {
    std::lock_guard guard(mutex_);
    std::weak_ptr<VolumeFile>& entry = files_[volume->id()];
    std::shared_ptr<VolumeFile> file = entry.lock();
    if (!file) entry = file = std::make_shared<VolumeFile>(volume);
    return file;
}

Status FileSystem::attributes(Node node, struct stat* found) {
    Status status = own_attributes(node, found);
    if (status) kept_.put_over(node.owned().ino(), found);
    return status;
}

Status FileSystem::own_attributes(Node node, struct stat* found) {
    *found = {};
    std::shared_ptr<Volume> volume = node.id != 0 ? volume_of(node) : nullptr;
    if (node.id != 0 && !volume) return Status(ENOENT);
    found->st_ino = node.ino();
    found->st_nlink = 1;
    found->st_uid = geteuid();
    found->st_gid = getegid();
    found->st_blksize = 4096;
    found->st_atim = found->st_mtim = found->st_ctim = started_;
    if (node.is_folder()) {
        found->st_mode = S_IFDIR | 0700;
        found->st_nlink = 2;
    } else if (node.is_volume()) {
        found->st_mode = S_IFREG | 0600;
        int64_t changed = volume->changed_ns();
        found->st_mtim = found->st_ctim = {changed / kNsPerSecond, changed % kNsPerSecond};
        found->st_size = static_cast<off_t>(bytes_of(volume->size()));
        found->st_blocks = static_cast<blkcnt_t>(block_counts_.known(*volume));
        found->st_blksize = static_cast<blksize_t>(std::max<uint32_t>(4096, volume->logical_block()));
    } else {
        const ControlNode* control = control_node(node);
        if (control == nullptr) return Status(ENOENT);
        found->st_mode = S_IFREG | control->mode;
        if (node.kind == Kind::error)
            found->st_size = static_cast<off_t>(controls_.text(node, volume.get()).size());
    }
    return kOk;
}

Status FileSystem::find(fuse_ino_t parent, const std::string& name, Node* found) {
    Node folder = Node::of(parent);
    if (folder.kind == Kind::root && folder.id == 0 && name == ".control") {
        *found = {0, Kind::control};
        return kOk;
    }
    if (folder.kind == Kind::control && name == kVolumesFolder) {
        *found = {0, Kind::volumes};
        return kOk;
    }
    bool of_volume = folder.id != 0;
    if (folder.kind == Kind::control || of_volume)
        for (const ControlNode& each : control_nodes())
            if (each.of_volume == of_volume && each.name == name) {
                *found = {folder.id, each.kind};
                return of_volume && !volume_of(folder) ? Status(ENOENT) : kOk;
            }
    if (of_volume) return Status(ENOENT);
    std::shared_ptr<Volume> volume = dm_.volumes().by_name(name);
    if (!volume) return Status(ENOENT);
    *found = folder.child(volume->id());
    return kOk;
}

std::shared_ptr<Volume> FileSystem::volume_in(fuse_ino_t folder, const std::string& name) {
    Node found;
    if (Node::of(folder).id != 0 || !find(folder, name, &found) || found.id == 0) return nullptr;
    return volume_of(found);
}

std::vector<FileSystem::OpenFolder::Entry> FileSystem::list(Node folder) {
    std::vector<OpenFolder::Entry> entries = {{".", folder.ino(), S_IFDIR}, {"..", FUSE_ROOT_ID, S_IFDIR}};
    bool is_control = folder.kind == Kind::control;
    if (is_control)
        entries.push_back({std::string(kVolumesFolder), Node{0, Kind::volumes}.ino(), S_IFDIR});
    else if (folder.id == 0 && folder.kind == Kind::root)
        entries.push_back({".control", Node{0, Kind::control}.ino(), S_IFDIR});
    if (is_control || folder.id != 0)
        for (const ControlNode& each : control_nodes())
            if (each.of_volume == (folder.id != 0))
                entries.push_back({std::string(each.name), Node{folder.id, each.kind}.ino(), S_IFREG});
    if (folder.id == 0)
        for (const auto& volume : dm_.volumes().volumes()) {
            if (is_control && is_control_name(volume->name())) continue;
            Node node = folder.child(volume->id());
            entries.push_back(
                {volume->name(), node.ino(), static_cast<mode_t>(node.is_volume() ? S_IFREG : S_IFDIR)});
        }
    return entries;
}

Status FileSystem::set_attributes(Node node, const struct stat& wanted, int to_set) {
    struct stat found;
    if (Status status = own_attributes(node, &found); !status) return status;
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
        if (!node.is_volume() && wanted.st_size == 0 && node.id != 0)
            if (std::shared_ptr<Volume> volume = volume_of(node)) controls_.truncate(node, *volume);
    }
    kept_.set(node.owned().ino(), found, wanted, to_set);
    return kOk;
}

// Requests to the control tree.

void FileSystem::read_control(fuse_req_t request, ControlFile& file, size_t size, uint64_t offset) {
    std::string text;
    bool gone = false;
    {
        std::lock_guard guard(file.mutex);
        gone = file.volume && !volume_of(file.node);
        if (offset == 0 && !gone)
            file.text = file.answer ? *file.answer : controls_.text(file.node, file.volume.get());
        if (!gone) text = file.text.substr(std::min<size_t>(offset, file.text.size()), size);
    }
    // Whoever has the answer may close the file.
    if (gone)
        fuse_reply_err(request, ENOENT);
    else
        fuse_reply_buf(request, text.data(), text.size());
}

// The first read of an open file gives the number of the last event, each later one
// at offset 0 waits for another number.
Task<Status> FileSystem::read_events(fuse_req_t fuse_request, ControlFile* file, size_t size) {
    Request request(fuse_request, &waiting_, Until::signal);
    const std::shared_ptr<ControlFile> own = file->shared_from_this();
    auto has_changed = [this, file] {
        std::lock_guard guard(file->mutex);
        return !file->events_read || file->events_seen != file->volume->event_number() ||
               !volume_of(file->node);
    };
    Task<Status> waiting = events_.until(has_changed, &request);
    Status status = co_await waiting;
    if (!status && !request.late()) {  // late: the same number again, rather than an error
        request.reply(status);
        co_return status;
    }
    if (!volume_of(file->node)) {
        request.reply(Status(ENOENT));
        co_return Status(ENOENT);
    }
    std::string text;
    {
        std::lock_guard guard(file->mutex);
        file->events_seen = file->volume->event_number();
        file->events_read = true;
        text = file->text = std::to_string(file->events_seen) + "\n";
    }
    request.reply_data(reinterpret_cast<const std::byte*>(text.data()), std::min(text.size(), size));
    co_return kOk;
}

// What has happened since the last read; waits if that is nothing. The pause gathers
// what comes at once, so that a busy volume does not wake its reader for each request.
Task<Status> FileSystem::read_trace(fuse_req_t fuse_request, ControlFile* file, size_t size) {
    constexpr int64_t kGatherNs = 20'000'000;
    Request request(fuse_request, &waiting_, Until::signal);
    const std::shared_ptr<ControlFile> own = file->shared_from_this();
    std::string text;
    while (text.empty() && !file->trace->stopped()) {
        Task<Status> waiting = file->trace->wait(&request);
        Status status = co_await waiting;
        if (request.late()) {  // an answer, since this request will not be listened to again
            text = "# idle\n";
            break;
        }
        if (!status) {
            request.reply(status);
            co_return status;
        }
        Executor& executor = dm_.volumes().executor();
        Task<Status> gathering = sleep_until(executor, executor.now_ns() + kGatherNs);
        status = co_await gathering;
        text = file->trace->take(size);
    }
    request.reply_data(reinterpret_cast<const std::byte*>(text.data()), std::min(text.size(), size));
    co_return kOk;
}

Task<Status> FileSystem::write_control(fuse_req_t fuse_request, ControlFile* file, std::string text,
                                       uint64_t offset, WriterFolder writer) {
    Request request(fuse_request, &waiting_, Until::asked);
    const std::shared_ptr<ControlFile> own = file->shared_from_this();
    size_t size = text.size();
    const bool may_swap = file->node.kind == Kind::state;
    Volumes flushed = may_swap ? to_flush_before(*file, text) : Volumes();
    Task<Status> writing = controls_.write(file, std::move(text), offset, std::move(writer), &request);
    Task<Status> whole =
        may_swap ? with_dropped_cache(std::move(writing), file->volume, std::move(flushed), &request)
                 : std::move(writing);
    Status status = co_await whole;
    if (status)
        request.reply_written(size);
    else
        request.reply(status);
    co_return status;
}

Task<Status> FileSystem::close_control(fuse_req_t fuse_request, ControlFile* file, bool killed) {
    Request request(fuse_request, &waiting_, Until::asked);
    const std::shared_ptr<ControlFile> own = file->shared_from_this();
    Task<Status> finishing = controls_.finish(file, killed, &request);
    Task<Status> whole =
        file->node.kind == Kind::table && file->held
            ? with_dropped_cache(std::move(finishing), file->volume, {file->volume}, &request)
            : std::move(finishing);
    Status status = co_await whole;
    request.reply(status);
    co_return status;
}

// A merge of a snapshot exchanges the table of the volume that shows its origin.
FileSystem::Volumes FileSystem::to_flush_before(const ControlFile& file, const std::string& text) {
    const std::vector<Word> words = split_words(text.substr(0, text.find('\n')));
    const std::string verb = words.empty() ? "" : words[0].text;
    const bool takes_flags = verb == "suspend" || verb == "resume";
    if (takes_flags && std::ranges::any_of(words, [](const Word& word) { return word.text == "noflush"; }))
        return {};
    Volumes volumes{file.volume};
    if (verb == "merge")
        if (std::shared_ptr<Volume> into = merges_into(&dm_, file.volume); into != file.volume)
            volumes.push_back(std::move(into));
    return volumes;
}

// A request that may swap a table. Before it, of those to be `flushed`, so that what was stored in mapped
// pages goes to the table it was meant for; after it, so that whoever has the answer sees the new one.
Task<Status> FileSystem::with_dropped_cache(Task<Status> swapping, std::shared_ptr<Volume> volume,
                                            Volumes flushed, Cancel* cancel) {
    for (const std::shared_ptr<Volume>& each : std::exchange(flushed, {})) {
        Task<Status> before = drop_cache(*each, cancel);
        Status dropped = co_await before;
        static_cast<void>(dropped);
    }
    Status status = co_await swapping;
    std::set<uint64_t> swapped;
    {
        std::lock_guard guard(mutex_);
        swapped.swap(swapped_);
    }
    swapped.insert(volume->id());
    for (uint64_t id : swapped) {
        std::shared_ptr<Volume> each = dm_.volumes().by_id(id);
        if (!each) continue;
        Task<Status> behind = drop_cache(*each, cancel);
        Status dropped = co_await behind;
        static_cast<void>(dropped);
    }
    co_return status;
}

// Where volumes can be mapped: what was stored in its pages goes to the volume, and they are read
// again. A suspended volume keeps them, since nothing would come of it before its resume.
Task<Status> FileSystem::drop_cache(const Volume& volume, Cancel* cancel) {
    bool may_be_mapped = options_.shared_mmap && session_ != nullptr && is_open(volume.id());
    return may_be_mapped && !volume.suspended() ? drops_.drop(volume.id(), cancel) : Task<Status>::ready(kOk);
}

// What is mapped is open.
bool FileSystem::is_open(uint64_t volume) {
    std::lock_guard guard(mutex_);
    auto file = files_.find(volume);
    return file != files_.end() && !file->second.expired();
}

Task<Status> FileSystem::remove_volume(fuse_req_t fuse_request, std::shared_ptr<Volume> volume) {
    Request request(fuse_request, &waiting_, Until::asked);
    Task<Outcome> removing = dm_.remove(volume, false, &request);
    Outcome outcome = co_await removing;
    Status status = controls_.note(!outcome ? volume->id() : 0, outcome, "remove");
    request.reply(status);
    co_return status;
}

// What happened in the namespace.

void FileSystem::event_raised(Volume& volume) {
    events_.wake_all();
    std::lock_guard guard(mutex_);
    for (const auto& file : open_controls_) {
        if (file->node.kind != Kind::events || file->node.id != volume.id()) continue;
        std::lock_guard file_guard(file->mutex);
        if (fuse_pollhandle* poll = std::exchange(file->poll, nullptr); poll != nullptr)
            notifier_.post([poll] {
                fuse_lowlevel_notify_poll(poll);
                fuse_pollhandle_destroy(poll);
            });
    }
}

// By a request for another volume, too, as when that one merges into it.
void FileSystem::table_swapped(Volume& volume) {
    if (!options_.shared_mmap) return;
    std::lock_guard guard(mutex_);
    swapped_.insert(volume.id());
}

void FileSystem::removed(Volume& volume) {
    events_.wake_all();
    controls_.forget(volume.id());
    block_counts_.forget(volume.id());
    kept_.forget([&](uint64_t ino) { return Node::of(ino).id == volume.id(); });
    std::lock_guard guard(mutex_);
    for (const auto& file : open_controls_)
        if (file->trace && file->node.id == volume.id()) file->trace->stop();
    files_.erase(volume.id());
}

}  // namespace dmfs::fs
