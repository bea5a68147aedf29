// Where the pieces of a volume lie on a bar of so many pixels. What is too thin to be
// seen is merged with its neighbours into a cell that shows the shares of its devices.
//
//     pieces   [a][b][a][b]      [   c   ][d|e|d|e|d|e|d|e|...]
//     cells    [a][b][a][b]      [   c   ][ d, e ][ d, e ]...       merged: wide enough to point at

#pragma once

#include <string>
#include <vector>

#include "cli/graph_model.h"

namespace dmfs::cli {

constexpr double kThinnest = 2;  // pixels: what is thinner is merged ...
constexpr double kMerged = 8;    // ... into cells at least so wide
constexpr size_t kMostShares = 16;
constexpr int kOthers = -2;  // in the place of a device: all beyond kMostShares

struct Share {
    int device;
    double part;  // of 1
};

// Part of a bar, before it is known how wide that is drawn.
struct Span {
    Sector from;
    Sector end;
    std::vector<Share> shares;  // one, or those whose chunks alternate too finely
    std::string title;
    size_t pieces = 1;
};

struct Cell {
    double x, width;  // in pixels
    Span span;
    size_t merged = 1;  // spans that are in it
};

// Spans in order, without overlap, onto a bar of `width` pixels for [0, sectors).
std::vector<Cell> cells_of(const std::vector<Span>& spans, Sector sectors, double width);

// What of each volume is where: the pieces of its rows.
std::vector<Span> spans_of(const Graph& graph, const GraphVolume& volume);
// Where its rows are, each with its target.
std::vector<Span> row_spans(const GraphVolume& volume);

// What of a device is used by whom, in lanes without overlap; what would not fit in
// `most_lanes` is left out.
struct Use {
    Span span;
    size_t volume;
};
struct Lanes {
    std::vector<std::vector<Use>> lanes;
    size_t left_out = 0;
};
Lanes uses_of(const Graph& graph, int device, size_t most_lanes);

// About how wide a text is, in pixels, in a sans-serif font of that size; rather too
// wide than too narrow.
double text_width(std::string_view text, double font_size);
// As much of it as fits, with an ellipsis; empty if that is next to nothing.
std::string fitting(std::string_view text, double font_size, double width);

// Round places on a scale of [0, sectors): powers of two, at most so many.
std::vector<Sector> ticks_of(Sector sectors, size_t most);

}  // namespace dmfs::cli
