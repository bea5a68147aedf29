// Explaining: where a request to a volume would go, through every target down to files;
// and backwards, which volumes would meet a bad sector of a file.

#pragma once

#include <string>
#include <vector>

#include "dm/view.h"
#include "engine/namespace.h"

namespace dmfs {

// One step of a request below a row of a table, and the steps that it comes to itself.
struct Explained {
    Op op = Op::read;
    Sector at = 0;  // of the volume whose table this is: the sectors [at, at + count)
    Sector count = 0;
    size_t row = 0;  // of its table, from 0
    std::string target;
    std::string note;  // the target's own words: "chunk 7, stripe 1"
    DeviceKind kind = DeviceKind::nothing;
    std::string device;  // as a table prints it, without quoting
    Sector start = 0;    // of the device
    std::vector<Explained> below;
};

struct Explanation {
    std::vector<Explained> steps;
    bool cut_short = false;  // there would be more than `most` steps
};

// What a request would come to now; `most`: how many steps at all levels. Nothing for
// what lies beyond the table.
Explanation explain(const Table& table, Op op, Sector sector, Sector count, size_t most);

// The request "SECTOR[+COUNT] [read|write|discard|write_zeroes|flush]" answered as JSON
// (dmfs-control(7)). Throws Refused.
std::string explain_request(const Volume& volume, const std::string& text);

// One word: "low:24+8>/a.img:3072+8", several ways joined by commas.
std::string path_of(const Explanation& explanation);

// Where sectors of a file or device show in volumes, those that stand on others included.
struct Seen {
    std::string volume;
    Sector sector = 0;
    Sector count = 0;
    Sector start = 0;               // of the file
    std::vector<std::string> ways;  // the volumes below, from the file upwards
};
std::vector<Seen> seen_in(const Namespace& volumes, const Device& device, Sector start, Sector count);

// The request "DEVICE OFFSET[+LENGTH]" in bytes, answered as JSON; the device in a word as
// a table has it. Throws Refused.
std::string reverse_request(const Namespace& volumes, DeviceSource& devices, const std::string& text,
                            const std::string& folder);

}  // namespace dmfs
