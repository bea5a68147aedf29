// The log: the last lines in memory, for MNT/.control/log, and each line on
// standard error where the daemon runs in the foreground. Nothing is written to a
// file: a log on a disk that this daemon serves would wait for itself.
//
// Table parameters never go into the log whole: they can hold keys.

#pragma once

#include <string>

namespace dmfs {

enum class Severity { info, warning, error };

// Thread-safe. More than 20 lines a second are counted, not kept.
void log_line(Severity severity, const std::string& text);

// The kept lines, oldest first, each ended by a newline.
std::string log_text();

// Whether lines also go to standard error (they do until a daemon detaches).
void log_to_stderr(bool on);

}  // namespace dmfs
