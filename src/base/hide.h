// What may be a key is not shown: stars stand in its place, as many, so that columns stay.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dmfs {

// The text with stars for every run of hexadecimal digits that is as long as a key: 16 of
// them with a letter among them, or 32. For texts of which nobody knows what they are yet.
std::string hide_digits(std::string text);

// And for the bytes [column, column + length).
std::string hide_part(std::string text, size_t column, size_t length);

}  // namespace dmfs
