// The second word of a crypt row: its key, or where to find it.
//
//     00112233...                hexadecimal digits, two for each byte; one more is passed over
//     :32:logon:my-disk          32 bytes that a keyring holds under this type and description
//     -                          no key, for a cipher that needs none

#pragma once

#include <string>
#include <string_view>

#include "base/refused.h"
#include "crypto/secret.h"

namespace dmfs::crypt {

struct KeyWord {
    size_t bytes = 0;               // of the key
    Secret key;                     // as digits gave it; of no bytes if a keyring has it
    std::string type, description;  // in the keyring; or empty

    bool is_reference() const { return !type.empty(); }
};

// Nothing of a key is in what it throws: Refused, whose place is a column and a length
// within `text` but whose source is not set.
KeyWord parse_key(std::string_view text);
// The key that the word means, from where it is. Throws Refused.
Secret fetch_key(const KeyWord& word);

}  // namespace dmfs::crypt
