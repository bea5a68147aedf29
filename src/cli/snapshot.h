// What the commands about snapshots have in common (snapshot.cc, merge.cc).

#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/words.h"
#include "cli/command.h"
#include "cli/cow_file.h"

namespace dmfs::cli {

// The rows of a volume's live table, in words: start, length, target, arguments.
std::vector<std::vector<Word>> rows_of(const ControlClient& control, const std::string& name);
// The volume that has that device in a table; empty if there is none.
std::string user_of(const ControlClient& control, const std::string& path);
// The files to delete when the volumes that keep things in them are gone: none that a foreign mount
// names, which is said.
std::vector<OldCow> old_cows(Invocation& invocation, const std::set<std::string>& cows);
// Deletes those that are in no table any more; which they were.
std::vector<std::string> delete_cows(const ControlClient& control, const std::vector<OldCow>& cows);

}  // namespace dmfs::cli
