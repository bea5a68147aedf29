#include "base/log.h"

#include <cstdio>
#include <ctime>
#include <deque>
#include <mutex>

namespace dmfs {

namespace {

constexpr size_t kKeptLines = 500;
constexpr unsigned kLinesPerSecond = 20;

struct Log {
    std::mutex mutex;
    std::deque<std::string> lines;
    bool to_stderr = true;
    time_t second = 0;
    unsigned in_second = 0;
    unsigned dropped = 0;

    void keep(Severity severity, const std::string& text, time_t now) {
        const char* label = severity == Severity::error     ? "error: "
                            : severity == Severity::warning ? "warning: "
                                                            : "";
        char stamp[32];
        struct tm parts;
        localtime_r(&now, &parts);
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S ", &parts);
        lines.push_back(stamp + std::string(label) + text);
        if (lines.size() > kKeptLines) lines.pop_front();
        if (to_stderr) fprintf(stderr, "dmfs: %s%s\n", label, text.c_str());
    }
};

Log& the_log() {
    static Log log;
    return log;
}

}  // namespace

void log_line(Severity severity, const std::string& text) {
    Log& log = the_log();
    std::lock_guard guard(log.mutex);
    time_t now = time(nullptr);
    if (now != log.second) {
        if (log.dropped > 0)
            log.keep(Severity::warning, std::to_string(log.dropped) + " more lines in one second", now);
        log.second = now;
        log.in_second = log.dropped = 0;
    }
    if (log.in_second++ < kLinesPerSecond)
        log.keep(severity, text, now);
    else
        log.dropped++;
}

std::string log_text() {
    Log& log = the_log();
    std::lock_guard guard(log.mutex);
    std::string out;
    for (const std::string& line : log.lines) out += line + "\n";
    return out;
}

void log_to_stderr(bool on) {
    Log& log = the_log();
    std::lock_guard guard(log.mutex);
    log.to_stderr = on;
}

}  // namespace dmfs
