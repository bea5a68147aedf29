// What may be a key is not shown: stars stand in its place, as many, so that columns stay.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dmfs {

// The text with stars for every word that may be a key: 16 hexadecimal digits or more, and
// few other letters. Decimal numbers of 64 bits stay, but for those of 16 digits. For texts
// of which nobody knows what they are yet.
std::string hide_digits(std::string text);

// And for the bytes [column, column + length).
std::string hide_part(std::string text, size_t column, size_t length);

}  // namespace dmfs
