#include "targets/crypt/keys.h"

#include <algorithm>
#include <optional>

#include "base/words.h"
#include "crypto/hex.h"
#include "crypto/keyring.h"

namespace dmfs::crypt {

namespace {

constexpr size_t kMostKey = size_t{1} << 24;  // bytes; more than any number of keys takes

// Where in the word something is wrong; the word itself is not to be shown.
Refused refuse(size_t column, size_t length, std::string reason, std::string remedy) {
    return Refused(EINVAL, std::move(reason), std::move(remedy))
        .at(Place{"key", 1, {}, column, std::max<size_t>(length, 1)});
}

// As in the kernel, an odd digit at the end is no part of the key.
KeyWord parse_digits(std::string_view text) {
    text = text.substr(0, text.size() / 2 * 2);
    if (text.empty())
        throw refuse(0, 1, "the key is empty", "two digits for each byte, or - for a cipher without a key");
    if (text.size() / 2 > kMostKey) throw refuse(0, text.size(), "the key is too long", "fewer bytes");
    KeyWord word;
    word.bytes = text.size() / 2;
    word.key = parse_hex(text);
    return word;
}

// :BYTES:TYPE:DESCRIPTION
KeyWord parse_reference(std::string_view text) {
    constexpr const char* kForm = ":BYTES:TYPE:DESCRIPTION, such as :32:logon:disk";
    size_t colon = text.find(':', 1);
    std::optional<uint64_t> bytes = parse_decimal(text.substr(1, std::min(colon, text.size()) - 1));
    if (colon == std::string_view::npos || !bytes || *bytes > kMostKey)
        throw refuse(0, text.size(), "the size of the key in a keyring is missing", kForm);
    size_t type_at = colon + 1, type_end = text.find(':', type_at);
    if (type_end == std::string_view::npos || type_end == type_at || type_end + 1 == text.size())
        throw refuse(colon, text.size() - colon, "the keyring's type or description is missing", kForm);
    KeyWord word;
    word.bytes = *bytes;
    word.type = text.substr(type_at, type_end - type_at);
    word.description = text.substr(type_end + 1);
    if (word.type == "encrypted" || word.type == "trusted")
        throw refuse(type_at, word.type.size(), "only a kernel can unseal keys of the type " + word.type,
                     "logon or user, with the key itself");
    if (word.type != "logon" && word.type != "user")
        throw refuse(type_at, word.type.size(), "no type of keys '" + word.type + "'", "logon or user");
    // It could not be printed: the kernel does not quote it.
    if (std::ranges::any_of(word.description, [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }))
        throw refuse(type_end + 1, word.description.size(), "a blank in the description of a key",
                     "one without");
    return word;
}

}  // namespace

KeyWord parse_key(std::string_view text) {
    if (text == "-") return {};
    if (text.starts_with(':')) return parse_reference(text);
    return parse_digits(text);
}

Secret fetch_key(const KeyWord& word) {
    if (!word.is_reference()) return Secret(word.key.bytes());
    Secret key = find_key(word.type, word.description);
    if (key.size() == word.bytes) return key;
    throw Refused(EINVAL,
                  "the keyring's " + word.type + " key " + word.description + " has " +
                      std::to_string(key.size()) + " bytes, not " + std::to_string(word.bytes),
                  ":" + std::to_string(key.size()) + ":" + word.type + ":" + word.description);
}

}  // namespace dmfs::crypt
