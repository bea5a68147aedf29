// The firings of a row, as the message `log` shows them: the first, with which the trouble
// began, and the last.

#pragma once

#include <ctime>
#include <deque>
#include <mutex>
#include <string>

namespace dmfs::chaos {

class Journal {
  public:
    static constexpr size_t kFirst = 128;
    static constexpr size_t kLast = 256;

    // One line; the time is put before it.
    void add(const std::string& line);
    void clear();
    // Oldest first, each ended by a newline.
    std::string text() const;

  private:
    mutable std::mutex mutex_;
    std::deque<std::string> first_, last_;
    size_t between_ = 0;  // not kept
};

inline void Journal::add(const std::string& line) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    char second[32];
    strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S.", &parts);
    std::string milliseconds = std::to_string(1000 + now.tv_nsec / 1'000'000).substr(1);
    std::string stamp = second + milliseconds + "Z ";
    std::lock_guard guard(mutex_);
    if (first_.size() < kFirst) {
        first_.push_back(stamp + line);
        return;
    }
    last_.push_back(stamp + line);
    if (last_.size() <= kLast) return;
    last_.pop_front();
    between_++;
}

inline void Journal::clear() {
    std::lock_guard guard(mutex_);
    first_.clear();
    last_.clear();
    between_ = 0;
}

inline std::string Journal::text() const {
    std::lock_guard guard(mutex_);
    std::string text;
    for (const std::string& line : first_) text += line + "\n";
    if (between_ > 0) text += "... " + std::to_string(between_) + " more\n";
    for (const std::string& line : last_) text += line + "\n";
    return text;
}

}  // namespace dmfs::chaos
