// The stack that .control/graph tells of (src/dm/graph.h), as those see it who draw it.
//
//     Graph ---- volumes ---- rows ---- areas, pieces ----> devices ---- volume, if it is one

#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/units.h"

namespace dmfs::cli {

constexpr int kNothing = -1;  // in the place of a device or a volume

struct GraphArea {
    int device;
    Sector start;
    Sector length;
};

// Sectors of a row, counted from its start, that lie side by side on one device.
struct GraphPiece {
    Sector at;
    Sector count;
    int device;  // or kNothing
    Sector start;
};

struct GraphRow {
    Sector start;
    Sector length;
    std::string target;
    std::vector<GraphArea> areas;
    std::vector<GraphPiece> pieces;
    Sector known;  // the pieces tell of so many sectors

    Sector end() const { return start + length; }
    bool complete() const { return known == length; }
};

struct GraphVolume {
    std::string name;
    std::string uuid;
    uint32_t minor = 0;
    Sector sectors = 0;
    std::string state;
    bool readonly = false;
    bool inactive = false;
    std::vector<GraphRow> rows;
    std::vector<size_t> users;  // the volumes that stand on it
};

struct GraphDevice {
    std::string name;
    std::string kind;    // volume, file, block, ram
    std::string number;  // or empty
    Sector sectors = 0;
    Sector allocated = 0;
    int volume = kNothing;
};

struct Graph {
    std::vector<GraphDevice> devices;
    std::vector<GraphVolume> volumes;

    // Every volume stands behind all that stand on it.
    std::vector<size_t> from_the_top() const;
};

// Throws Refused where it is no such document.
Graph parse_graph(const nlohmann::ordered_json& document);

// What the document says of the volumes with these numbers, and of all that they stand on.
nlohmann::ordered_json only_below(const nlohmann::ordered_json& document,
                                  const std::vector<uint32_t>& minors);

// "3 MiB, active, read-only, 0:1".
std::string facts_of(const GraphVolume& volume);
std::string facts_of(const GraphDevice& device);

}  // namespace dmfs::cli
