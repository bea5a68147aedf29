// What can be said of a volume in one word: the fields of `info -c -o`, -O and -S.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace dmfs::cli {

// A volume, and what is asked of the mount only when a field needs it.
class Facts {
  public:
    Facts(Invocation& invocation, const std::string& name);

    const Invocation& invocation() const { return *invocation_; }
    const VolumeInfo& info() const { return info_; }
    const std::vector<Dependency>& deps();
    // The volumes that use this one.
    const std::vector<VolumeInfo>& users();
    // The loop device that is attached to it, such as "loop0"; or empty.
    std::string loop_device() const;

  private:
    Invocation* invocation_;
    VolumeInfo info_;
    bool deps_known_ = false, users_known_ = false;
    std::vector<Dependency> deps_;
    std::vector<VolumeInfo> users_;
};

struct Field {
    const char* name;
    const char* heading;
    size_t width;
    bool number;
    const char* section;  // "name", "info", "deps", "splitname"
    const char* description;
    std::string (*value)(Facts&);
};

const std::vector<Field>& all_fields();
// The fields of a list "name,uuid", "info_all", "all"; a list that begins with '+'
// adds to `defaults`. Case and '_' do not count. Throws Refused.
std::vector<const Field*> parse_fields(std::string_view list, std::string_view defaults);
const Field* find_field(std::string_view name);
// The text of `help -c`.
std::string fields_help();

}  // namespace dmfs::cli
