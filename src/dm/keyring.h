// The mount's own keyring, as .control/keyring shows it (dmfs-control(7)).

#pragma once

#include <string>

namespace dmfs {

// "TYPE DESCRIPTION BYTES", one line a key. Never the key.
std::string keyring_text();

// "add TYPE DESCRIPTION KEY", the key as hexadecimal digits, or "remove TYPE DESCRIPTION".
// Throws Refused, in which nothing of the key is.
void keyring_request(const std::string& text);

}  // namespace dmfs
