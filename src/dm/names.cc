#include "dm/names.h"

#include <algorithm>

#include "base/refused.h"

namespace dmfs {

namespace {

bool plain(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("#+-.:=@_").find(c) != std::string_view::npos;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Whether \xHH stands at `at`.
bool mangled_at(std::string_view text, size_t at) {
    return at + 3 < text.size() && text[at] == '\\' && text[at + 1] == 'x' && hex_digit(text[at + 2]) >= 0 &&
           hex_digit(text[at + 3]) >= 0;
}

// Edit distance, bounded by the length of the words, which is below kNameBytes.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); j++) row[j] = j;
    for (size_t i = 1; i <= a.size(); i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row[b.size()];
}

}  // namespace

Mangling parse_mangling(std::string_view word) {
    if (word == "auto") return Mangling::automatic;
    if (word == "hex") return Mangling::hex;
    if (word == "none") return Mangling::none;
    throw Refused(EINVAL, "unknown mangling mode '" + std::string(word) + "'", "one of auto, hex and none");
}

std::string mangle_name(std::string_view raw) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    for (char c : raw) {
        if (plain(c)) {
            out += c;
            continue;
        }
        auto byte = static_cast<unsigned char>(c);
        out += "\\x";
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

std::string unmangle_name(std::string_view mangled) {
    std::string out;
    for (size_t at = 0; at < mangled.size(); at++) {
        if (!mangled_at(mangled, at)) {
            out += mangled[at];
            continue;
        }
        out += static_cast<char>(hex_digit(mangled[at + 2]) * 16 + hex_digit(mangled[at + 3]));
        at += 3;
    }
    return out;
}

namespace {

// The raw text that a word of the command line means.
std::string raw_from_user(std::string_view word, Mangling mode) {
    std::string raw(word);
    if (mode == Mangling::none) raw = unmangle_name(word);
    if (mode == Mangling::automatic) {
        bool mangled = false, other = false;
        for (size_t at = 0; at < word.size(); at++) {
            if (mangled_at(word, at)) {
                mangled = true;
                at += 3;
            } else if (!plain(word[at])) {
                other = true;
            }
        }
        if (mangled && other)
            throw Refused(
                EINVAL, "name '" + std::string(word) + "' mixes \\x with characters that ought to be mangled",
                "write '" + mangle_name(unmangle_name(word)) + "', or use --manglename hex");
        if (mangled) raw = unmangle_name(word);
    }
    return raw;
}

}  // namespace

std::string name_from_user(std::string_view word, Mangling mode) {
    std::string raw = raw_from_user(word, mode);
    check_name(raw);
    return raw;
}

std::string uuid_from_user(std::string_view word, Mangling mode) {
    std::string raw = raw_from_user(word, mode);
    check_uuid(raw);
    return raw;
}

std::string name_for_user(std::string_view raw, Mangling mode) {
    return mode == Mangling::none ? mangle_name(raw) : std::string(raw);
}

void check_name(std::string_view raw) {
    std::string shown = "name '" + std::string(raw.substr(0, kNameBytes)) + "'";
    if (raw.empty()) throw Refused(EINVAL, "a volume's name cannot be empty");
    if (raw.size() >= kNameBytes)
        throw Refused(ENAMETOOLONG, shown + "... is " + std::to_string(raw.size()) + " bytes long",
                      "a name holds at most " + std::to_string(kNameBytes - 1));
    if (raw.find('/') != std::string_view::npos) throw Refused(EINVAL, shown + " contains '/'");
    if (raw.find('\0') != std::string_view::npos) throw Refused(EINVAL, "a name contains a NUL");
    if (raw == "." || raw == ".." || raw == ".control") throw Refused(EINVAL, shown + " is reserved");
}

void check_uuid(std::string_view raw) {
    if (raw.size() >= kUuidBytes)
        throw Refused(EINVAL, "a uuid of " + std::to_string(raw.size()) + " bytes",
                      "a uuid holds at most " + std::to_string(kUuidBytes - 1));
    if (raw.find('\n') != std::string_view::npos || raw.find('\0') != std::string_view::npos)
        throw Refused(EINVAL, "a uuid contains a newline or a NUL");
}

std::vector<std::string> similar_names(std::string_view word, const std::vector<std::string>& candidates) {
    word = word.substr(0, kNameBytes);
    std::vector<std::pair<size_t, std::string>> near;
    for (const std::string& candidate : candidates) {
        if (candidate.size() > 2 * kNameBytes) continue;
        size_t far = distance(word, candidate);
        bool begins = !word.empty() && candidate.starts_with(word);
        if (far <= std::max<size_t>(1, (word.size() + 1) / 3) || begins) near.emplace_back(far, candidate);
    }
    std::sort(near.begin(), near.end());
    if (near.size() > 3) near.resize(3);
    std::vector<std::string> names;
    for (auto& [far, name] : near) names.push_back(std::move(name));
    return names;
}

}  // namespace dmfs
