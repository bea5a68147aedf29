#include "base/hide.h"

#include <algorithm>
#include <cctype>

namespace dmfs {

namespace {

constexpr size_t kLeast = 16;         // digits of the shortest key, of 8 bytes
constexpr size_t kMostOfNumber = 20;  // digits of 2^64

bool is_hex(char c) { return isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_decimal(char c) { return isdigit(static_cast<unsigned char>(c)) != 0; }
// A UUID ends words with its dashes, a path with its slashes.
bool ends_word(char c) { return std::string_view(" \t\n,;:=\"'()-/.").find(c) != std::string_view::npos; }

// Also one with a slip of the pen or two.
bool may_be_key(std::string_view word) {
    auto digits = static_cast<size_t>(std::ranges::count_if(word, is_hex));
    if (digits < kLeast || word.size() - digits > word.size() / 4) return false;
    bool is_number = std::ranges::all_of(word, is_decimal) && digits > kLeast && digits <= kMostOfNumber;
    return !is_number;
}

}  // namespace

std::string hide_digits(std::string text) {
    for (auto from = text.begin(); from != text.end();) {
        from = std::find_if_not(from, text.end(), ends_word);
        auto end = std::find_if(from, text.end(), ends_word);
        if (may_be_key({from, end})) std::fill(from, end, '*');
        from = end;
    }
    return text;
}

std::string hide_part(std::string text, size_t column, size_t length) {
    if (column < text.size()) text.replace(column, length, std::min(length, text.size() - column), '*');
    return text;
}

}  // namespace dmfs
