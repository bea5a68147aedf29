// .control/graph: the whole stack as data, for those who draw it.
//
//     {"devices": [{"name", "kind", "number", "sectors", "allocated", "minor"}, ...],
//      "volumes": [{"name", "uuid", "minor", "sectors", "state", "readonly", "inactive",
//        "rows": [{"start", "length", "target",
//          "areas":  [{"device", "name", "kind", "start", "length"}, ...],
//          "pieces": [[AT, COUNT, DEVICE, START], ...], "known"}, ...]}, ...]}
//
// All numbers count sectors. A device is named by its place in "devices" (names may be
// alike once their bytes are text), and by -1 where nothing lies below. Pieces count
// from the row's start; they are left out where the row lies on its one area from end
// to end. A row in very many pieces has only the first: those of its first "known" sectors.

#pragma once

#include <cstddef>
#include <string>

#include "engine/namespace.h"

namespace dmfs {

struct GraphBounds {
    size_t pieces_of_row = 256;
    size_t fewest_pieces_of_row = 4;  // however many rows there are
    size_t pieces = size_t{1} << 16;  // of all rows together, unless there are very many
    size_t steps_a_piece = 64;        // that a target may explain until they make up a piece
};

std::string graph_text(const Namespace& volumes, const GraphBounds& bounds = {});

}  // namespace dmfs
