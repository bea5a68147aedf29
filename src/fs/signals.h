// Signals: whether the thread that waits for a request shall go on waiting.
//
// FUSE says once that a signal came, and not which. A handled one, as a timer's, must not end the
// wait of a read or write: no disk does that, and programs take it for a lost one. So the thread
// is looked at. What is there of it cannot block, as /proc/TID/stat can while it is in execve(2):
//
//     /proc/TID/status   VmSize: ...      not of one that ends: it has no memory any more
//                        SigPnd: 0100     pending: of the thread, in hex, bit 0 is signal 1
//                        ShdPnd: 0000     ... of its process
//                        SigBlk SigIgn SigCgt: blocked, ignored, caught
//
// A signal that ends the process makes SIGKILL pending in all its threads (complete_signal() in
// kernel/signal.c), but for those that dump core: they are pending themselves.

#pragma once

#include <sys/types.h>

#include <string_view>

namespace dmfs::fs {

// What ends a wait.
enum class Until {
    killed,  // what ends the process
    asked,   // also SIGINT, SIGQUIT, SIGTERM and SIGHUP that it handles, as a shell does
    signal,  // any
};

// What the text of a status file says of that.
bool ends_wait(std::string_view status, Until until);
// Likewise of a thread by its number (gettid(2)) here. An unknown thread, as one of another
// PID namespace (0), counts as ended: true.
bool ends_wait(pid_t thread, Until until);

}  // namespace dmfs::fs
