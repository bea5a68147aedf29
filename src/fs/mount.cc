#include "fs/mount.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/log.h"
#include "base/refused.h"
#include "dm/config.h"
#include "fs/filesystem.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace dmfs::fs {

namespace {

constexpr unsigned kFewestThreads = 2;
constexpr unsigned kMostThreads = 8;   // more only hand requests around
constexpr size_t kMostBlocking = 256;  // calls that may hang: opening and asking backings

// A session and the arguments it was made with.
class Session {
  public:
    Session(FileSystem& fs, const Options& options) {
        std::string words = "fsname=dmfs,subtype=dmfs,default_permissions";
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
        if (fuse_session_mount(session_, mountpoint.c_str()) != 0) {
            struct stat device;
            if (::stat("/dev/fuse", &device) != 0)
                throw Refused(ENODEV, "there is no /dev/fuse",
                              "load the fuse module; in a container: --device /dev/fuse");
            if (::access("/dev/fuse", R_OK | W_OK) != 0)
                throw Refused(EACCES, "/dev/fuse can't be opened", "its owner: chmod 0666 /dev/fuse");
            throw Refused(EPERM, "can't mount on " + mountpoint,
                          "you must own the folder; allow_other and allow_root need user_allow_other in "
                          "/etc/fuse.conf");
        }
        mounted_ = true;
        if (fuse_set_signal_handlers(session_) != 0) throw Refused(EINVAL, "can't handle signals");
        handles_signals_ = true;
    }

    // Until it was unmounted, or a signal came; 0, or what went wrong.
    int serve(unsigned threads) {
        fuse_loop_config* config = fuse_loop_cfg_create();
        fuse_loop_cfg_set_clone_fd(config, 1);
        fuse_loop_cfg_set_max_threads(config, threads);
        fuse_loop_cfg_set_idle_threads(config, threads);  // none is ever reaped
        int result = fuse_session_loop_mt(session_, config);
        fuse_loop_cfg_destroy(config);
        return result < 0 ? -result : 0;
    }

    void unmount() {
        if (mounted_) fuse_session_unmount(session_);
        if (handles_signals_) fuse_remove_signal_handlers(session_);
        mounted_ = handles_signals_ = false;
    }

    fuse_session* get() const { return session_; }

  private:
    fuse_session* session_ = nullptr;
    bool mounted_ = false;
    bool handles_signals_ = false;
};

// Signals go to the thread that serves; all others are made while they are blocked.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t signals;
        sigemptyset(&signals);
        for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
        pthread_sigmask(SIG_BLOCK, &signals, &before_);
    }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_;
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

std::string read_whole(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Refused(errno, "can't read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

unsigned threads_for_this_host() {
    unsigned processors = std::thread::hardware_concurrency();
    return std::clamp(processors + 2, kFewestThreads, kMostThreads);
}

// Serves until unmounted. `mounted` is called once the mount stands.
int serve(const MountOptions& wanted, const std::string& mountpoint, const std::string& start_folder,
          const std::function<void()>& mounted) {
    Options options;
    Config config;
    if (!wanted.config_path.empty()) {
        config = parse_config(read_whole(wanted.config_path), wanted.config_path);
        for (const auto& [name, value] : config.options) options.set(name, value);
    }
    options.parse(wanted.options);
    prepare_process(options);

    std::unique_ptr<Executor> executor;
    int result = 0;
    {
        auto blocked = std::make_unique<SignalsBlocked>();
        executor = make_executor(options.executor);
        executor->employ(std::thread::hardware_concurrency());
        executor->allow_blocking(kMostBlocking);
        DeviceMapper dm(*executor, mountpoint, {options.direct, options.space()});
        FileSystem fs(dm, options, start_folder);
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
        mounted();
        blocked.reset();
        result = session.serve(threads);
        bool finished = fs.finish();
        session.unmount();
        fs.stop_notices();
        // What is still under way at a disk that does not answer uses all of this.
        if (!finished) _exit(1);
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
    std::string start_folder = std::filesystem::current_path();
    if (wanted.foreground) return serve(wanted, mountpoint, start_folder, [] {});

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
    return serve(wanted, mountpoint, start_folder, [&] {
        if (chdir("/") != 0) log_line(Severity::warning, "can't leave the folder this began in");
        detach_from_terminal();
        if (write(status_pipe[1], "m", 1) != 1) log_line(Severity::warning, "whoever mounted this is gone");
        close(status_pipe[1]);
    });
}

}  // namespace dmfs::fs
