// A rule of chaos: what goes wrong, when, and under which name. One word of a table:
//
//     NAME:FAULT[:ARGUMENT][,CONDITION...]
//
//     dead:error:EIO,on=read,sectors=100+8,once
//     `--'  `---' `-' `-----------------------'
//
// What a fault needs besides its conditions (which sector it hits, where it cuts) is
// drawn from the seed, the rule's name and the number of the request: see draw.h.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/refused.h"
#include "engine/bio.h"

namespace dmfs::chaos {

enum class Fault : uint8_t { error, torn, lost, misdirect, stale, flip, latent, hang, slow };

// The word for it, in a rule and in the log.
std::string_view fault_name(Fault fault);
std::string_view op_name(Op op);
std::string_view error_name(int error);

constexpr unsigned bit_of(Op op) { return 1u << static_cast<unsigned>(op); }

struct Rule {
    static constexpr uint64_t kBillion = 1'000'000'000;
    static constexpr Sector kMaskChunk = 128;

    std::string name;
    Fault fault = Fault::error;
    int error = EIO;            // error: what the request fails with
    bool acknowledged = false;  // torn: answered as if all were written
    Sector distance = 0;        // misdirect
    unsigned bits = 1;          // flip: how many
    int64_t delay_ns = 0;       // slow

    unsigned ops = 0;  // bit_of() each op that it looks at
    bool everywhere = true;
    Sector from = 0, end = 0;        // else: of the row
    uint64_t since = 0;              // from this request on; 0: not said, as below
    uint64_t nth = 0;                // only this request
    uint64_t every = 0;              // every so many requests
    uint64_t times = 0;              // fires so often at most
    uint64_t billionths = kBillion;  // the probability
    std::string after;               // silent until this mark
    std::string mask;                // see mask.h
    Sector mask_chunk = kMaskChunk;

    // Whether it decides how the request ends; the others only hold it.
    bool decides() const { return fault != Fault::hang && fault != Fault::slow; }
};

// What a rule has to fit.
struct RuleGround {
    Sector length = 0;  // of the row
    Sector block = 1;   // the device's logical block
};

// Throws Refused, whose place is a column and a length within `word`.
Rule parse_rule(std::string_view word, const RuleGround& ground);

// The word that parses to this rule, in one form however it was written.
std::string print_rule(const Rule& rule);

// Names of rules, marks and masks: letters, digits, _ - and . , at most 32.
bool good_name(std::string_view name);

}  // namespace dmfs::chaos
