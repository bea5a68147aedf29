// Work that goes on when whoever began it is killed.
//
//     Task<Status> writing = until_killed(executor, write(...), bio.cancel);
//     Status status = co_await writing;          EINTR: killed, and the work goes on
//
// For what cannot be left half done, as the last writes of a log, and may yet take long
// since a device holds its requests. A process must be able to go all the same.

#pragma once

#include <functional>

#include "base/refused.h"
#include "engine/wait.h"

namespace dmfs {

// Awaits `work`, which asks nobody's Cancel. When `cancel` is requested the answer is EINTR
// at once, and the executor counts the work until its end: it keeps alive what it needs.
// Without `cancel`, the work itself.
Task<Status> until_killed(Executor& executor, Task<Status> work, Cancel* cancel);

// A control operation, which `begin` makes for a Cancel of its own. When `cancel` is requested
// that one is, too: the operation takes back what it began. If that needs longer than a moment,
// as where a device holds its requests, the answer is EINTR, and the taking back goes on alone.
// Without `cancel`, the operation itself.
Task<Outcome> control_errand(Executor& executor, std::function<Task<Outcome>(Cancel*)> begin, Cancel* cancel);

// Makes a call that may never return, such as opening a file on a server that is gone, on a
// thread of its own (Blocking). It may throw Refused. When `cancel` is requested the answer is
// EINTR at once, and the call goes on alone: it owns what it needs, but for what lives as long
// as the executor's work.
Task<Outcome> aside(Executor& executor, std::function<void()> call, Cancel* cancel);

}  // namespace dmfs
