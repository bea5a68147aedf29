// floor: the least that a FUSE filesystem can do for a disk image.
//
//   floor [--direct] [--threads N] [--idle N] MNT FILE...
//
// Shows FILE i as MNT/f<i> (MNT/f0, MNT/f1, ...) and answers every read with
// one pread and every write with one pwrite, on the thread that took the
// request. Nothing is looked up, locked, split or counted, so no FUSE
// filesystem that goes through libfuse's loop and plain system calls can do
// the same job with less: it is what dmfs is measured against.
//
// --direct opens the files with O_DIRECT; offsets and lengths are then the
// caller's to align, as on a disk. --threads and --idle change libfuse's own
// defaults (ten threads, none of which ever ends) for experiments.
//
// It stays in the foreground until it is unmounted or gets SIGINT or SIGTERM.
// Files keep the length they have when it starts.

#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/falloc.h>
#include <linux/fuse.h>  // fuse_open_out and the FOPEN_ flags
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t max_request_bytes = size_t{1} << 20;
constexpr size_t page_bytes = 4096;
constexpr unsigned max_background = 64;
constexpr double forever_seconds = 1e9;  // lengths and names never change
constexpr fuse_ino_t first_file_ino = FUSE_ROOT_ID + 1;

struct Backing {
    int fd;
    struct stat attr;
};

// Set once before the loop starts, only read afterwards.
std::vector<Backing> backings;
bool direct = false;

const Backing* backing_of(fuse_ino_t ino) {
    if (ino < first_file_ino || ino - first_file_ino >= backings.size()) return nullptr;
    return &backings[ino - first_file_ino];
}

std::string name_of(size_t index) { return "f" + std::to_string(index); }

struct stat root_attr() {
    struct stat attr {};
    attr.st_ino = FUSE_ROOT_ID;
    attr.st_mode = S_IFDIR | 0700;
    attr.st_nlink = 2;
    attr.st_uid = getuid();
    attr.st_gid = getgid();
    return attr;
}

// A page-aligned buffer of the largest request, one for each thread.
char* thread_buffer() {
    struct Free {
        void operator()(char* memory) const { std::free(memory); }
    };
    thread_local const std::unique_ptr<char, Free> buffer(
        static_cast<char*>(std::aligned_alloc(page_bytes, max_request_bytes)));
    return buffer.get();
}

// libfuse asks for AUTO_INVAL_DATA by default; with it every write makes the
// next reader ask for the attributes again, which costs most of a mixed load.
void init(void*, fuse_conn_info* conn) {
    conn->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
                                         FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    conn->want |= conn->capable & FUSE_CAP_ASYNC_DIO;
    conn->max_write = max_request_bytes;
    conn->max_read = max_request_bytes;  // must also be a mount option: see main
    conn->max_readahead = max_request_bytes;
    conn->max_background = max_background;
    conn->congestion_threshold = max_background * 3 / 4;
}

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
    const std::string_view text(name);
    size_t index = 0;
    if (parent != FUSE_ROOT_ID || text.size() < 2 || text[0] != 'f') {
        fuse_reply_err(req, ENOENT);
        return;
    }
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), index);
    if (error != std::errc{} || end != text.data() + text.size() || index >= backings.size()) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    fuse_entry_param entry{};
    entry.ino = first_file_ino + index;
    entry.attr = backings[index].attr;
    entry.attr_timeout = entry.entry_timeout = forever_seconds;
    fuse_reply_entry(req, &entry);
}

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
    const Backing* backing = backing_of(ino);
    const struct stat attr = backing ? backing->attr : root_attr();
    fuse_reply_attr(req, &attr, forever_seconds);
}

void readdir(fuse_req_t req, fuse_ino_t, size_t bytes, off_t from, fuse_file_info*) {
    std::vector<char> list(bytes);
    size_t used = 0;
    for (size_t i = static_cast<size_t>(from); i < backings.size(); i++) {
        const size_t need = fuse_add_direntry(req, list.data() + used, bytes - used, name_of(i).c_str(),
                                              &backings[i].attr, static_cast<off_t>(i + 1));
        if (need > bytes - used) break;
        used += need;
    }
    fuse_reply_buf(req, list.data(), used);
}

// libfuse 3.14 has no field for FOPEN_PARALLEL_DIRECT_WRITES, without which
// the kernel sends the writes of one file one after another. So the reply is
// made here instead of by fuse_reply_open.
void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
    if (!backing_of(ino)) {
        fuse_reply_err(req, EISDIR);
        return;
    }
    fuse_open_out reply{};
    reply.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH;
    fuse_reply_buf(req, reinterpret_cast<const char*>(&reply), sizeof reply);
}

void read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset, fuse_file_info*) {
    char* buffer = thread_buffer();
    const ssize_t got = pread(backing_of(ino)->fd, buffer, std::min(bytes, max_request_bytes), offset);
    if (got < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    fuse_reply_buf(req, buffer, static_cast<size_t>(got));
}

// The payload lies 80 bytes into libfuse's receive buffer: good enough for the
// page cache, but O_DIRECT wants it aligned.
void write(fuse_req_t req, fuse_ino_t ino, const char* data, size_t bytes, off_t offset, fuse_file_info*) {
    if (direct) data = static_cast<const char*>(std::memcpy(thread_buffer(), data, bytes));
    const ssize_t put = pwrite(backing_of(ino)->fd, data, bytes, offset);
    if (put < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    fuse_reply_write(req, static_cast<size_t>(put));
}

void fsync(fuse_req_t req, fuse_ino_t ino, int datasync, fuse_file_info*) {
    const int fd = backing_of(ino)->fd;
    fuse_reply_err(req, (datasync ? fdatasync(fd) : ::fsync(fd)) < 0 ? errno : 0);
}

void fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t bytes, fuse_file_info*) {
    const int error =
        ::fallocate(backing_of(ino)->fd, mode | FALLOC_FL_KEEP_SIZE, offset, bytes) < 0 ? errno : 0;
    fuse_reply_err(req, error);
}

bool open_backing(const char* path) {
    Backing backing{};
    backing.fd = ::open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (backing.fd < 0 || fstat(backing.fd, &backing.attr) < 0) {
        std::fprintf(stderr, "floor: %s: %s\n", path, std::strerror(errno));
        return false;
    }
    if (!S_ISREG(backing.attr.st_mode)) {
        std::fprintf(stderr, "floor: %s: not a regular file\n", path);
        return false;
    }
    backing.attr.st_ino = first_file_ino + backings.size();
    backings.push_back(backing);
    return true;
}

// Mounts, serves until unmounted or told to stop, and cleans up. True if all went well.
bool serve(const char* mountpoint, const fuse_loop_config* config) {
    fuse_lowlevel_ops ops{};
    ops.init = init;
    ops.lookup = lookup;
    ops.getattr = getattr;
    ops.readdir = readdir;
    ops.open = open;
    ops.read = read;
    ops.write = write;
    ops.fsync = fsync;
    ops.fallocate = fallocate;

    const std::string options = "fsname=floor,subtype=floor,max_read=" + std::to_string(max_request_bytes);
    const char* argv[] = {"floor", "-o", options.c_str(), nullptr};
    fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(argv));
    fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, nullptr);
    fuse_opt_free_args(&args);
    if (!session) return false;
    bool ok = false;
    if (fuse_set_signal_handlers(session) == 0) {
        if (fuse_session_mount(session, mountpoint) == 0) {
            const int result = fuse_session_loop_mt(session, const_cast<fuse_loop_config*>(config));
            ok = result >= 0;  // > 0: ended by a signal
            fuse_session_unmount(session);
        }
        fuse_remove_signal_handlers(session);
    }
    fuse_session_destroy(session);
    return ok;
}

std::optional<unsigned> number(const char* text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
    if (error != std::errc{} || *end) return std::nullopt;
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    fuse_loop_config* config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 1);
    bool usage_error = false;
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && !usage_error; i++) {
        const std::string_view word(argv[i]);
        const auto value = i + 1 < argc ? number(argv[i + 1]) : std::nullopt;
        if (word == "--direct") {
            direct = true;
        } else if (word == "--threads" && value) {
            fuse_loop_cfg_set_max_threads(config, *value);
            i++;
        } else if (word == "--idle" && value) {
            fuse_loop_cfg_set_idle_threads(config, *value);
            i++;
        } else {
            usage_error = true;
        }
    }
    if (usage_error || argc - i < 2) {
        std::fprintf(stderr, "usage: floor [--direct] [--threads N] [--idle N] MNT FILE...\n");
        return 2;
    }
    const char* mountpoint = argv[i++];
    for (; i < argc; i++)
        if (!open_backing(argv[i])) return 1;
    const bool ok = serve(mountpoint, config);
    fuse_loop_cfg_destroy(config);
    return ok ? 0 : 1;
}
