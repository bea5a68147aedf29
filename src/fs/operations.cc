// libfuse's callbacks: each takes its request apart and hands it to FileSystem.

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>

#include "base/files.h"
#include "base/wipe.h"
#include "fs/filesystem.h"

namespace dmfs::fs {

namespace {

// The limit is for all volumes together: those that wait at a suspended one must leave room for others.
constexpr unsigned kMaxBackground = 65535;
constexpr unsigned kCongestion = kMaxBackground / 4 * 3;
constexpr unsigned kMaxReadahead = 1 << 20;
constexpr size_t kNameMost = 127;
constexpr unsigned kBlock = 4096;  // a loop device takes its discard granularity from statfs

template <class T>
uint64_t handle_of(T* open) {
    return reinterpret_cast<uint64_t>(open);
}

template <class T>
T* open_of(const fuse_file_info* file) {
    return reinterpret_cast<T*>(file->fh);
}

// libfuse 3.14 has no field for some of these flags, so the answer is put together here.
void reply_open(fuse_req_t request, uint64_t handle, uint32_t flags) {
    fuse_open_out out{};
    out.fh = handle;
    out.open_flags = flags;
    fuse_reply_buf(request, reinterpret_cast<const char*>(&out), sizeof out);
}

// Whether a process closes its files because a signal ends it (PF_SIGNALED).
bool was_killed(pid_t process) {
    constexpr unsigned long kSignaled = 0x400;
    std::string folder = "/proc/" + std::to_string(process);
    // Only of a process that ends, and so has no memory any more. One that closes at its
    // execve(2) holds the lock that `stat` asks for, and waits for this answer.
    if (!first_line(folder + "/statm").starts_with("0 ")) return false;
    std::string text = first_line(folder + "/stat");
    unsigned long flags = 0;
    size_t name_end = text.rfind(')');
    return name_end != std::string::npos &&
           sscanf(text.c_str() + name_end + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 &&
           (flags & kSignaled) != 0;
}

}  // namespace

struct Operations {
    static FileSystem& self(fuse_req_t request) {
        return *static_cast<FileSystem*>(fuse_req_userdata(request));
    }

    static void init([[maybe_unused]] void* user, fuse_conn_info* connection) {
        unsigned unwanted = FUSE_CAP_AUTO_INVAL_DATA   // readers would ask for attributes after every write
                            | FUSE_CAP_ATOMIC_O_TRUNC  // truncation comes as setattr
                            | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                            FUSE_CAP_WRITEBACK_CACHE;
        connection->want &= ~unwanted;
        connection->want |= connection->capable & (FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS);
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP  // else: InitFlags
        if (static_cast<FileSystem*>(user)->options_.shared_mmap)
            connection->want |= connection->capable & FUSE_CAP_DIRECT_IO_ALLOW_MMAP;
#endif
        connection->max_background = kMaxBackground;
        connection->congestion_threshold = kCongestion;
        connection->max_readahead = kMaxReadahead;
    }

    // Names and attributes.

    static void reply_node(fuse_req_t request, Node node) {
        self(request).spawn(self(request).reply_attributes(request, node, true));
    }

    static void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
        Node node;
        Status status = self(request).find(parent, name, &node);
        if (status)
            reply_node(request, node);
        else
            fuse_reply_err(request, status.error());
    }

    static void getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
        self(request).spawn(self(request).reply_attributes(request, Node::of(ino), false));
    }

    static void setattr(fuse_req_t request, fuse_ino_t ino, struct stat* wanted, int to_set,
                        fuse_file_info* file) {
        FileSystem& fs = self(request);
        const Node node = Node::of(ino);
        if (node.is_volume() && (to_set & FUSE_SET_ATTR_SIZE) != 0)
            if (std::shared_ptr<Volume> volume = fs.volume_of(node)) {
                fs.spawn(fs.truncate_volume(request, std::move(volume), *wanted, to_set));
                return;
            }
        Status status = self(request).set_attributes(Node::of(ino), *wanted, to_set);
        if (status)
            getattr(request, ino, file);
        else
            fuse_reply_err(request, status.error());
    }

    static void statfs(fuse_req_t request, fuse_ino_t) {
        struct statvfs found {};
        found.f_bsize = found.f_frsize = kBlock;
        found.f_namemax = kNameMost;
        for (const auto& volume : self(request).dm_.volumes().volumes()) {
            found.f_blocks += bytes_of(volume->size()) / kBlock;
            found.f_files++;
        }
        fuse_reply_statfs(request, &found);
    }

    static void opendir(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file) {
        auto* open = new FileSystem::OpenFolder{self(request).list(Node::of(ino))};
        file->fh = handle_of(open);
        fuse_reply_open(request, file);
    }

    static void readdir(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
        const auto& entries = open_of<FileSystem::OpenFolder>(file)->entries;
        std::string page(size, 0);
        size_t used = 0;
        for (auto at = static_cast<size_t>(offset); at < entries.size(); at++) {
            struct stat found {};
            found.st_ino = entries[at].ino;
            found.st_mode = entries[at].mode;
            size_t need = fuse_add_direntry(request, page.data() + used, size - used,
                                            entries[at].name.c_str(), &found, static_cast<off_t>(at + 1));
            if (need > size - used) break;
            used += need;
        }
        fuse_reply_buf(request, page.data(), used);
    }

    static void releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
        delete open_of<FileSystem::OpenFolder>(file);
        fuse_reply_err(request, 0);
    }

    // A refusal of what has no volume (yet) is read from .control/error.
    static void reply_noted(fuse_req_t request, const Outcome& outcome, const std::string& what) {
        fuse_reply_err(request, self(request).controls_.note(0, outcome, what).error());
    }

    static void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t) {
        Outcome outcome;
        if (!Node::of(parent).holds_volumes()) {
            outcome = Refused(EPERM, "volumes are made in .control", "mkdir " + control_folder(name));
            return reply_noted(request, outcome, "create");
        }
        try {
            std::shared_ptr<Volume> volume = self(request).dm_.create(name);
            return reply_node(request, Node::of(parent).child(volume->id()));
        } catch (const Refused& refused) {
            outcome = refused;
        }
        // mkdir(2) knows EEXIST where the device mapper says EBUSY.
        static_cast<void>(self(request).controls_.note(0, outcome, "create"));
        fuse_reply_err(request, outcome.why().error() == EBUSY ? EEXIST : outcome.why().error());
    }

    static void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
        std::shared_ptr<Volume> volume = self(request).volume_in(parent, name);
        if (!Node::of(parent).holds_volumes() || !volume)
            return reply_noted(request, Refused(volume ? EPERM : ENOENT, "volumes are removed in .control"),
                               "remove");
        self(request).spawn(self(request).remove_volume(request, std::move(volume)));
    }

    static void unlink(fuse_req_t request, fuse_ino_t, const char* name) {
        reply_noted(request,
                    Refused(EPERM, "a volume is not removed as a file", "rmdir " + control_folder(name)),
                    "remove");
    }

    static void mknod(fuse_req_t request, fuse_ino_t, const char* name, mode_t, dev_t) {
        reply_noted(
            request,
            Refused(EPERM, "files can't be made here", "mkdir " + control_folder(name) + " makes a volume"),
            "create");
    }

    static void symlink(fuse_req_t request, const char*, fuse_ino_t parent, const char* name) {
        mknod(request, parent, name, 0, 0);
    }

    static void link(fuse_req_t request, fuse_ino_t, fuse_ino_t parent, const char* name) {
        mknod(request, parent, name, 0, 0);
    }

    static void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                       const char* new_name, unsigned flags) {
        std::shared_ptr<Volume> volume = self(request).volume_in(parent, name);
        bool of_names = parent == new_parent && (parent == FUSE_ROOT_ID || Node::of(parent).holds_volumes());
        Outcome outcome;
        if (!of_names || (flags & RENAME_EXCHANGE) != 0)
            outcome = Refused(EINVAL, "only volumes are renamed, and stay where they are");
        else if (!volume)
            outcome = Refused(ENOENT, std::string("no volume '") + name + "'");
        else
            outcome = self(request).dm_.rename(*volume, new_name);
        reply_noted(request, outcome, "rename");
    }

    // Open files.

    static void open(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
        FileSystem& fs = self(request);
        Node node = Node::of(ino);
        std::shared_ptr<Volume> volume = node.id != 0 ? fs.volume_of(node) : nullptr;
        if (node.id != 0 && !volume) {
            fuse_reply_err(request, ENOENT);
        } else if (node.is_volume()) {
            open_volume(request, fs, volume);
        } else {
            auto open = std::make_shared<ControlFile>(fs.dm_.volumes().executor());
            open->node = node;
            open->volume = volume;
            open->events_seen = volume ? volume->event_number() : 0;
            if (node.kind == Kind::trace && volume) {
                open->trace = std::make_shared<Trace>(volume);
                volume->watch(open->trace);
            }
            const uint64_t handle = handle_of(open.get());
            {
                std::lock_guard guard(fs.mutex_);
                fs.open_controls_.insert(std::move(open));
            }
            reply_open(request, handle, FOPEN_DIRECT_IO);
        }
    }

    static void open_volume(fuse_req_t request, FileSystem& fs, const std::shared_ptr<Volume>& volume) {
        auto open = std::make_unique<FileSystem::OpenVolume>();
        try {
            open->counted = fs.dm_.volumes().open(volume);
        } catch (const Refused& refused) {
            static_cast<void>(fs.controls_.note(volume->id(), refused, "open"));
            fuse_reply_err(request, refused.error());
            return;
        }
        open->file = fs.file_of(volume);
        uint64_t handle = handle_of(open.get());
        {
            std::lock_guard guard(fs.mutex_);
            fs.open_volumes_.insert(open.release());
        }
        // NOFLUSH: a close has nothing to wait for; fsync is what makes durable.
        // KEEP_CACHE: else an open waits, unkillably, for mapped pages that a suspended volume is
        // reading. Who reads meets none of them, and mmap(2) itself drops them.
        reply_open(request, handle,
                   FOPEN_NOFLUSH | FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
    }

    static void release(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file) {
        FileSystem& fs = self(request);
        if (Node::of(ino).is_volume()) {
            auto* open = open_of<FileSystem::OpenVolume>(file);
            {
                std::lock_guard guard(fs.mutex_);
                fs.open_volumes_.erase(open);
            }
            delete open;
        } else {
            const std::shared_ptr<ControlFile> open = open_of<ControlFile>(file)->shared_from_this();
            {
                std::lock_guard guard(fs.mutex_);
                fs.open_controls_.erase(open);
            }
            if (open->poll != nullptr) fuse_pollhandle_destroy(open->poll);
        }
        fuse_reply_err(request, 0);
    }

    static void read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file) {
        FileSystem& fs = self(request);
        auto from = static_cast<uint64_t>(offset);
        if (Node::of(ino).is_volume())
            // The page cache, whose reads name no owner, would take a short answer for the end of the file.
            fs.spawn(fs.read_volume(request, open_of<FileSystem::OpenVolume>(file), size, from,
                                    file->lock_owner != 0));
        else if (Node::of(ino).kind == Kind::events && from == 0)
            fs.spawn(fs.read_events(request, open_of<ControlFile>(file), size));
        else if (Node::of(ino).kind == Kind::trace)
            fs.spawn(fs.read_trace(request, open_of<ControlFile>(file), size));
        else
            fs.read_control(request, *open_of<ControlFile>(file), size, from);
    }

    static void write(fuse_req_t request, fuse_ino_t ino, const char* data, size_t size, off_t offset,
                      fuse_file_info* file) {
        FileSystem& fs = self(request);
        auto from = static_cast<uint64_t>(offset);
        if (Node::of(ino).is_volume()) {
            bool durable = (file->flags & O_DSYNC) != 0 || fs.options_.sync;
            fs.spawn(
                fs.write_volume(request, open_of<FileSystem::OpenVolume>(file), data, size, from, durable));
            return;
        }
        const ControlNode* control = control_node(Node::of(ino));
        if (control == nullptr || (control->mode & 0200) == 0) {  // root passes the kernel's own check
            fuse_reply_err(request, EACCES);
            return;
        }
        if (size == 0) {
            fuse_reply_write(request, 0);
            return;
        }
        WriterFolder writer = folder_of(fuse_req_ctx(request)->pid);
        std::string text(data, size);
        // A key may be in it: it goes from the session's own buffer.
        explicit_bzero(const_cast<char*>(data), size);
        fs.spawn(
            fs.write_control(request, open_of<ControlFile>(file), std::move(text), from, std::move(writer)));
        wipe_stack();
    }

    static void flush(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file) {
        FileSystem& fs = self(request);
        // libfuse does not say here how the file was opened.
        if (Node::of(ino).is_volume())
            fuse_reply_err(request, 0);
        else
            fs.spawn(fs.close_control(request, open_of<ControlFile>(file),
                                      was_killed(fuse_req_ctx(request)->pid)));
        wipe_stack();
    }

    static void fsync(fuse_req_t request, fuse_ino_t ino, int, fuse_file_info* file) {
        FileSystem& fs = self(request);
        if (Node::of(ino).is_volume())
            fs.spawn(fs.flush_volume(request, open_of<FileSystem::OpenVolume>(file)));
        else
            fuse_reply_err(request, 0);
    }

    static void fallocate(fuse_req_t request, fuse_ino_t ino, int mode, off_t offset, off_t length,
                          fuse_file_info* file) {
        FileSystem& fs = self(request);
        int kind = mode & ~FALLOC_FL_KEEP_SIZE;
        // Never ENOSYS: the kernel would not ask again, for any volume.
        if (!Node::of(ino).is_volume() || (kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE)) {
            fuse_reply_err(request, EOPNOTSUPP);
            return;
        }
        Op op = kind == FALLOC_FL_PUNCH_HOLE ? Op::discard : Op::write_zeroes;
        fs.spawn(fs.clear_volume(request, open_of<FileSystem::OpenVolume>(file), op,
                                 static_cast<uint64_t>(offset), static_cast<uint64_t>(length)));
    }

    static void lseek(fuse_req_t request, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* file) {
        if (!Node::of(ino).is_volume() || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
            fuse_reply_err(request, EINVAL);
            return;
        }
        FileSystem& fs = self(request);
        fs.spawn(fs.seek_volume(request, open_of<FileSystem::OpenVolume>(file), static_cast<uint64_t>(offset),
                                whence == SEEK_DATA));
    }

    static void poll(fuse_req_t request, fuse_ino_t ino, fuse_file_info* file, fuse_pollhandle* handle) {
        FileSystem& fs = self(request);
        unsigned ready = POLLIN | POLLOUT;
        if (!Node::of(ino).is_volume() && Node::of(ino).kind == Kind::events) {
            auto* open = open_of<ControlFile>(file);
            std::lock_guard guard(fs.mutex_);
            std::lock_guard file_guard(open->mutex);
            if (handle != nullptr) {
                if (open->poll != nullptr) fuse_pollhandle_destroy(open->poll);
                open->poll = handle;
            }
            ready = 0;
            if (open->volume->event_number() != open->events_seen) ready = POLLIN | POLLPRI;
            if (!fs.volume_of(open->node)) ready |= POLLHUP;
        } else if (handle != nullptr) {
            fuse_pollhandle_destroy(handle);
        }
        fuse_reply_poll(request, ready);
    }
};

fuse_lowlevel_ops FileSystem::operations(bool poll) {
    fuse_lowlevel_ops ops{};
    ops.init = Operations::init;
    ops.lookup = Operations::lookup;
    ops.getattr = Operations::getattr;
    ops.setattr = Operations::setattr;
    ops.statfs = Operations::statfs;
    ops.opendir = Operations::opendir;
    ops.readdir = Operations::readdir;
    ops.releasedir = Operations::releasedir;
    ops.mkdir = Operations::mkdir;
    ops.rmdir = Operations::rmdir;
    ops.unlink = Operations::unlink;
    ops.mknod = Operations::mknod;
    ops.symlink = Operations::symlink;
    ops.link = Operations::link;
    ops.rename = Operations::rename;
    ops.open = Operations::open;
    ops.release = Operations::release;
    ops.read = Operations::read;
    ops.write = Operations::write;
    ops.flush = Operations::flush;
    ops.fsync = Operations::fsync;
    ops.fallocate = Operations::fallocate;
    ops.lseek = Operations::lseek;
    if (poll) ops.poll = Operations::poll;
    return ops;
}

}  // namespace dmfs::fs
