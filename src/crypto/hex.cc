#include "crypto/hex.h"

#include <algorithm>

namespace dmfs {

namespace {

int value_of(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

}  // namespace

Secret parse_hex(std::string_view text) {
    auto wrong = std::ranges::find_if(text, [](char c) { return value_of(c) < 0; });
    if (wrong != text.end()) {
        auto at = static_cast<size_t>(wrong - text.begin());
        throw Refused(EINVAL, "character " + std::to_string(at + 1) + " of the key is no hexadecimal digit",
                      "0 to 9, a to f")
            .at(Place{"key", 1, {}, at, 1});
    }
    if (text.size() % 2 != 0)
        throw Refused(EINVAL, "the key has " + std::to_string(text.size()) + " hexadecimal digits",
                      "two for each byte")
            .at(Place{"key", 1, {}, 0, text.size()});
    Secret key(text.size() / 2);
    for (size_t i = 0; i < key.size(); i++)
        key.bytes()[i] = static_cast<std::byte>(value_of(text[2 * i]) << 4 | value_of(text[2 * i + 1]));
    return key;
}

std::string hex_of(std::span<const std::byte> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * bytes.size());
    for (std::byte each : bytes) {
        text += kDigits[static_cast<unsigned>(each) >> 4];
        text += kDigits[static_cast<unsigned>(each) & 15];
    }
    return text;
}

}  // namespace dmfs
