// Names of volumes. A mount keeps a name raw: any bytes but '/' and NUL. What
// dmsetup calls mangling (a byte outside 0-9A-Za-z#+-.:=@_ becomes \xHH, as udev
// wants it) is only how a name is written on a command line and shown again:
//
//     raw         disk one              what MNT and MNT/.control hold
//     mangled     disk\x20one           what a kernel would hold

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dmfs {

// A name and a uuid hold less than this many bytes (DM_NAME_LEN, DM_UUID_LEN less its NUL).
constexpr size_t kNameBytes = 128;
constexpr size_t kUuidBytes = 129;

enum class Mangling { automatic, hex, none };

// "auto", "hex" or "none"; throws Refused.
Mangling parse_mangling(std::string_view word);

std::string mangle_name(std::string_view raw);
std::string unmangle_name(std::string_view mangled);

// The raw name that a word of the command line means. In `automatic` the word may
// be mangled or raw, but not half of each; in `hex` it is raw; in `none` it is
// what a kernel would hold. Throws Refused for what cannot name a volume.
std::string name_from_user(std::string_view word, Mangling mode);
// The same for a uuid.
std::string uuid_from_user(std::string_view word, Mangling mode);
// As people are shown it: raw, or in `none` as a kernel would hold it.
std::string name_for_user(std::string_view raw, Mangling mode);

// Throws Refused where the raw name (or uuid) cannot be one.
void check_name(std::string_view raw);
void check_uuid(std::string_view raw);

// The candidates that a mistyped word may have meant, the nearest first, at most three.
std::vector<std::string> similar_names(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace dmfs
