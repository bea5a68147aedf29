#include "targets/crypt/options.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <string_view>
#include <vector>

#include "base/words.h"

namespace dmfs::crypt {

namespace {

constexpr uint64_t kMostOptions = 9;
constexpr uint32_t kMostSector = 4096;
constexpr uint64_t kMostTag = 480;  // bytes; MAX_TAG_SIZE

struct Flag {
    const char* name;
    bool Options::*flag;
};

// In the order in which the kernel prints them.
constexpr std::array<Flag, 6> kFlags{{
    {"allow_discards", &Options::allow_discards},
    {"same_cpu_crypt", &Options::same_cpu_crypt},
    {"high_priority", &Options::high_priority},
    {"submit_from_crypt_cpus", &Options::submit_from_crypt_cpus},
    {"no_read_workqueue", &Options::no_read_workqueue},
    {"no_write_workqueue", &Options::no_write_workqueue},
}};

// The number behind "NAME:", if the word begins so.
bool has_value(std::string_view word, std::string_view name, std::string_view* value) {
    if (word.size() <= name.size() || !word.starts_with(name) || word[name.size()] != ':') return false;
    *value = word.substr(name.size() + 1);
    return true;
}

class OptionWords {
  public:
    OptionWords(TargetSetup& setup, size_t at) : setup_(setup), at_(at) {
        uint64_t count = setup.number(at, "number of options", 0, kMostOptions);
        size_t left = setup.words() - at - 1;
        if (count > left)
            throw setup.refuse(
                at, std::to_string(count) + " options are announced, " + std::to_string(left) + " follow",
                std::to_string(left));
        for (uint64_t i = 0; i < count; i++) option(++at_);
    }

    Options options;

  private:
    void option(size_t index) {
        const std::string& word = setup_.word(index);
        std::string_view value;
        for (const Flag& flag : kFlags)
            if (strcasecmp(word.c_str(), flag.name) == 0) {
                options.*flag.flag = true;
                return;
            }
        if (strcasecmp(word.c_str(), "iv_large_sectors") == 0)
            options.iv_large_sectors = true;
        else if (has_value(word, "sector_size", &value))
            sector_size(index, value);
        else if (has_value(word, "integrity_key_size", &value))
            integrity_key_size(index, value);
        else if (has_value(word, "integrity", &value))
            integrity(index, value);
        else
            throw setup_.refuse(index, "no option '" + word + "'", names());
    }

    void sector_size(size_t index, std::string_view value) {
        std::optional<uint64_t> bytes = parse_decimal(value);
        if (!bytes || *bytes < kSectorBytes || *bytes > kMostSector || !std::has_single_bit(*bytes))
            throw setup_.refuse(index, "no sectors of '" + std::string(value) + "' bytes",
                                "512, 1024, 2048 or 4096");
        if (setup_.length() % sectors_in(*bytes) != 0)
            throw setup_.refuse(index,
                                "the row's " + std::to_string(setup_.length()) +
                                    " sectors of 512 bytes are not whole ones of " + std::string(value),
                                "a length that is a multiple of " + std::to_string(sectors_in(*bytes)));
        options.sector_bytes = static_cast<uint32_t>(*bytes);
    }

    // BYTES:none is a tag that nothing writes; BYTES:aead one that a cipher makes.
    void integrity(size_t index, std::string_view value) {
        size_t colon = std::min(value.find(':'), value.size());
        std::optional<uint64_t> bytes = parse_decimal(value.substr(0, colon));
        std::string profile(value.substr(std::min(colon + 1, value.size())));
        if (strcasecmp(profile.c_str(), "aead") == 0)
            throw setup_.refuse(index,
                                "tags beside the data come with the target integrity, which there is not yet",
                                "a cipher without tags");
        if (!bytes || *bytes == 0 || *bytes > kMostTag || strcasecmp(profile.c_str(), "none") != 0)
            throw setup_.refuse(index, "'" + setup_.word(index) + "' is no kind of tags",
                                "integrity:BYTES:none, 1 to " + std::to_string(kMostTag) + " bytes");
        options.integrity = std::to_string(*bytes) + ":" + profile;
    }

    void integrity_key_size(size_t index, std::string_view value) {
        std::optional<uint64_t> bytes = parse_decimal(value);
        if (!bytes || *bytes == 0 || *bytes > std::numeric_limits<uint32_t>::max())
            throw setup_.refuse(index, "no key of '" + std::string(value) + "' bytes", "at least 1");
        options.integrity_key_bytes = static_cast<uint32_t>(*bytes);
    }

    static std::string names() {
        std::string names = "one of ";
        for (const Flag& flag : kFlags) names += std::string(flag.name) + ", ";
        return names + "sector_size:BYTES, iv_large_sectors";
    }

    TargetSetup& setup_;
    size_t at_;  // of the word that was read last
};

}  // namespace

std::string Options::words() const {
    std::vector<std::string> words;
    for (const Flag& each : kFlags)
        if (this->*each.flag) words.emplace_back(each.name);
    if (!integrity.empty()) words.push_back("integrity:" + integrity);
    if (sector_bytes != kSectorBytes) words.push_back("sector_size:" + std::to_string(sector_bytes));
    if (iv_large_sectors) words.emplace_back("iv_large_sectors");
    if (integrity_key_bytes != 0)
        words.push_back("integrity_key_size:" + std::to_string(integrity_key_bytes));
    if (words.empty()) return {};
    std::string text = std::to_string(words.size());
    for (const std::string& word : words) text += " " + word;
    return text;
}

Options parse_options(TargetSetup& setup, size_t at) {
    return setup.words() > at ? OptionWords(setup, at).options : Options{};
}

}  // namespace dmfs::crypt
