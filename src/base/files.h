// Small files of the kernel's: /sys, /proc.

#pragma once

#include <string>

namespace dmfs {

// The first line of a file, without its newline; empty where there is none.
std::string first_line(const std::string& path);

}  // namespace dmfs
