// A look at something that may never answer, such as a mount whose process hangs: it is made in a
// child process, which is left behind where it does not come back in time. (A thread would not do:
// the kernel lets no process end before its last thread.)

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace dmfs::cli {

constexpr std::chrono::milliseconds kLookPatience{3000};

using Texts = std::vector<std::string>;

// What `look` returns; nothing if it does not in time. Before there are threads.
std::optional<Texts> in_time(const std::function<Texts()>& look,
                             std::chrono::milliseconds patience = kLookPatience);

}  // namespace dmfs::cli
