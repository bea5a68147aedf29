// verity: from what veritysetup has written to a table, and to a volume.
//
//     dmfs verity dump HASH                      the superblock
//     dmfs verity table DATA HASH ROOT_DIGEST    a table: 0 LENGTH verity ...
//     dmfs verity open NAME DATA HASH ROOT_DIGEST     the volume with that table
//
// The options are veritysetup's, and mean the same. What the superblock says is taken
// from there; without one (--no-superblock) it has to be said.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "base/words.h"
#include "cli/commands.h"
#include "formats/verity_superblock.h"

namespace dmfs::cli {

namespace {

using verity_superblock::Superblock;

class ReadFile {
  public:
    explicit ReadFile(const std::string& path)
        : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (fd_ < 0) throw Refused(errno, "cannot open " + path);
    }
    ReadFile(const ReadFile&) = delete;
    ReadFile& operator=(const ReadFile&) = delete;
    ~ReadFile() { ::close(fd_); }

    uint64_t bytes() const {
        off_t end = ::lseek(fd_, 0, SEEK_END);
        if (end < 0) throw Refused(errno, path_ + " has no size");
        return static_cast<uint64_t>(end);
    }
    // As much of it as there is.
    std::vector<std::byte> read(uint64_t at, size_t bytes) const {
        std::vector<std::byte> data(bytes);
        ssize_t got = at > INT64_MAX ? 0 : ::pread(fd_, data.data(), bytes, static_cast<off_t>(at));
        if (got < 0) throw Refused(errno, "cannot read " + path_);
        data.resize(static_cast<size_t>(got));
        return data;
    }
    bool same_as(const ReadFile& other) const {
        struct stat mine, theirs;
        return ::fstat(fd_, &mine) == 0 && ::fstat(other.fd_, &theirs) == 0 && mine.st_dev == theirs.st_dev &&
               mine.st_ino == theirs.st_ino;
    }

  private:
    std::string path_;
    int fd_;
};

// The options of `verity`.
class Own {
  public:
    explicit Own(const Options& options) : own_(options.own) {}

    bool has(std::string_view name) const { return own_.contains(name); }
    std::string text(std::string_view name, std::string otherwise = {}) const {
        auto found = own_.find(name);
        return found == own_.end() ? std::move(otherwise) : found->second;
    }
    uint64_t number(std::string_view name, uint64_t otherwise) const {
        if (!has(name)) return otherwise;
        std::optional<uint64_t> value = parse_decimal(text(name));
        if (!value) throw Refused(EINVAL, fmt::format("--{} '{}' is no number", name, text(name)));
        return *value;
    }
    uint32_t block(std::string_view name) const {
        uint64_t bytes = number(name, 4096);
        if (!verity_superblock::is_block(bytes))
            throw Refused(EINVAL, fmt::format("--{} {} is no size of blocks", name, bytes),
                          "a power of two from 512 to 524288");
        return static_cast<uint32_t>(bytes);
    }

  private:
    const std::map<std::string, std::string, std::less<>>& own_;
};

std::string hex(const std::vector<std::byte>& bytes) {
    std::string text;
    for (std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return text.empty() ? "-" : text;
}

uint64_t hash_offset(const Own& own) {
    uint64_t offset = own.number("hash-offset", 0);
    if (offset % kSectorBytes != 0)
        throw Refused(EINVAL, fmt::format("--hash-offset {} is no multiple of 512", offset), "whole sectors");
    return offset;
}

// How the tree was made, and where its blocks begin.
struct Made {
    Superblock superblock;
    std::string salt;
    uint64_t hash_start = 0;
};

Made from_superblock(const ReadFile& hash, const Own& own) {
    uint64_t offset = hash_offset(own);
    Superblock superblock = verity_superblock::decode(hash.read(offset, verity_superblock::kBytes));
    uint64_t start = verity_superblock::hash_start(offset, superblock.hash_block);
    std::string salt = hex(superblock.salt);
    return {std::move(superblock), std::move(salt), start};
}

Made from_options(const ReadFile& data, const Own& own) {
    uint64_t format = own.number("format", 1);
    if (format > 1) throw Refused(EINVAL, fmt::format("--format {} is unknown", format), "0 or 1");
    Superblock superblock;
    superblock.type = static_cast<uint32_t>(format);
    superblock.algorithm = own.text("hash", "sha256");
    superblock.data_block = own.block("data-block-size");
    superblock.hash_block = own.block("hash-block-size");
    superblock.data_blocks =
        own.has("data-blocks") ? own.number("data-blocks", 0) : data.bytes() / superblock.data_block;
    uint64_t offset = hash_offset(own);
    if (offset % superblock.hash_block != 0)
        throw Refused(EINVAL, fmt::format("--hash-offset {} lies within a hash block", offset),
                      fmt::format("a multiple of {}", superblock.hash_block));
    uint64_t start = offset / superblock.hash_block;
    return {std::move(superblock), own.text("salt", "-"), start};
}

std::string root_digest(const std::string& word) {
    if (!word.starts_with('@')) return word;
    std::string path = word.substr(1), digest;
    std::ifstream file(path);
    if (!(file >> digest)) throw Refused(errno == 0 ? EINVAL : errno, "no root digest in " + path);
    return digest;
}

// As a table has it: the mount's folder is another.
std::string device_word(const std::string& path) {
    char* found = ::realpath(path.c_str(), nullptr);
    if (found == nullptr) throw Refused(errno, "cannot open " + path);
    std::string absolute = found;
    ::free(found);
    return quote_word(absolute);
}

std::vector<std::string> features(const Made& made, const ReadFile& hash, const Own& own) {
    std::vector<std::string> words;
    constexpr const char* kFlags[][2] = {
        {"ignore-corruption", "ignore_corruption"},     {"restart-on-corruption", "restart_on_corruption"},
        {"panic-on-corruption", "panic_on_corruption"}, {"ignore-zero-blocks", "ignore_zero_blocks"},
        {"check-at-most-once", "check_at_most_once"},   {"use-tasklets", "try_verify_in_tasklet"}};
    for (const auto& [option, word] : kFlags)
        if (own.has(option)) words.emplace_back(word);
    if (own.has("error-as-corruption")) {
        if (!own.has("restart-on-corruption") && !own.has("panic-on-corruption"))
            throw Refused(EINVAL, "--error-as-corruption says nothing by itself",
                          "--restart-on-corruption or --panic-on-corruption beside it");
        words.emplace_back(own.has("panic-on-corruption") ? "panic_on_error" : "restart_on_error");
    }
    if (!own.has("fec-device")) return words;
    // The parity covers the data, the tree, and what follows the tree on its device: up to
    // the parity, if that is there too.
    const Superblock& superblock = made.superblock;
    std::string device = own.text("fec-device");
    uint64_t offset = own.number("fec-offset", 0);
    if (offset % superblock.data_block != 0)
        throw Refused(EINVAL, fmt::format("--fec-offset {} lies within a block", offset),
                      fmt::format("a multiple of {}", superblock.data_block));
    uint64_t end = (ReadFile(device).same_as(hash) ? offset : hash.bytes()) / superblock.data_block;
    uint64_t behind = end > made.hash_start ? end - made.hash_start : 0;
    for (const std::string& word :
         {std::string("use_fec_from_device"), device_word(device), std::string("fec_blocks"),
          std::to_string(superblock.data_blocks + behind), std::string("fec_start"),
          std::to_string(offset / superblock.data_block), std::string("fec_roots"),
          std::to_string(own.number("fec-roots", 2))})
        words.push_back(word);
    return words;
}

std::string table_of(const std::string& data_path, const std::string& hash_path, const std::string& digest,
                     const Own& own) {
    ReadFile data(data_path), hash(hash_path);
    Made made = own.has("no-superblock") ? from_options(data, own) : from_superblock(hash, own);
    const Superblock& superblock = made.superblock;
    uint64_t sectors = 0;
    if (__builtin_mul_overflow(superblock.data_blocks, sectors_in(superblock.data_block), &sectors))
        throw Refused(EINVAL,
                      fmt::format("{} data blocks are more than a volume has", superblock.data_blocks));
    std::string table =
        fmt::format("0 {} verity {} {} {} {} {} {} {} {} {} {}", sectors, superblock.type,
                    device_word(data_path), device_word(hash_path), superblock.data_block,
                    superblock.hash_block, superblock.data_blocks, made.hash_start,
                    quote_word(superblock.algorithm), quote_word(root_digest(digest)), quote_word(made.salt));
    std::vector<std::string> words = features(made, hash, own);
    if (!words.empty()) table += fmt::format(" {}", words.size());
    for (const std::string& word : words) table += " " + word;
    return table + "\n";
}

int dump(const std::string& path, const Own& own, bool json) {
    Made made = from_superblock(ReadFile(path), own);
    const Superblock& superblock = made.superblock;
    if (json) {
        print_json({{"uuid", superblock.uuid},
                    {"type", superblock.type},
                    {"algorithm", superblock.algorithm},
                    {"data_blocks", superblock.data_blocks},
                    {"data_block", superblock.data_block},
                    {"hash_block", superblock.hash_block},
                    {"hash_start", made.hash_start},
                    {"salt", made.salt}});
        return 0;
    }
    fmt::print("UUID             {}\n", superblock.uuid);
    fmt::print("type             {}\n", superblock.type);
    fmt::print("algorithm        {}\n", superblock.algorithm);
    fmt::print("data blocks      {} of {} bytes\n", superblock.data_blocks, superblock.data_block);
    fmt::print("hash blocks      of {} bytes, from block {} on\n", superblock.hash_block, made.hash_start);
    fmt::print("salt             {}\n", made.salt);
    return 0;
}

}  // namespace

int verity(Invocation& invocation) {
    Own own(invocation.options);
    std::vector<std::string>& words = invocation.arguments;
    std::string what = words.front();
    words.erase(words.begin());
    // The root digest may come from veritysetup's own option.
    if (own.has("root-hash-file")) words.push_back("@" + own.text("root-hash-file"));
    auto need = [&](size_t count, const char* usage) {
        if (words.size() != count)
            throw Refused(EINVAL, fmt::format("{} arguments, not {}", words.size(), count),
                          fmt::format("dmfs verity {}", usage));
    };
    if (what == "dump") {
        need(1, "dump HASH");
        return dump(words[0], own, invocation.options.json);
    }
    if (what == "table") {
        need(3, "table DATA HASH ROOT_DIGEST");
        fmt::print("{}", table_of(words[0], words[1], words[2], own));
        return 0;
    }
    if (what != "open")
        throw Refused(EINVAL, "'" + what + "' is nothing that is done with verity", "dump, table or open");
    need(4, "open NAME DATA HASH ROOT_DIGEST");
    invocation.options.table = table_of(words[1], words[2], words[3], own);
    invocation.options.readonly = true;
    words.resize(1);
    return create(invocation);
}

}  // namespace dmfs::cli
