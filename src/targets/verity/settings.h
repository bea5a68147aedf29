// The words of a verity row, checked.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crypto/hash.h"
#include "engine/target.h"
#include "targets/verity/damage.h"
#include "targets/verity/tree.h"

namespace dmfs::verity {

struct FecSettings {
    Device* device = nullptr;
    uint64_t blocks = 0;  // covered by the parity: those of the data, of the tree, and more
    uint64_t start = 0;   // a block of the device
    unsigned roots = 0;   // bytes of parity for 255 - roots bytes
};

struct Settings {
    Device* data = nullptr;
    Device* hash = nullptr;
    size_t data_block = 0;  // bytes
    Tree::Shape shape;
    const HashType* algorithm = nullptr;
    std::vector<std::byte> root_digest, salt;
    Mode on_corruption = Mode::fail, on_error = Mode::fail;
    bool ignore_zero_blocks = false, check_at_most_once = false, try_verify_in_tasklet = false;
    std::optional<FecSettings> fec;

    // As a table has them.
    std::string words() const;
    // As dmsetup's measure has them.
    std::string measured(bool damaged) const;
};

// Throws Refused.
Settings read_settings(TargetSetup& setup);

}  // namespace dmfs::verity
