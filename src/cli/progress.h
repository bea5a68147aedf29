// A line on a terminal that says how far something is, from the second second on; nothing
// anywhere else.

#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <string>

namespace dmfs::cli {

class Progress {
  public:
    Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { clear(); }

    // Whether it is time for another text().
    bool due() {
        auto now = std::chrono::steady_clock::now();
        if (!terminal_ || now < next_) return false;
        next_ = now + std::chrono::milliseconds(200);
        return true;
    }
    void text(const std::string& line) {
        fmt::print(stderr, "\r{}\033[K", line);
        printed_ = true;
    }
    void clear() {
        if (printed_) fmt::print(stderr, "\r\033[K");
        printed_ = false;
    }

  private:
    bool terminal_, printed_ = false;
    std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::seconds(1);
};

}  // namespace dmfs::cli
