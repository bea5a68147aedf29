// Numbers that the kernel reads with kstrtouint or kstrtoull: a plus may stand before them.
// Those it reads with sscanf's "%llu%c" take none here (TargetSetup::number, sector).

#pragma once

#include "engine/target.h"

namespace dmfs {

// As TargetSetup::number().
inline uint64_t plus_number(TargetSetup& setup, size_t index, std::string_view what, uint64_t least,
                            uint64_t most) {
    const std::string& word = setup.word(index);
    std::optional<uint64_t> value =
        parse_decimal(std::string_view(word).substr(word.starts_with('+') ? 1 : 0));
    // What is wrong with it is said there.
    return value && *value >= least && *value <= most ? *value : setup.number(index, what, least, most);
}

}  // namespace dmfs
