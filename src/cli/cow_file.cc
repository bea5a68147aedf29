#include "cli/cow_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/refused.h"
#include "base/words.h"
#include "cli/escape.h"
#include "formats/exception_store.h"

namespace dmfs::cli {

namespace {

namespace stdfs = std::filesystem;

constexpr uint64_t kMiB = 1 << 20;
// Labels of disks, volumes and filesystems are within; the last is that of btrfs, at 64 KiB.
constexpr size_t kLabels = 128 << 10;
constexpr uint32_t kUsualChunk = 8;  // sectors

std::string absolute(const std::string& path) {
    std::error_code error;
    stdfs::path found = stdfs::weakly_canonical(stdfs::absolute(path, error), error);
    if (error) throw Refused(error.value(), "cannot find " + path);
    return found;
}

// The folder of an absolute path, as seen from /, and below it the path's last part.
std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == 0 ? "." : path.substr(1, slash - 1);
}
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

CowOptions::CowOptions(const Options& options) {
    auto text = [&](const char* name) -> std::optional<std::string> {
        auto found = options.own.find(name);
        return found == options.own.end() ? std::nullopt : std::optional(found->second);
    };
    file = text("cow");
    size = text("size");
    transient = text("transient").has_value();
    keep = text("keep-cow").has_value();
    if (std::optional<std::string> said = text("chunk")) {
        std::optional<uint64_t> bytes = parse_size(*said);
        if (!bytes || *bytes % kSectorBytes != 0 || !exception_store::is_chunk(sectors_in(*bytes)))
            throw Refused(EINVAL, "'" + *said + "' is no size of chunks",
                          "a power of two from 512 bytes to 1G, such as 4K or 64K");
        chunk = sectors_in(*bytes);
    }
}

uint64_t CowOptions::size_for(uint64_t origin_bytes) const {
    const auto sectors = static_cast<uint32_t>(chunk != 0 ? chunk : kUsualChunk);
    const exception_store::Areas areas(sectors);
    if (size) {
        std::string_view text = *size;
        bool percent = text.ends_with('%');
        if (percent) text.remove_suffix(1);
        std::optional<uint64_t> number = percent ? parse_decimal(text) : parse_size(text);
        if (!number || *number == 0 || (percent && *number > 1000))
            throw Refused(EINVAL, "'" + *size + "' is no size", "such as 512M, 10G, or 20% of the origin");
        uint64_t bytes =
            percent ? origin_bytes / 100 * *number + origin_bytes % 100 * *number / 100 : *number;
        bytes = std::max(bytes, kMiB) / kMiB * kMiB;
        if (const uint64_t least = areas.chunks_for(1) * bytes_of(sectors); bytes < least)
            throw Refused(EINVAL,
                          size_text(bytes) + " can't keep a single chunk of " + size_text(bytes_of(sectors)),
                          "--size " + size_text(least) + " or more; or smaller chunks");
        return bytes;
    }
    const uint64_t chunks = origin_bytes / bytes_of(sectors) + 1;
    const uint64_t bytes = areas.chunks_for(chunks) * bytes_of(sectors);
    // One more, for the chunks of devices with large blocks, which the mount chooses.
    return (bytes / kMiB + 2) * kMiB;
}

CowFile::CowFile(const std::string& path, uint64_t bytes, bool size_was_said, bool may_go_on)
    : path_(absolute(path)), folder_(open_below("/", folder_of(path_), O_PATH | O_DIRECTORY)), bytes_(bytes) {
    if (!folder_.good()) throw Refused(errno, "cannot open the folder of the COW file " + path_);
    const std::string name = name_of(path_);
    int fd = ::openat(folder_.fd(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    made_ = fd >= 0;
    if (made_) identity_ = FileIdentity::of(folder_.fd(), name);
    if (!made_ && errno == EEXIST) fd = ::openat(folder_.fd(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    OpenFile file(fd);
    if (fd < 0) throw Refused(errno, "cannot make the COW file " + path_);
    try {
        struct stat found;
        if (::fstat(fd, &found) != 0) throw Refused(errno, "cannot stat " + path_);
        if (!S_ISREG(found.st_mode) && !S_ISBLK(found.st_mode))
            throw Refused(ENOTBLK, path_ + " is neither a file nor a block device");
        if (S_ISREG(found.st_mode) && found.st_size == 0) {
            if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0)
                throw Refused(errno, "cannot make " + path_ + " of " + size_text(bytes),
                              "--size SIZE makes it smaller; a snapshot whose file is full is lost");
            if (::fsync(fd) != 0) throw Refused(errno, "cannot sync " + path_);
            sync_folder_of(path_);
            return;
        }
        if (size_was_said)
            throw Refused(EEXIST, path_ + " is there, and has a size", "--size is for a file that is made");
        off_t end = ::lseek(fd, 0, SEEK_END);
        bytes_ = end < 0 ? 0 : static_cast<uint64_t>(end);
        check_contents(fd, may_go_on);
    } catch (const Refused&) {
        take_back();
        throw;
    }
}

// What is there already must not be somebody's data.
void CowFile::check_contents(int fd, bool may_go_on) {
    std::vector<std::byte> begin(kLabels);
    ssize_t got = ::pread(fd, begin.data(), begin.size(), 0);
    if (got < 0) throw Refused(errno, "cannot read " + path_);
    begin.resize(static_cast<size_t>(got));
    if (std::ranges::all_of(begin, [](std::byte byte) { return byte == std::byte{0}; })) return;
    bool is_store = false;
    try {
        goes_on_ = begin.size() >= exception_store::kHeaderBytes && !exception_store::is_new(begin) &&
                   exception_store::decode(begin).valid;
        is_store = goes_on_;
    } catch (const Refused&) {  // something else
    }
    if (may_go_on && goes_on_) return;
    throw Refused(
        EEXIST, path_ + (is_store ? " has the exceptions of another snapshot" : " has data in it"),
        is_store ? "another file, or delete it if that one is gone; a table of `snapshot` goes on with it: "
                   "see dmfs-snapshot(7)"
                 : "a file that is not there yet, or one full of zeros");
}

CowFile::CowFile(CowFile&& other) noexcept
    : path_(std::move(other.path_)),
      folder_(std::move(other.folder_)),
      identity_(other.identity_),
      bytes_(other.bytes_),
      made_(std::exchange(other.made_, false)),
      goes_on_(other.goes_on_) {}

CowFile::~CowFile() { take_back(); }

// What it made, and not what others have put there since.
void CowFile::take_back() {
    const std::string name = name_of(path_);
    if (std::exchange(made_, false) && FileIdentity::of(folder_.fd(), name) == identity_)
        ::unlinkat(folder_.fd(), name.c_str(), 0);
}

FileIdentity FileIdentity::of(int folder, const std::string& name) {
    struct stat found;
    if (::fstatat(folder, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(found.st_mode))
        return {};
    return {found.st_dev, found.st_ino};
}

OldCow::OldCow(const std::string& word)
    : path_(word),
      folder_(word.starts_with('/') ? open_below("/", folder_of(word), O_PATH | O_DIRECTORY) : -1) {
    if (folder_.good()) identity_ = FileIdentity::of(folder_.fd(), name_of(path_));
}

bool OldCow::remove() const {
    const std::string name = name_of(path_);
    if (!folder_.good() || identity_.inode == 0 || FileIdentity::of(folder_.fd(), name) != identity_)
        return false;
    if (::unlinkat(folder_.fd(), name.c_str(), 0) != 0) throw Refused(errno, "cannot delete " + path_);
    return true;
}

}  // namespace dmfs::cli
