// The options of a crypt row: their number, and they, in any order.
//
//     ... DEVICE START 2 allow_discards sector_size:4096

#pragma once

#include <cstdint>
#include <string>

#include "engine/target.h"

namespace dmfs::crypt {

struct Options {
    bool allow_discards = false;
    // Where and how a kernel computes. They are kept and printed; here they change nothing.
    bool same_cpu_crypt = false, high_priority = false, submit_from_crypt_cpus = false;
    bool no_read_workqueue = false, no_write_workqueue = false;
    uint32_t sector_bytes = 512;
    bool iv_large_sectors = false;
    // Without tags these have no effect; they are kept and printed all the same.
    std::string integrity;  // "16:none"
    uint32_t integrity_key_bytes = 0;

    // As the kernel prints them, with their number; nothing for none.
    std::string words() const;
};

// From the words [at, ...) of the row; those after the announced ones are passed over,
// as the kernel does. Throws Refused.
Options parse_options(TargetSetup& setup, size_t at);

}  // namespace dmfs::crypt
