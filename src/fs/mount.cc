#include "fs/mount.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/log.h"
#include "base/mount_rights.h"
#include "base/refused.h"
#include "dm/config.h"
#include "engine/backings.h"
#include "fs/filesystem.h"
#include "fs/init_flags.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace dmfs::fs {

namespace {

constexpr unsigned kFewestThreads = 2;
constexpr unsigned kMostThreads = 8;    // more only hand requests around
constexpr size_t kMostBlocking = 256;   // calls that may hang: opening and asking backings
constexpr size_t kMostOperating = 512;  // requests to backings that are slow

// The threads that take requests: libfuse's loop, perhaps several of them, each on a thread of
// its own. None is joined: one that hangs in a backing would hold up the end of the mount.
class Loops {
  public:
    Loops() : ended_(eventfd(0, EFD_CLOEXEC)) {}

    // Adds `threads` that take requests. Throws Refused.
    static void start(const std::shared_ptr<Loops>& loops, fuse_session* session, unsigned threads) {
        {
            std::lock_guard guard(loops->mutex_);
            loops->running_++;
        }
        try {
            std::thread([loops, session, threads] { loops->run(session, threads); }).detach();
        } catch (const std::system_error& error) {
            std::lock_guard guard(loops->mutex_);
            loops->running_--;
            throw Refused(error.code().value(), "no more threads can be had",
                          "a higher limit (docker: --pids-limit; ulimit -u)");
        }
    }
    // Readable once one of them has ended.
    int ended() const { return ended_; }
    int error() {
        std::lock_guard guard(mutex_);
        return error_;
    }
    // Ends all. False: one still hangs.
    bool stop(fuse_session* session, std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex_);
        auto until = std::chrono::steady_clock::now() + patience;
        while (running_ > 0 && std::chrono::steady_clock::now() < until) {
            fuse_session_exit(session);  // anew each time: a loop that ends takes it back
            // libfuse looks for the end of the session when its wait is interrupted.
            for (pthread_t thread : threads_) pthread_kill(thread, SIGURG);
            changed_.wait_for(lock, std::chrono::milliseconds(10), [this] { return running_ == 0; });
        }
        fuse_session_exit(session);  // so that libfuse says nothing of clients that are gone
        return running_ == 0;
    }

  private:
    static constexpr int kNoThread = -1;  // libfuse's answer where it can make none

    void run(fuse_session* session, unsigned threads) {
        {
            std::lock_guard guard(mutex_);
            threads_.push_back(pthread_self());
        }
        fuse_loop_config* config = fuse_loop_cfg_create();
        fuse_loop_cfg_set_clone_fd(config, 1);
        fuse_loop_cfg_set_max_threads(config, threads);
        fuse_loop_cfg_set_idle_threads(config, threads);  // none is ever reaped
        int result = fuse_session_loop_mt(session, config);
        fuse_loop_cfg_destroy(config);
        std::lock_guard guard(mutex_);
        std::erase_if(threads_, [](pthread_t each) { return pthread_equal(each, pthread_self()); });
        running_--;
        if (result == kNoThread && running_ > 0) {  // the others go on
            log_line(Severity::error, "there is no thread to take requests: one fewer takes them");
            return;
        }
        if (result < 0) error_ = -result;
        eventfd_write(ended_, 1);
        changed_.notify_all();
    }

    const int ended_;  // never closed: a loop may write to it at the very end
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<pthread_t> threads_;
    unsigned running_ = 0;
    int error_ = 0;
};

// As a word of libfuse's options.
std::string quoted(const std::string& word) {
    std::string out;
    for (char c : word) {
        if (c == ',' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

// Why libfuse could not mount, which it has said in its own words, if at all.
[[noreturn]] void refuse_mounting(const std::string& mountpoint, bool allows_others) {
    const std::string what = "can't mount on " + mountpoint;
    struct stat device;
    if (::stat("/dev/fuse", &device) != 0)
        throw Refused(ENODEV, "there is no /dev/fuse",
                      "load the fuse module; in a container: --device /dev/fuse");
    OpenFile fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!fuse.good() && errno == EPERM)
        throw Refused(EPERM, "/dev/fuse can't be opened: it is none of this container's devices",
                      "docker or podman: --device /dev/fuse");
    if (!fuse.good()) throw Refused(errno, "/dev/fuse can't be opened", "its owner: chmod 0666 /dev/fuse");
    if (std::optional<MountTrouble> trouble = mount_trouble(MountRights::mine()))
        throw Refused(EPERM, what + ": " + trouble->why, trouble->mend);
    if (::geteuid() == 0)
        throw Refused(EPERM, what,
                      "in a container its AppArmor profile may forbid it: --security-opt "
                      "apparmor=unconfined; `dmfs doctor` looks at the rest");
    struct stat folder;
    if (::stat(mountpoint.c_str(), &folder) == 0 && folder.st_uid != ::geteuid() &&
        ::access(mountpoint.c_str(), W_OK) != 0)
        throw Refused(EPERM, what, "a folder that you may write to");
    throw Refused(EPERM, what,
                  allows_others ? "allow_other and allow_root need user_allow_other in /etc/fuse.conf"
                                : "fusermount3 says why; `dmfs doctor` looks at what it needs");
}

#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
void allow_shared_mmap(fuse_session*) {}  // Operations::init does
#else
// Shared mmap of files that nobody caches (FUSE_DIRECT_IO_ALLOW_MMAP; Linux 6.6), past libfuse.
InitFlags init_flags(1U << (36 - 32));

void allow_shared_mmap(fuse_session* session) {
    fuse_custom_io io{};
    io.read = [](int fd, void* message, size_t most, void*) {
        ssize_t got = ::read(fd, message, most);
        if (got > 0) init_flags.request_read(message, static_cast<size_t>(got));
        return got;
    };
    io.writev = [](int fd, iovec* parts, int count, void*) {
        init_flags.answer_written(parts, count);
        return ::writev(fd, parts, count);
    };
    if (int result = fuse_session_custom_io(session, &io, fuse_session_fd(session)); result < 0)
        throw Refused(-result, "libfuse takes no functions for its I/O");
}
#endif

// A session and the arguments it was made with.
class Session {
  public:
    Session(FileSystem& fs, const Options& options)
        : shared_mmap_(options.shared_mmap), allows_others_(options.allow_other || options.allow_root) {
        std::string words = "fsname=" + quoted(options.source) + ",subtype=dmfs,default_permissions";
        if (options.sync) words += ",sync";
        if (options.auto_unmount) words += ",auto_unmount";
        if (options.allow_other) words += ",allow_other";
        if (options.allow_root) words += ",allow_root";
        const char* argv[] = {"dmfs", "-o", words.c_str()};
        fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(argv));
        fuse_lowlevel_ops operations = FileSystem::operations(options.poll);
        session_ = fuse_session_new(&args, &operations, sizeof operations, &fs);
        fuse_opt_free_args(&args);
        if (session_ == nullptr) throw Refused(EINVAL, "libfuse takes no session");
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() {
        unmount();
        fuse_session_destroy(session_);
    }

    void mount(const std::string& mountpoint) {
        if (fuse_session_mount(session_, mountpoint.c_str()) != 0)
            refuse_mounting(mountpoint, allows_others_);
        mounted_ = true;
        if (shared_mmap_) allow_shared_mmap(session_);
    }

    void serve(unsigned threads) { Loops::start(loops_, session_, threads); }
    Loops& loops() { return *loops_; }

    // Takes no request any more. False: a thread hangs in one.
    bool stop() { return loops_->stop(session_, kStopPatience); }
    // Nobody can come to it any more; those who are there can go on.
    void unmount() {
        if (mounted_) fuse_session_unmount(session_);
        mounted_ = false;
    }
    // Whoever still waits for an answer gets ENOTCONN: without its descriptors the connection is
    // gone, whatever the threads hang in that had them. Their numbers stay taken, so that a late
    // answer goes nowhere, and not into a file that was opened since.
    static void cut() {
        int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code error;
            if (std::filesystem::read_symlink(entry.path(), error) == "/dev/fuse")
                dup3(nowhere, atoi(entry.path().filename().c_str()), O_CLOEXEC);
        }
        close(nowhere);
    }

    fuse_session* get() const { return session_; }

  private:
    static constexpr std::chrono::milliseconds kStopPatience{1000};

    const bool shared_mmap_;
    fuse_session* session_ = nullptr;
    std::shared_ptr<Loops> loops_ = std::make_shared<Loops>();
    const bool allows_others_;
    bool mounted_ = false;
};

// The signals that end a mount go to the thread that waits for its end; all threads are made
// while they are blocked.
class EndSignals {
  public:
    EndSignals() {
        sigset_t all, ending;
        sigemptyset(&ending);
        for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&ending, signal);
        all = ending;
        sigaddset(&all, SIGQUIT);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        came_ = signalfd(-1, &ending, SFD_CLOEXEC);
        signal(SIGPIPE, SIG_IGN);
        struct sigaction interrupt {};  // without SA_RESTART: see Loops::stop()
        interrupt.sa_handler = [](int) {};
        sigaction(SIGURG, &interrupt, nullptr);
    }
    EndSignals(const EndSignals&) = delete;
    EndSignals& operator=(const EndSignals&) = delete;
    // They stay blocked: what comes while the process ends changes nothing.
    ~EndSignals() { close(came_); }

    // All threads are there: what ends a process at once may.
    void let_quit() {
        sigset_t quit;
        sigemptyset(&quit);
        sigaddset(&quit, SIGQUIT);
        pthread_sigmask(SIG_UNBLOCK, &quit, nullptr);
    }
    // Until one came, or `other` is readable.
    void wait(int other) {
        pollfd waiting[2] = {{came_, POLLIN, 0}, {other, POLLIN, 0}};
        while (poll(waiting, 2, -1) < 0 && errno == EINTR) {
        }
    }

  private:
    int came_ = -1;
};

// The kernel (6.15 and later) can be told to abort a whole mount when one request
// takes too long. 0: it was not.
long sysctl_seconds(const char* path) {
    std::ifstream file(path);
    long value = 0;
    file >> value;
    return value;
}

// What a daemon below a block device owes its host.
void prepare_process(Options& options) {
    rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    // Memory the daemon asks for must not be freed by writing to its own volumes, and
    // what it has must not be swapped to them. Threads inherit both. A user without
    // rights has neither, nor loop devices that would need it.
    if (geteuid() == 0) {
        if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0)
            log_line(Severity::warning, std::string("can't be an I/O flusher (CAP_SYS_RESOURCE): ") +
                                            strerror(errno) +
                                            "; a loop device over a volume may hang when memory is short");
        if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
            log_line(Severity::warning, std::string("memory can't be locked: ") + strerror(errno));
    }
    // Data of volumes is in this memory.
    rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    for (const char* timeout :
         {"/proc/sys/fs/fuse/default_request_timeout", "/proc/sys/fs/fuse/max_request_timeout"})
        if (long seconds = sysctl_seconds(timeout); seconds > 0)
            if (options.park_seconds == 0 || options.park_seconds > seconds / 2) {
                options.park_seconds = static_cast<unsigned>(std::max(1L, seconds / 2));
                log_line(Severity::warning,
                         std::string(timeout) + " is " + std::to_string(seconds) +
                             ": requests of a suspended volume fail after " +
                             std::to_string(options.park_seconds) +
                             " seconds (park_timeout), or the kernel would abort this mount");
            }
}

[[noreturn]] void throw_unmountable(const std::string& folder, int error) {
    if (error == ENOTCONN)
        throw Refused(error, folder + " is a mount whose process is gone",
                      "`dmfs umount " + folder + "` takes it away");
    throw Refused(error, "can't mount on " + folder,
                  error == ENOENT ? "`mkdir " + folder + "` makes the folder" : "");
}

std::string absolute_folder(const std::string& folder) {
    char resolved[PATH_MAX];
    if (realpath(folder.c_str(), resolved) == nullptr) {
        throw_unmountable(folder, errno);
    }
    struct stat found;
    if (::stat(resolved, &found) != 0) throw_unmountable(folder, errno);
    if (!S_ISDIR(found.st_mode)) throw Refused(ENOTDIR, "can't mount on " + folder, "a folder");
    return resolved;
}

std::string config_text(const std::string& path) {
    std::string text;
    if (int error = read_whole(path, &text); error != 0) throw Refused(error, "can't read " + path);
    return text;
}

unsigned threads_for_this_host() {
    unsigned processors = std::thread::hardware_concurrency();
    return std::clamp(processors + 2, kFewestThreads, kMostThreads);
}

// First everybody gets an answer, then what was written becomes durable. False: what is still
// under way at something that does not answer uses all that there is here.
bool end(Executor& executor, FileSystem& fs, Session& session) {
    session.unmount();
    fs.end_drops();
    bool stopped = session.stop();
    bool answered = fs.answer_all();
    if (!stopped && answered) stopped = session.stop();
    if (!stopped || !answered) Session::cut();
    bool finished = fs.finish();
    stopped = stopped || session.stop();
    executor.backings().unwatch();
    return fs.stop_notices() && finished && stopped;
}

// Serves until unmounted. `mounted` is called once the mount stands.
int serve(const MountOptions& wanted, const std::string& mountpoint, const std::function<void()>& mounted) {
    Options options;
    Config config;
    if (!wanted.config_path.empty()) {
        config = parse_config(config_text(wanted.config_path), wanted.config_path);
        for (const auto& [name, value] : config.options) options.set(name, value);
    }
    options.source = wanted.source;
    options.sloppy = wanted.sloppy;
    options.parse(wanted.options);
    prepare_process(options);

    std::unique_ptr<Executor> executor;
    int result = 0;
    {
        EndSignals signals;
        executor = make_executor(options.executor);
        executor->employ(std::thread::hardware_concurrency());
        executor->allow_blocking(kMostBlocking);
        executor->allow_operating(kMostOperating);
        DeviceMapper dm(*executor, mountpoint, {options.direct, options.space()});
        FileSystem fs(dm, options);
        if (!wanted.config_path.empty()) {
            std::string folder = std::filesystem::absolute(wanted.config_path).parent_path();
            dm.create_configured(config, wanted.config_path, folder);
            config = {};  // keys may be in its tables
        }
        Session session(fs, options);
        session.mount(mountpoint);
        fs.set_session(session.get());
        // One thread always stays free to take requests, such as the one that ends
        // what the others wait for.
        unsigned threads = options.threads != 0 ? options.threads : threads_for_this_host();
        executor->allow_inline(static_cast<int>(threads) - 1);
        executor->backings().watch([&session] { session.serve(1); });
        session.serve(threads);
        signals.let_quit();
        mounted();
        signals.wait(session.loops().ended());
        result = session.loops().error();
        if (!end(*executor, fs, session)) _exit(1);
    }
    return result == 0 ? 0 : 1;
}

// The parent of a daemon: waits until the mount stands, or the child has said why not.
int wait_for(pid_t child, int status_pipe) {
    char word = 0;
    ssize_t got = 0;
    do got = read(status_pipe, &word, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1) return 0;
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

void detach_from_terminal() {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
    close(null);
    log_to_stderr(false);
}

}  // namespace

int mount(const MountOptions& wanted) {
    // Nothing that is opened from here on may stand where output goes.
    int null = -1;
    do null = open("/dev/null", O_RDWR);
    while (null >= 0 && null <= STDERR_FILENO);
    close(null);
    signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of one write: EFBIG

    std::string mountpoint = absolute_folder(wanted.mountpoint);
    if (wanted.foreground) return serve(wanted, mountpoint, [] {});

    // Forked before anything has a thread.
    int status_pipe[2];
    if (pipe2(status_pipe, O_CLOEXEC) != 0) throw Refused(errno, "can't make a pipe");
    pid_t child = fork();
    if (child < 0) throw Refused(errno, "can't fork");
    if (child > 0) {
        close(status_pipe[1]);
        return wait_for(child, status_pipe[0]);
    }
    close(status_pipe[0]);
    setsid();
    return serve(wanted, mountpoint, [&] {
        if (chdir("/") != 0) log_line(Severity::warning, "can't leave the folder this began in");
        detach_from_terminal();
        if (write(status_pipe[1], "m", 1) != 1) log_line(Severity::warning, "whoever mounted this is gone");
        close(status_pipe[1]);
    });
}

}  // namespace dmfs::fs
