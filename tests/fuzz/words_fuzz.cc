// Words, names and numbers: quoting and mangling lose nothing.

#include <string>

#include "base/refused.h"
#include "base/words.h"
#include "dm/names.h"
#include "fuzz/check.h"

using namespace dmfs;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string text(reinterpret_cast<const char*>(data), size);
    std::string joined;
    std::vector<Word> words = split_words(text);
    size_t end = 0;
    for (const Word& word : words) {
        PROMISE(!word.text.empty() && word.length > 0);
        PROMISE(word.column >= end && word.column + word.length <= size);
        end = word.column + word.length;
        joined += quote_word(word.text) + " ";
    }
    std::vector<Word> again = split_words(joined);
    PROMISE(again.size() == words.size());
    for (size_t i = 0; i < words.size(); i++) PROMISE(again[i].text == words[i].text);

    if (!text.empty()) PROMISE(split_words(quote_word(text)).at(0).text == text);
    if (std::optional<uint64_t> number = parse_decimal(text))
        PROMISE(parse_decimal(std::to_string(*number)) == number);
    if (std::optional<uint64_t> bytes = parse_size(text))
        PROMISE(parse_size(std::to_string(*bytes)) == bytes);
    PROMISE(unmangle_name(mangle_name(text)) == text);
    for (Mangling mode : {Mangling::automatic, Mangling::hex, Mangling::none}) {
        try {
            std::string raw = name_from_user(text, mode);
            check_name(raw);
            PROMISE(name_from_user(name_for_user(raw, Mangling::none), Mangling::none) == raw);
        } catch (const Refused& refused) {
            PROMISE(refused.error() > 0);
        }
    }
    return 0;
}
