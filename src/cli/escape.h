// Names are bytes that other people chose; here they become text that a terminal, an
// XML or HTML document or a DOT file can hold without meaning anything there.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dmfs::cli {

// UTF-8 in which nothing moves the cursor, breaks a line or turns the direction of
// writing: such characters are written \xHH or \u{HEX}, bytes that are no UTF-8 \xHH.
std::string printable(std::string_view bytes);

// Escapes printable text for the content and the attributes of XML and HTML.
std::string xml(std::string_view bytes);
// The same between the double quotes of a DOT string.
std::string dot(std::string_view bytes);

// How many characters a printable text has.
size_t characters(std::string_view text);
// At most `most` characters of it; what is left out is told by "…".
std::string shortened(std::string_view text, size_t most);

// "1.5 MiB": of three digits at most.
std::string size_text(uint64_t bytes);
// "[0, 2048)", of sectors.
std::string range_text(uint64_t from, uint64_t count);

}  // namespace dmfs::cli
