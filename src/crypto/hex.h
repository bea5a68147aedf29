// Keys as hexadecimal digits, two for each byte.

#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/refused.h"
#include "crypto/secret.h"

namespace dmfs {

// Throws Refused, whose place is a column and a length within `text`. Nothing of the text
// is in what it says.
Secret parse_hex(std::string_view text);

// Lower case.
std::string hex_of(std::span<const std::byte> bytes);

}  // namespace dmfs
