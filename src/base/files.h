// Files: small ones, whole (the kernel's in /sys and /proc, and those that commands write), and
// open ones.

#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace dmfs {

// A file descriptor, closed at the end.
class OpenFile {
  public:
    explicit OpenFile(int fd) : fd_(fd) {}
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    OpenFile(OpenFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~OpenFile();

    int fd() const { return fd_; }
    bool good() const { return fd_ >= 0; }
    // Another one in its place; errno stays.
    void reset(int fd);
    // It is the caller's to close.
    int release() { return std::exchange(fd_, -1); }
    // Earlier than at the end, for what close(2) alone reports.
    int close();

  private:
    int fd_;
};

// Opens what stands below a folder. No symbolic link below it is followed: whoever serves the
// folder need not be trusted. A file descriptor, or -1 and errno (a link: ELOOP, or ENOTDIR where
// a folder should be).
int open_below(const std::string& folder, std::string_view path, int flags);

// Makes a new name in a folder durable: that of the file `path`, which is durable itself. Where a
// filesystem cannot do that, nothing is said.
void sync_folder_of(const std::string& path);

// The first line of a file, without its newline; empty where there is none.
std::string first_line(const std::string& path);

// All of a file, which may be a FIFO; 0 or an errno (EISDIR: a folder).
int read_whole(const std::string& path, std::string* text);

// Writes all of `text`, where write(2) alone may write less; 0 or an errno.
int write_all(int fd, std::string_view text);

}  // namespace dmfs
