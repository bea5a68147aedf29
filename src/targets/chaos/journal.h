// The last firings of a row, as the message `log` shows them.

#pragma once

#include <ctime>
#include <deque>
#include <mutex>
#include <string>

namespace dmfs::chaos {

class Journal {
  public:
    static constexpr size_t kMostLines = 1024;

    // One line; the time is put before it.
    void add(const std::string& line);
    void clear();
    // Oldest first, each ended by a newline.
    std::string text() const;

  private:
    mutable std::mutex mutex_;
    std::deque<std::string> lines_;
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
    lines_.push_back(stamp + line);
    if (lines_.size() > kMostLines) lines_.pop_front();
}

inline void Journal::clear() {
    std::lock_guard guard(mutex_);
    lines_.clear();
}

inline std::string Journal::text() const {
    std::lock_guard guard(mutex_);
    std::string text;
    for (const std::string& line : lines_) text += line + "\n";
    return text;
}

}  // namespace dmfs::chaos
