// Words of a table line, a message, a control write: split at blanks, a backslash
// quotes the character after it (dm_split_args in the kernel). Each word knows
// where it stood, so that a refusal can point at it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmfs {

struct Word {
    std::string text;   // unquoted
    size_t column = 0;  // where it began, in bytes from the start of the line
    size_t length = 0;  // its length there, quotes included
};

// The words of one line. A backslash at the very end stands for itself.
std::vector<Word> split_words(std::string_view line);

// The line without its comment: a # that no backslash quotes, and what follows.
std::string_view without_comment(std::string_view line);

// text, quoted so that split_words gives it back as one word; a # too, which would
// begin a comment in a table.
std::string quote_word(std::string_view text);

// A decimal number of at most 20 digits without sign, blanks or anything after;
// nothing where it is not one or does not fit 64 bits.
std::optional<uint64_t> parse_decimal(std::string_view text);

// A size in bytes as people write it: 512, 64K, 1M, 2G, 1T (powers of 1024; an
// optional B or iB after the letter).
std::optional<uint64_t> parse_size(std::string_view text);

}  // namespace dmfs
