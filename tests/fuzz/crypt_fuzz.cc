// The words of crypt: any bytes are a cipher or a key, or a refusal that points into them
// and shows nothing of a key. What is taken can be used.

#include <string>

#include "crypto/hex.h"
#include "fuzz/check.h"
#include "targets/crypt/converter.h"
#include "targets/crypt/keys.h"

using namespace dmfs;
using namespace dmfs::crypt;

namespace {

void check_place(const Refused& refused, const std::string& word) {
    PROMISE(refused.error() > 0 && !refused.reason().empty() && !refused.remedy().empty());
    const Place& place = refused.place();
    PROMISE(place.length > 0);
    PROMISE(word.empty() ? place.column == 0 : place.column + place.length <= word.size());
}

// The first key that fits, from `least` bytes on, and what it makes of two sectors.
void use(const CipherSpec& spec) {
    size_t bytes = 0;
    const size_t most = size_t{200} * (spec.keys + 1);
    while (bytes <= most && !takes_key(spec, bytes)) bytes++;
    if (bytes > most || spec.keys > 64) return;
    PROMISE(!key_sizes(spec).empty());
    KeyParts parts = key_parts(spec, bytes);
    PROMISE(parts.each * spec.keys + parts.extra <= bytes);
    std::vector<std::byte> key(bytes, std::byte{0x5a}), data(1024, std::byte{1}), out(1024);
    bool cuts = spec.iv == IvKind::lmk && spec.mode->name != "cbc";
    Converter converter(spec, {}, key);
    converter.encrypt(data.data(), out.data(), out.size(), 7);
    converter.decrypt(out.data(), out.size(), 7);
    PROMISE(cuts || out == data);
}

void try_cipher(const std::string& word) {
    try {
        CipherSpec spec = parse_cipher(word);
        PROMISE(spec.text == word && spec.cipher != nullptr && spec.mode != nullptr);
        PROMISE(spec.iv_bytes() <= kMostIv && (spec.keys & (spec.keys - 1)) == 0 && spec.keys > 0);
        PROMISE(spec.iv_bytes() == 0 || spec.iv != IvKind::none);
        use(spec);
    } catch (const Refused& refused) {
        PROMISE(refused.error() == EINVAL || refused.error() == ENOENT);
        PROMISE(refused.place().source == word);
        check_place(refused, word);
    }
}

void try_key(const std::string& word) {
    try {
        KeyWord key = parse_key(word);
        if (key.is_reference())
            PROMISE(":" + std::to_string(key.bytes) + ":" + key.type + ":" + key.description == word ||
                    word.starts_with(":0"));
        else
            PROMISE(key.key.size() == key.bytes && hex_of(key.key.bytes()).size() == word.size() / 2 * 2);
    } catch (const Refused& refused) {
        PROMISE(refused.error() == EINVAL && refused.place().source.empty());
        check_place(refused, word);
        // No digits of a key, in a row. (Letters a fuzzer takes from the very refusal; a word
        // of a keyring is none of a key.)
        constexpr size_t kDigits = 8;
        for (size_t at = 0; !word.starts_with(':') && at + kDigits <= word.size(); at++) {
            std::string part = word.substr(at, kDigits);
            bool digits = part.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
            PROMISE(!digits || refused.reason().find(part) == std::string::npos);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string word(reinterpret_cast<const char*>(data), size);
    try_cipher(word);
    try_key(word);
    return 0;
}
