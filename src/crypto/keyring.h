// Keyrings: keys by their type and description, so that a table need not hold them.
//
// The mount has one of its own, which a keyring of the kernel is searched behind. A key of
// the type `logon` cannot be read by any process: of these only the mount's own serve.

#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/refused.h"
#include "crypto/secret.h"

namespace dmfs {

class Keyring {
  public:
    struct Entry {
        std::string type;
        std::string description;
        size_t bytes = 0;
    };

    // In the place of one that is there. Throws Refused.
    void add(const std::string& type, const std::string& description, Secret key);
    // Throws Refused (ENOKEY) if there is none.
    void remove(const std::string& type, const std::string& description);
    // In the order of types and descriptions.
    std::vector<Entry> list() const;
    // A copy; nothing if there is none.
    bool find(const std::string& type, const std::string& description, Secret* found) const;

  private:
    mutable std::mutex mutex_;
    std::map<std::pair<std::string, std::string>, Secret> keys_;
};

// The bytes of a file, all of them, as a key. Throws Refused.
Secret read_key_file(const std::string& path);

// The process' own.
Keyring& own_keyring();

// From the own keyring, or else from those of the kernel that this process may search.
// Throws Refused.
Secret find_key(const std::string& type, const std::string& description);

}  // namespace dmfs
