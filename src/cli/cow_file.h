// The file that takes what a snapshot has to keep: its COW device, of a size at which it is
// never full unless another is wanted. It is sparse, so that size costs nothing.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/files.h"
#include "cli/options.h"

namespace dmfs::cli {

struct CowOptions {
    std::optional<std::string> file;  // --cow
    std::optional<std::string> size;  // --size, of which a percentage is of the origin's
    bool transient = false;           // --transient
    bool keep = false;                // --keep-cow
    uint64_t chunk = 0;               // --chunk, in sectors; 0: not said

    // Throws Refused.
    explicit CowOptions(const Options& options);
    // For an origin of `bytes`: --size, or what is needed to keep all of it.
    uint64_t size_for(uint64_t bytes) const;
};

// A file, whatever it is called; inode 0: none.
struct FileIdentity {
    dev_t device = 0;
    ino_t inode = 0;
    // The identity of what is called so in a folder, if it is a regular file.
    static FileIdentity of(int folder, const std::string& name);
    bool operator==(const FileIdentity&) const = default;
};

class CowFile {
  public:
    // Where there is no such file it is made, and goes again with this object unless kept. One
    // that is empty gets its size. Any other has to begin with zeros, or, where a store `may_go_on`,
    // with one that is valid. Throws Refused.
    CowFile(const std::string& path, uint64_t bytes, bool size_was_said, bool may_go_on);
    CowFile(CowFile&& other) noexcept;
    ~CowFile();

    const std::string& path() const { return path_; }  // absolute
    uint64_t bytes() const { return bytes_; }
    bool goes_on() const { return goes_on_; }  // it has a store already
    void keep() { made_ = false; }

  private:
    void check_contents(int fd, bool may_go_on);
    void take_back();

    std::string path_;
    OpenFile folder_{-1};
    FileIdentity identity_;
    uint64_t bytes_ = 0;
    bool made_ = false, goes_on_ = false;
};

// What a table's word for a COW device names, if that is a regular file and no link leads there:
// looked up while the table has it, to be deleted when it has not. What has come to its place by then
// stays.
class OldCow {
  public:
    explicit OldCow(const std::string& word);
    const std::string& path() const { return path_; }
    // False for anything else, which stays. Throws Refused.
    bool remove() const;

  private:
    std::string path_;
    OpenFile folder_;
    FileIdentity identity_;
};

}  // namespace dmfs::cli
