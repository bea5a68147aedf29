// replay: reads the log that the target log-writes has written, and repeats it on a file:
// the state that the device had at any point of it.
//
//     LOG   | super | 1 write | 2 write | 3 flush | 4 write | 5 mark "x" |
//           --to 3: ------------------------------^         FILE has the writes 1 and 2
//           --after flush --exec COMMAND: runs COMMAND FILE there, and stops if it fails
//
// No mount is needed. A log may come from anywhere: nothing in it is believed unchecked.

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "base/words.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "formats/write_log.h"

namespace dmfs::cli {

namespace {

using write_log::Record;

constexpr uint64_t kPiece = 1 << 20;  // bytes copied at a time

class File {
  public:
    File(const std::string& path, int flags)
        : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
        if (fd_ < 0) throw Refused(errno, "cannot open " + path);
        if (::fstat(fd_, &found_) != 0) throw Refused(errno, "cannot stat " + path);
        if (!S_ISREG(found_.st_mode) && !S_ISBLK(found_.st_mode))
            throw Refused(ENOTBLK, path + " is neither a file nor a block device");
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() { ::close(fd_); }

    uint64_t bytes() const {
        off_t end = ::lseek(fd_, 0, SEEK_END);
        return end < 0 ? 0 : static_cast<uint64_t>(end);
    }
    bool same_as(const File& other) const {
        if (S_ISBLK(found_.st_mode) && S_ISBLK(other.found_.st_mode))
            return found_.st_rdev == other.found_.st_rdev;
        return found_.st_dev == other.found_.st_dev && found_.st_ino == other.found_.st_ino;
    }

    // As much of `bytes` as there is.
    size_t read(void* to, size_t bytes, uint64_t at) const {
        size_t done = 0;
        while (done < bytes) {
            ssize_t got =
                ::pread(fd_, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(at + done));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) throw Refused(errno, "cannot read " + path_);
            if (got == 0) break;
            done += static_cast<size_t>(got);
        }
        return done;
    }
    void write(const void* from, size_t bytes, uint64_t at) const {
        for (size_t done = 0; done < bytes;) {
            ssize_t put = ::pwrite(fd_, static_cast<const char*>(from) + done, bytes - done,
                                   static_cast<off_t>(at + done));
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) throw Refused(put < 0 ? errno : ENOSPC, "cannot write " + path_);
            done += static_cast<size_t>(put);
        }
    }
    // [at, at + bytes) of what there is reads as zeros.
    void discard(uint64_t at, uint64_t bytes) const {
        uint64_t end = std::min(at + bytes, this->bytes());
        if (at >= end) return;
        if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                        static_cast<off_t>(end - at)) == 0)
            return;
        std::vector<char> zeros(std::min(end - at, kPiece));
        for (; at < end; at += zeros.size())
            write(zeros.data(), std::min<uint64_t>(end - at, zeros.size()), at);
    }

  private:
    std::string path_;
    int fd_;
    struct stat found_ {};
};

// A log, read from its first entry to its last.
class Log {
  public:
    explicit Log(const std::string& path)
        : file_(path, O_RDONLY), super_(read_super(file_)), buffer_(kPiece) {}

    const write_log::Super& super() const { return super_; }
    const File& file() const { return file_; }

    // Until `visit` says no more. Throws Refused where the log is damaged.
    void each(const std::function<bool(const Record&)>& visit) {
        write_log::Walk walk(super_, file_.bytes());
        std::vector<std::byte> block(super_.sectorsize);
        while (walk.more()) {
            size_t got = file_.read(block.data(), block.size(), walk.at());
            if (!visit(walk.take({block.data(), got}))) return;
        }
    }

    // Repeats one entry on `onto`.
    void repeat(const Record& record, const File& onto) {
        uint64_t at = record.entry.sector * super_.sectorsize;
        if ((record.entry.flags & write_log::kDiscard) != 0)
            onto.discard(at, record.entry.sectors * super_.sectorsize);
        for (uint64_t done = 0; done < record.data_bytes;) {
            size_t piece = std::min<uint64_t>(record.data_bytes - done, kPiece);
            if (file_.read(buffer_.data(), piece, record.data_at + done) != piece)
                throw Refused(EBADMSG, "the log became shorter");
            onto.write(buffer_.data(), piece, at + done);
            done += piece;
        }
    }

  private:
    static write_log::Super read_super(const File& file) {
        std::byte block[kSectorBytes];
        size_t got = file.read(block, sizeof block, 0);
        return write_log::decode_super({block, got});
    }

    File file_;
    write_log::Super super_;
    std::vector<std::byte> buffer_;
};

bool is_mark(const Record& record, const std::string& text) {
    return (record.entry.flags & write_log::kMark) != 0 && record.entry.mark == text;
}

// The first mark of this text, at entry `from` or after it. Throws Refused.
Record mark_in(Log& log, const std::string& text, uint64_t from) {
    std::optional<Record> found;
    log.each([&](const Record& record) {
        if (record.number >= from && is_mark(record, text)) found = record;
        return !found;
    });
    if (!found) throw Refused(ENOENT, "no mark '" + text + "' in the log", "--list shows those there are");
    return *found;
}

// Which entries are meant: [from, to].
struct Range {
    uint64_t from, to;

    bool begun(const Record& record) const { return record.number >= from; }
    bool ends_with(const Record& record) const { return record.number == to; }
};

Range range_of(Log& log, const Options& options) {
    uint64_t entries = log.super().entries;
    Range range{options.from.value_or(1), options.to.value_or(entries)};
    auto refuse = [&](uint64_t number) {
        throw Refused(EINVAL, fmt::format("entry {} is not in the log", number),
                      entries == 0 ? "it has none" : fmt::format("1 to {}", entries));
    };
    if (options.to && options.to_mark)
        throw Refused(EINVAL, "two ends were given", "either --to or --to-mark");
    // Right after the last there is nothing, yet.
    if (range.from == 0 || range.from > entries + 1) refuse(range.from);
    if (options.to && (*options.to == 0 || *options.to > entries)) refuse(*options.to);
    if (options.to && *options.to < range.from)
        throw Refused(EINVAL, fmt::format("entry {} stands before entry {}", *options.to, range.from),
                      "--to is at least --from");
    if (options.to_mark) range.to = std::min(range.to, mark_in(log, *options.to_mark, range.from).number);
    return range;
}

std::string words_of(const Record& record) {
    std::string words = write_log::words_of(record.entry.flags);
    if ((record.entry.flags & write_log::kMark) != 0) words += " " + quote_word(record.entry.mark);
    return words;
}

Json json_of(const Record& record, uint64_t block) {
    Json flags = Json::array();
    for (const Word& word : split_words(write_log::words_of(record.entry.flags))) flags.push_back(word.text);
    Json out{{"number", record.number},
             {"sector", record.entry.sector * block / kSectorBytes},
             {"sectors", record.entry.sectors * block / kSectorBytes},
             {"flags", flags}};
    if ((record.entry.flags & write_log::kMark) != 0) out["mark"] = record.entry.mark;
    return out;
}

int list(Log& log, const Options& options) {
    Range range = range_of(log, options);
    uint64_t block = log.super().sectorsize;
    Json entries = Json::array();
    if (!options.json) fmt::print("{:>8} {:>12} {:>8}  {}\n", "entry", "sector", "sectors", "what");
    log.each([&](const Record& record) {
        if (range.begun(record) && options.json) entries.push_back(json_of(record, block));
        if (range.begun(record) && !options.json) {
            bool placed = record.entry.sectors != 0;
            fmt::print("{:>8} {:>12} {:>8}  {}\n", record.number,
                       placed ? std::to_string(record.entry.sector * block / kSectorBytes) : "-",
                       placed ? std::to_string(record.entry.sectors * block / kSectorBytes) : "-",
                       words_of(record));
        }
        return !range.ends_with(record);
    });
    if (options.json) print_json({{"sectorsize", block}, {"entries", entries}});
    return 0;
}

int check(Log& log, const Options& options) {
    uint64_t entries = 0, marks = 0, data = 0, end = log.super().sectorsize;
    bool closed = false;
    log.each([&](const Record& record) {
        bool mark = (record.entry.flags & write_log::kMark) != 0;
        closed = is_mark(record, write_log::kEndMark);
        entries++;
        marks += mark;
        data += record.data_bytes;
        end = record.data_at + record.data_bytes;
        return true;
    });
    if (options.json)
        print_json({{"sectorsize", log.super().sectorsize},
                    {"entries", entries},
                    {"marks", marks},
                    {"data", data},
                    {"end", end},
                    {"closed", closed}});
    else
        fmt::print("{} entries, {} of them marks, {} bytes of data; it ends at sector {}{}\n", entries, marks,
                   data, end / kSectorBytes, closed ? "" : ", without the mark of its end");
    return 0;
}

int find_mark(Log& log, const Options& options) {
    Record found = mark_in(log, *options.find_mark, options.from.value_or(1));
    if (options.json)
        print_json(json_of(found, log.super().sectorsize));
    else
        fmt::print("{}\n", found.number);
    return 0;
}

// The points after which --exec runs.
std::function<bool(const Record&)> points_of(const Options& options) {
    if (!options.exec && !options.after) return [](const Record&) { return false; };
    if (!options.exec) throw Refused(EINVAL, "--after says when, but not what to run", "--exec COMMAND");
    uint64_t flags = 0;
    bool every = !options.after;
    std::string list = options.after.value_or("");
    for (size_t at = 0; at < list.size() || (options.after && list.empty());) {
        size_t comma = std::min(list.find(',', at), list.size());
        std::string point = list.substr(at, comma - at);
        at = comma + 1;
        if (point == "entry")
            every = true;
        else if (point == "flush")
            flags |= write_log::kFlush;
        else if (point == "fua")
            flags |= write_log::kFua;
        else if (point == "mark")
            flags |= write_log::kMark;
        else
            throw Refused(EINVAL, "--after '" + point + "' is no point of a log",
                          "entry, flush, fua or mark");
    }
    return [=](const Record& record) { return every || (record.entry.flags & flags) != 0; };
}

// Runs the shell's COMMAND with the file's name after it; its exit code.
int run_command(const std::string& command, const std::string& file, const Record& record) {
    ::setenv("DMFS_ENTRY", std::to_string(record.number).c_str(), 1);
    ::setenv("DMFS_WHAT", write_log::words_of(record.entry.flags).c_str(), 1);
    ::setenv("DMFS_MARK", record.entry.mark.c_str(), 1);
    std::string script = command + " \"$@\"", shell = "sh", option = "-c", name = file;
    char* argv[] = {shell.data(), option.data(), script.data(), shell.data(), name.data(), nullptr};
    fflush(stdout);
    pid_t child = 0;
    int error = posix_spawn(&child, "/bin/sh", nullptr, nullptr, argv, environ);
    if (error != 0) throw Refused(error, "cannot run /bin/sh");
    int result = 0;
    while (waitpid(child, &result, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
}

int repeat(Log& log, const Options& options) {
    Range range = range_of(log, options);
    std::function<bool(const Record&)> is_point = points_of(options);
    File onto(*options.onto, O_RDWR | O_CREAT);
    if (onto.same_as(log.file())) throw Refused(EINVAL, "the log cannot be replayed onto itself");
    Progress progress;
    uint64_t repeated = 0, runs = 0, last = 0;
    int code = 0;
    log.each([&](const Record& record) {
        if (!range.begun(record)) return !range.ends_with(record);
        if (progress.due()) progress.text(fmt::format("replay: entry {} of {}", record.number, range.to));
        log.repeat(record, onto);
        repeated++;
        last = record.number;
        if (is_point(record)) {
            runs++;
            code = run_command(*options.exec, *options.onto, record);
            if (code != 0)
                fmt::print(stderr, "dmfs: replay: after entry {} ({}): {}: exit code {}\n", record.number,
                           words_of(record), *options.exec, code);
        }
        return !range.ends_with(record) && code == 0;
    });
    if (options.json)
        print_json({{"replayed", repeated}, {"last", last}, {"runs", runs}, {"code", code}});
    else if (options.exec)
        fmt::print("{} entries replayed, up to entry {}; {}{} runs{}\n", repeated, last,
                   code == 0 ? "" : "the last of ", runs, code == 0 ? "" : " failed");
    else
        fmt::print("{} entries replayed, up to entry {}\n", repeated, last);
    return code;
}

}  // namespace

int replay(Invocation& invocation) {
    const Options& options = invocation.options;
    if (options.list + options.check + options.find_mark.has_value() + options.onto.has_value() > 1)
        throw Refused(EINVAL, "several things at once", "one of --list, --check, --find-mark, --onto");
    if (!options.onto && (options.after || options.exec))
        throw Refused(EINVAL, "nothing to run it on", "--onto FILE");
    Log log(invocation.arguments.front());
    if (options.check) return check(log, options);
    if (options.find_mark) return find_mark(log, options);
    return options.onto ? repeat(log, options) : list(log, options);
}

}  // namespace dmfs::cli
