#include "dm/keyring.h"

#include "base/hide.h"
#include "base/words.h"
#include "crypto/hex.h"
#include "crypto/keyring.h"

namespace dmfs {

namespace {

constexpr const char* kUsage = "add TYPE DESCRIPTION KEY, or remove TYPE DESCRIPTION";

}  // namespace

std::string keyring_text() {
    std::string text;
    for (const Keyring::Entry& each : own_keyring().list())
        text += each.type + " " + quote_word(each.description) + " " + std::to_string(each.bytes) + "\n";
    return text;
}

void keyring_request(const std::string& text) {
    std::string_view line = std::string_view(text).substr(0, text.find('\n'));
    std::vector<Word> words = split_words(line);
    std::string shown = hide_digits(std::string(line));
    if (words.size() >= 4) shown = hide_part(shown, words[3].column, shown.size());
    auto place = [&](const Word& word) { return Place{"keyring", 1, shown, word.column, word.length}; };
    if (words.empty()) throw Refused(EINVAL, "an empty request", kUsage);
    bool adds = words[0].text == "add";
    if (!adds && words[0].text != "remove")
        throw Refused(EINVAL, "unknown request '" + hide_digits(words[0].text) + "'", kUsage)
            .at(place(words[0]));
    if (words.size() != (adds ? 4 : 3))
        throw Refused(EINVAL, "a request of " + std::to_string(words.size()) + " words", kUsage)
            .at(place(words.back()));
    const std::string& type = words[1].text;
    const std::string& description = words[2].text;
    try {
        if (!adds) return own_keyring().remove(type, description);
        own_keyring().add(type, description, parse_hex(words[3].text));
    } catch (const Refused& refused) {
        const Word& word = refused.place().file.empty() ? words[1] : words[3];
        throw Refused(refused.error(), hide_digits(refused.reason()), hide_digits(refused.remedy()))
            .at(place(word));
    }
}

}  // namespace dmfs
