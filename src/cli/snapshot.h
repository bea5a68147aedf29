// What the commands about snapshots have in common (snapshot.cc, merge.cc).

#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/words.h"
#include "dm/control_client.h"

namespace dmfs::cli {

// The rows of a volume's live table, in words: start, length, target, arguments.
std::vector<std::vector<Word>> rows_of(const ControlClient& control, const std::string& name);
// The volume that has that device in a table; empty if there is none.
std::string user_of(const ControlClient& control, const std::string& path);
// Deletes those that are regular files and in no table; which they were.
std::vector<std::string> delete_cows(const ControlClient& control, const std::set<std::string>& cows);

}  // namespace dmfs::cli
