#include "cli/graph_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/escape.h"

namespace dmfs::cli {

namespace {

std::string device_name(const Graph& graph, int device) {
    if (device == kNothing) return "nothing";
    if (device == kOthers) return "others";
    return printable(graph.devices[static_cast<size_t>(device)].name);
}

// The largest shares first, the rest in one.
std::vector<Share> shares_of(const std::map<int, double>& weights) {
    double sum = 0;
    for (const auto& [device, weight] : weights) sum += weight;
    std::vector<Share> shares;
    for (const auto& [device, weight] : weights) shares.push_back({device, sum > 0 ? weight / sum : 0});
    std::stable_sort(shares.begin(), shares.end(),
                     [](const Share& a, const Share& b) { return a.part > b.part; });
    if (shares.size() > kMostShares) {
        Share others{kOthers, 0};
        for (size_t i = kMostShares - 1; i < shares.size(); i++) others.part += shares[i].part;
        shares.resize(kMostShares - 1);
        shares.push_back(others);
    }
    return shares;
}

std::vector<Share> shares_of_areas(const GraphRow& row) {
    std::map<int, double> weights;
    for (const GraphArea& area : row.areas) weights[area.device] += static_cast<double>(area.length);
    if (weights.empty()) weights[kNothing] = 1;
    return shares_of(weights);
}

// The row as one: its devices share it, in pieces too many to be told apart.
Span whole_row(const Graph& graph, const GraphRow& row) {
    Span span{row.start, row.end(), shares_of_areas(row), {}, row.pieces.size()};
    span.title = range_text(row.start, row.length) + " " + printable(row.target);
    if (row.known > 0 && !row.pieces.empty()) {
        auto all = static_cast<double>(row.pieces.size()) * static_cast<double>(row.length) /
                   static_cast<double>(row.known);
        span.pieces = static_cast<size_t>(all);
        span.title += fmt::format("\nabout {:.0f} pieces, dealt out to", all);
    }
    size_t shown = 0;
    for (const GraphArea& area : row.areas) {
        if (shown++ == kMostShares) {
            span.title += fmt::format("\n  and {} more", row.areas.size() - kMostShares);
            break;
        }
        span.title += "\n  " + device_name(graph, area.device) + " " + range_text(area.start, area.length);
    }
    return span;
}

std::string title_of(const Graph& graph, const GraphRow& row, const GraphPiece& piece) {
    std::string title = "sectors " + range_text(row.start + piece.at, piece.count) + ", " +
                        size_text(bytes_of(piece.count)) + ", " + printable(row.target);
    if (piece.device == kNothing) return title + "\nnothing below";
    title += "\non " + device_name(graph, piece.device) + " " + range_text(piece.start, piece.count);
    // What a read does not ask for: copies, sums, metadata.
    size_t others = 0;
    for (const GraphArea& area : row.areas) {
        bool read = std::any_of(row.pieces.begin(), row.pieces.end(),
                                [&](const GraphPiece& each) { return each.device == area.device; });
        if (read || others++ >= kMostShares) continue;
        title += "\nalso uses " + device_name(graph, area.device) + " " + range_text(area.start, area.length);
    }
    return title;
}

Cell merged_cell(const std::vector<Span>& spans, size_t from, size_t end, double scale) {
    if (end - from == 1) {
        const Span& span = spans[from];
        double width = static_cast<double>(span.end - span.from) * scale;
        return {static_cast<double>(span.from) * scale, std::max(width, 1.0), span, 1};
    }
    std::map<int, double> weights;
    Span all{spans[from].from, spans[end - 1].end, {}, {}, 0};
    for (size_t i = from; i < end; i++) {
        for (const Share& share : spans[i].shares)
            weights[share.device] += share.part * static_cast<double>(spans[i].end - spans[i].from);
        all.pieces += spans[i].pieces;
    }
    all.shares = shares_of(weights);
    return {static_cast<double>(all.from) * scale, static_cast<double>(all.end - all.from) * scale, all,
            end - from};
}

}  // namespace

std::vector<Cell> cells_of(const std::vector<Span>& spans, Sector sectors, double width) {
    std::vector<Cell> cells;
    if (sectors == 0) return cells;
    double scale = width / static_cast<double>(sectors);
    auto width_of = [&](const Span& span) { return static_cast<double>(span.end - span.from) * scale; };
    for (size_t at = 0; at < spans.size();) {
        size_t end = at + 1;
        if (width_of(spans[at]) < kThinnest)
            while (end < spans.size() && width_of(spans[end]) < kThinnest &&
                   static_cast<double>(spans[end].end - spans[at].from) * scale <= kMerged + kThinnest)
                end++;
        cells.push_back(merged_cell(spans, at, end, scale));
        at = end;
    }
    return cells;
}

std::vector<Span> spans_of(const Graph& graph, const GraphVolume& volume) {
    std::vector<Span> spans;
    for (const GraphRow& row : volume.rows) {
        if (!row.complete() || row.pieces.empty()) {
            spans.push_back(whole_row(graph, row));
            continue;
        }
        for (const GraphPiece& piece : row.pieces)
            spans.push_back({row.start + piece.at,
                             row.start + piece.at + piece.count,
                             {{piece.device, 1}},
                             title_of(graph, row, piece),
                             1});
    }
    return spans;
}

std::vector<Span> row_spans(const GraphVolume& volume) {
    std::vector<Span> spans;
    for (const GraphRow& row : volume.rows)
        spans.push_back({row.start,
                         row.end(),
                         {},
                         range_text(row.start, row.length) + ", " + size_text(bytes_of(row.length)) + ", " +
                             printable(row.target),
                         1});
    return spans;
}

Lanes uses_of(const Graph& graph, int device, size_t most_lanes) {
    std::vector<Use> uses;
    for (size_t i = 0; i < graph.volumes.size(); i++)
        for (const GraphRow& row : graph.volumes[i].rows)
            for (const GraphArea& area : row.areas) {
                if (area.device != device) continue;
                uses.push_back(
                    {{area.start,
                      area.start + area.length,
                      {{device, 1}},
                      "sectors " + range_text(area.start, area.length) + ", " +
                          size_text(bytes_of(area.length)) + "\nused by " + printable(graph.volumes[i].name) +
                          " " + range_text(row.start, row.length) + " " + printable(row.target),
                      1},
                     i});
            }
    std::stable_sort(uses.begin(), uses.end(),
                     [](const Use& a, const Use& b) { return a.span.from < b.span.from; });
    Lanes out;
    for (Use& use : uses) {
        auto lane = std::find_if(out.lanes.begin(), out.lanes.end(), [&](const std::vector<Use>& one) {
            return one.back().span.end <= use.span.from;
        });
        if (lane != out.lanes.end())
            lane->push_back(std::move(use));
        else if (out.lanes.size() < most_lanes)
            out.lanes.push_back({std::move(use)});
        else
            out.left_out++;
    }
    return out;
}

double text_width(std::string_view text, double font_size) {
    double ems = 0;
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        if ((byte & 0xc0) == 0x80) continue;
        if (byte >= 0xe0)
            ems += 1.05;
        else if (byte >= 0x80)
            ems += 0.75;
        else if (std::string_view("iljftI.,:;|!'()[]/ ").find(c) != std::string_view::npos)
            ems += 0.4;
        else if (std::string_view("mwMW@%").find(c) != std::string_view::npos)
            ems += 1;
        else
            ems += c >= 'A' && c <= 'Z' ? 0.74 : 0.64;
    }
    return ems * font_size;
}

std::string fitting(std::string_view text, double font_size, double width) {
    if (text_width(text, font_size) <= width) return std::string(text);
    for (size_t most = characters(text); most > 3; most--) {
        std::string shorter = shortened(text, most - 1);
        if (text_width(shorter, font_size) <= width) return shorter;
    }
    return {};
}

std::vector<Sector> ticks_of(Sector sectors, size_t most) {
    Sector step = 1;
    while (step < kMaxSectors && sectors / step > most) step *= 2;
    std::vector<Sector> ticks;
    for (Sector at = 0; at <= sectors && ticks.size() <= most; at += step) ticks.push_back(at);
    return ticks;
}

}  // namespace dmfs::cli
