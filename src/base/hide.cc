#include "base/hide.h"

#include <algorithm>
#include <cctype>

namespace dmfs {

namespace {

constexpr size_t kLeast = 16;         // digits of the shortest key, of 8 bytes
constexpr size_t kLeastDecimal = 32;  // shorter, it may well be a number

bool is_hex(char c) { return isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_letter(char c) { return isalpha(static_cast<unsigned char>(c)) != 0; }

}  // namespace

std::string hide_digits(std::string text) {
    for (auto from = text.begin(); from != text.end();) {
        from = std::find_if(from, text.end(), is_hex);
        auto end = std::find_if_not(from, text.end(), is_hex);
        auto length = static_cast<size_t>(end - from);
        if (length >= kLeastDecimal || (length >= kLeast && std::any_of(from, end, is_letter)))
            std::fill(from, end, '*');
        from = end;
    }
    return text;
}

std::string hide_part(std::string text, size_t column, size_t length) {
    if (column < text.size()) text.replace(column, length, std::min(length, text.size() - column), '*');
    return text;
}

}  // namespace dmfs
