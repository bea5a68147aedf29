// The concise form of volumes, which `dmsetup create --concise`, `dmsetup table
// --concise`, the boot parameter dm-mod.create= and MNT/.control/create share:
//
//     name,uuid,minor,flags,table line[,table line...][;name,...]
//
// A newline that follows no comma ends a volume too, so a file may give each its
// own line. uuid, minor and flags (ro or rw) may be empty, and a volume without a
// table ends after its flags. A backslash quotes the byte after it: a comma, a
// semicolon, a backslash of a name or of a table line.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmfs {

struct ConciseVolume {
    std::string name;
    std::string uuid;
    std::optional<uint32_t> minor;
    bool readonly = false;
    std::string table;  // one line a row, each ended by a newline
    friend bool operator==(const ConciseVolume&, const ConciseVolume&) = default;
};

// The volumes of a text, in its order. Throws Refused with the place; `file` is
// what the place calls the text. A text of blanks alone holds no volume. `tables`: each has to have
// one, as dmsetup wants it.
std::vector<ConciseVolume> parse_concise(std::string_view text, const std::string& file = "concise",
                                         bool tables = false);

// One volume, so that parse_concise gives it back; volumes are joined by ';'.
std::string format_concise(const ConciseVolume& volume);

}  // namespace dmfs
