// The parts of an LVM volume's name. LVM joins volume group, logical volume and
// layer with '-', and doubles a '-' inside a part:
//
//     vg0-lv--x-real      group "vg0", volume "lv-x", layer "real"

#pragma once

#include <string>
#include <string_view>

namespace dmfs {

struct SplitName {
    std::string subsystem;  // "LVM", or what the uuid begins with, or empty
    std::string group;
    std::string volume;
    std::string layer;
};

// The parts of a name of that subsystem. Only LVM's names have parts.
SplitName split_name(std::string_view name, std::string_view subsystem);

// What a uuid names before its first '-': the subsystem that owns the volume.
std::string subsystem_of(std::string_view uuid);

}  // namespace dmfs
