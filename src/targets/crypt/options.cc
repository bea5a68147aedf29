#include "targets/crypt/options.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <string_view>
#include <vector>

#include "base/words.h"
#include "parts/feature_words.h"

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

class OptionWords {
  public:
    OptionWords(TargetSetup& setup, size_t at) : setup_(setup), words_(setup, at, "options", kMostOptions) {
        while (words_.next()) option();
    }

    Options options;

  private:
    void option() {
        for (const Flag& flag : kFlags)
            if (words_.is(flag.name)) {
                options.*flag.flag = true;
                return;
            }
        if (words_.is("iv_large_sectors"))
            options.iv_large_sectors = true;
        else if (std::optional<std::string_view> bytes = words_.value_of("sector_size"))
            sector_size(*bytes);
        else if (std::optional<std::string_view> bytes_of_key = words_.value_of("integrity_key_size"))
            integrity_key_size(*bytes_of_key);
        else if (std::optional<std::string_view> tags = words_.value_of("integrity"))
            integrity(*tags);
        else
            throw words_.unknown(names());
    }

    void sector_size(std::string_view value) {
        std::optional<uint64_t> bytes = parse_decimal(value);
        if (!bytes || *bytes < kSectorBytes || *bytes > kMostSector || !std::has_single_bit(*bytes))
            throw words_.refuse("no sectors of '" + std::string(value) + "' bytes",
                                "512, 1024, 2048 or 4096");
        if (setup_.length() % sectors_in(*bytes) != 0)
            throw words_.refuse("the row's " + std::to_string(setup_.length()) +
                                    " sectors of 512 bytes are not whole ones of " + std::string(value),
                                "a length that is a multiple of " + std::to_string(sectors_in(*bytes)));
        options.sector_bytes = static_cast<uint32_t>(*bytes);
    }

    // BYTES:none is a tag that nothing writes; BYTES:aead one that a cipher makes.
    void integrity(std::string_view value) {
        size_t colon = std::min(value.find(':'), value.size());
        std::optional<uint64_t> bytes = parse_decimal(value.substr(0, colon));
        std::string profile(value.substr(std::min(colon + 1, value.size())));
        if (strcasecmp(profile.c_str(), "aead") == 0)
            throw words_.refuse("tags beside the data come with the target integrity, which there is not yet",
                                "a cipher without tags");
        if (!bytes || *bytes == 0 || *bytes > kMostTag || strcasecmp(profile.c_str(), "none") != 0)
            throw words_.refuse("'" + words_.name() + "' is no kind of tags",
                                "integrity:BYTES:none, 1 to " + std::to_string(kMostTag) + " bytes");
        options.integrity = std::to_string(*bytes) + ":" + profile;
    }

    void integrity_key_size(std::string_view value) {
        std::optional<uint64_t> bytes = parse_decimal(value);
        if (!bytes || *bytes == 0 || *bytes > std::numeric_limits<uint32_t>::max())
            throw words_.refuse("no key of '" + std::string(value) + "' bytes", "at least 1");
        options.integrity_key_bytes = static_cast<uint32_t>(*bytes);
    }

    static std::string names() {
        std::string names = "one of ";
        for (const Flag& flag : kFlags) names += std::string(flag.name) + ", ";
        return names + "sector_size:BYTES, iv_large_sectors";
    }

    TargetSetup& setup_;
    FeatureWords words_;
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

Options parse_options(TargetSetup& setup, size_t at) { return OptionWords(setup, at).options; }

}  // namespace dmfs::crypt
