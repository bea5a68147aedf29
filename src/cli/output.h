// The files that commands write for people.

#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace dmfs::cli {

// - and /dev/stdout are standard output. A regular file, also where a link leads to it, is replaced
// as a whole: whoever reads it meanwhile, or after a crash, finds the old text or the new. What
// streams (a FIFO, a terminal, /dev/null) is written into, and a block device is refused. A file has
// no more rights than `mode`. Throws Refused.
void write_output(const std::string& path, std::string_view text, mode_t mode);

}  // namespace dmfs::cli
