#include "base/words.h"

#include <charconv>
#include <limits>

namespace dmfs {

namespace {

bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

std::vector<Word> split_words(std::string_view line) {
    std::vector<Word> words;
    size_t at = 0;
    while (true) {
        while (at < line.size() && blank(line[at])) at++;
        if (at == line.size()) return words;
        Word word;
        word.column = at;
        for (; at < line.size() && !blank(line[at]); at++) {
            if (line[at] == '\\' && at + 1 < line.size()) at++;
            word.text += line[at];
        }
        word.length = at - word.column;
        words.push_back(std::move(word));
    }
}

std::string_view without_comment(std::string_view line) {
    for (size_t at = 0; at < line.size(); at++) {
        if (line[at] == '\\')
            at++;
        else if (line[at] == '#')
            return line.substr(0, at);
    }
    return line;
}

std::string quote_word(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (blank(c) || c == '\\' || c == '#') out += '\\';
        out += c;
    }
    return out;
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
    uint64_t value = 0;
    if (text.empty() || text[0] == '+' || text[0] == '-') return std::nullopt;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 10);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<uint64_t> parse_size(std::string_view text) {
    size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') digits++;
    std::optional<uint64_t> number = parse_decimal(text.substr(0, digits));
    if (!number) return std::nullopt;
    std::string_view unit = text.substr(digits);
    unsigned shift = 0;
    if (!unit.empty()) {
        constexpr std::string_view kLetters = "KMGTPE";
        char letter = unit[0];
        if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
        size_t power = kLetters.find(letter);
        std::string_view rest = unit.substr(1);
        if (power == std::string_view::npos || !(rest.empty() || rest == "B" || rest == "iB"))
            return std::nullopt;
        shift = 10 * static_cast<unsigned>(power + 1);
    }
    if (*number > (std::numeric_limits<uint64_t>::max() >> shift)) return std::nullopt;
    return *number << shift;
}

}  // namespace dmfs
