#include "cli/escape.h"

#include <fmt/format.h>

namespace dmfs::cli {

namespace {

// The length of the character that begins at `at`; 0 if these bytes are none.
size_t decode(std::string_view bytes, size_t at, uint32_t& code) {
    auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
    uint32_t first = byte(at);
    size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (length == 0 || at + length > bytes.size()) return 0;
    if (length == 1) {
        code = first;
        return 1;
    }
    code = first & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if (byte(at + i) >> 6 != 2) return 0;
        code = code << 6 | (byte(at + i) & 0x3f);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < kLeast[length] || code > 0x10ffff || surrogate ? 0 : length;
}

// Controls, line ends, marks of direction, and what XML forbids.
bool harmful(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || (code & 0xfffe) == 0xfffe;
}

}  // namespace

std::string printable(std::string_view bytes) {
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
        uint32_t code = 0;
        size_t length = decode(bytes, at, code);
        if (length == 0) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[at++]));
            continue;
        }
        if (!harmful(code))
            out += bytes.substr(at, length);
        else if (code < 0x80)
            out += fmt::format("\\x{:02x}", code);
        else
            out += fmt::format("\\u{{{:x}}}", code);
        at += length;
    }
    return out;
}

std::string xml(std::string_view bytes) {
    std::string out;
    for (char c : printable(bytes)) switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    return out;
}

std::string dot(std::string_view bytes) {
    std::string out;
    for (char c : printable(bytes)) {
        if (c == '"' || c == '\\') out += '\\';
        // In a label &lt; would be a character, too.
        if (c == '&')
            out += "&amp;";
        else
            out += c;
    }
    return out;
}

size_t characters(std::string_view text) {
    size_t count = 0;
    for (char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    return count;
}

std::string shortened(std::string_view text, size_t most) {
    if (characters(text) <= most) return std::string(text);
    if (most == 0) return {};
    size_t at = 0;
    for (size_t count = 0; at < text.size(); at++)
        if ((static_cast<unsigned char>(text[at]) & 0xc0) != 0x80 && ++count == most) break;
    return std::string(text.substr(0, at)) + "…";
}

std::string size_text(uint64_t bytes) {
    constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    auto number = static_cast<double>(bytes);
    // 1023.6 would be shown as 1024.
    for (; number >= 1023.5 && unit + 1 < std::size(kUnits); unit++) number /= 1024;
    std::string text = fmt::format("{:.{}f}", number,
                                   unit == 0 || number >= 99.95 ? 0
                                   : number >= 9.995            ? 1
                                                                : 2);
    if (text.find('.') != std::string::npos) {
        while (text.back() == '0') text.pop_back();
        if (text.back() == '.') text.pop_back();
    }
    return text + " " + kUnits[unit];
}

std::string range_text(uint64_t from, uint64_t count) { return fmt::format("[{}, {})", from, from + count); }

}  // namespace dmfs::cli
