// Small files, whole: the kernel's in /sys and /proc, and those that commands write.

#pragma once

#include <string>
#include <string_view>

namespace dmfs {

// The first line of a file, without its newline; empty where there is none.
std::string first_line(const std::string& path);

// Writes all of `text`, where write(2) alone may write less; 0 or an errno.
int write_all(int fd, std::string_view text);

}  // namespace dmfs
