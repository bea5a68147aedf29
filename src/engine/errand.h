// Work that goes on when whoever began it is killed.
//
//     Task<Status> writing = until_killed(executor, write(...), bio.cancel);
//     Status status = co_await writing;          EINTR: killed, and the work goes on
//
// For what cannot be left half done, as the last writes of a log, and may yet take long
// since a device holds its requests. A process must be able to go all the same.

#pragma once

#include "engine/wait.h"

namespace dmfs {

// Awaits `work`, which asks nobody's Cancel. When `cancel` is requested the answer is EINTR
// at once, and the executor counts the work until its end: it keeps alive what it needs.
// Without `cancel`, the work itself.
Task<Status> until_killed(Executor& executor, Task<Status> work, Cancel* cancel);

}  // namespace dmfs
