// The control tree of a mount, as a program outside sees it: MNT/.control and the
// files of each volume in it (dmfs-control(7)). All that `dmfs` does to a mount
// goes through here, so a shell can do the same with cat, echo and mkdir.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/refused.h"

namespace dmfs {

// A request that the mount refused, in its own words: the text of the `error`
// file beside the one that was written. Its first line ends with the errno's text.
class RequestRefused : public Refused {
  public:
    RequestRefused(int error, std::string text) : Refused(error, text), text_(std::move(text)) {}
    const std::string& text() const { return text_; }

  private:
    std::string text_;
};

// What the info file of a volume says.
struct VolumeInfo {
    std::string name;
    std::string uuid;
    bool suspended = false;
    bool readonly = false;
    bool deferred_remove = false;
    bool live = false;
    bool inactive = false;
    uint32_t read_ahead = 0;
    uint32_t open_count = 0;
    uint32_t events = 0;
    uint32_t major = 0;
    uint32_t minor = 0;
    uint32_t targets = 0;  // of the live table
};

// One line of the deps file: what a live table uses, the newest first.
struct Dependency {
    bool numbered = false;  // a volume or a block device; a plain file has no number
    uint32_t major = 0;
    uint32_t minor = 0;
    std::string name;  // a volume's name, or an absolute path
    bool is_volume() const { return numbered && major == 0; }
};

class ControlClient {
  public:
    // mountpoint need not exist; the first request says so.
    explicit ControlClient(std::string mountpoint);

    const std::string& mountpoint() const { return mountpoint_; }
    // For people, and for programs that people run there. A name that could not be one, as a mount
    // of somebody else may tell, is refused.
    std::string volume_path(std::string_view name) const;
    std::string control_path(std::string_view name, std::string_view file) const;

    // Opens a volume, or a file of its controls. In a mount no link is followed: it has none, unless
    // somebody wants to lead us astray. Throws Refused.
    int open_volume(std::string_view name, int flags) const;
    int open(std::string_view name, std::string_view file, int flags) const;
    // Its length in bytes.
    uint64_t volume_bytes(std::string_view name) const;

    // Names of all volumes, in the order of their bytes (as the kernel lists).
    std::vector<std::string> volumes() const;
    bool exists(std::string_view name) const;

    // Whole files, of the mount itself and of a volume. All throw Refused.
    std::string read(std::string_view file) const;
    void write(std::string_view file, std::string_view text) const;
    std::string read(std::string_view name, std::string_view file) const;
    void write(std::string_view name, std::string_view file, std::string_view text) const;
    // Writes a question to a file (of the mount itself if `name` is empty) and reads its
    // answer, on one open file.
    std::string ask(std::string_view name, std::string_view file, std::string_view text) const;

    void create(std::string_view name) const;
    void remove(std::string_view name) const;
    void rename(std::string_view name, std::string_view new_name) const;

    VolumeInfo info(std::string_view name) const;
    std::vector<Dependency> deps(std::string_view name, bool inactive = false) const;

  private:
    // The refusal for a call on `path` that failed with `error`, while asked to `doing`.
    [[noreturn]] void refuse(int error, std::string_view doing, const std::string& path,
                             const std::string& error_file) const;
    int read_file(const std::string& place, std::string& text) const;

    std::string mountpoint_;
};

VolumeInfo parse_info(std::string_view text);
std::vector<Dependency> parse_deps(std::string_view text);
// The lines of a text, without their newlines.
std::vector<std::string_view> lines_of(std::string_view text);
std::vector<std::string_view> lines_of(std::string&& temporary) = delete;

}  // namespace dmfs
