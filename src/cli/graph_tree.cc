// The stack as a tree. A volume that several stand on is drawn where it is met first.
//
//     disk  3 MiB, active, 0:2
//     ├─ [0, 2048) linear
//     │  └─ /home/me/a.img [0, 2048)  file, 1 MiB
//     └─ [2048, 6144) striped
//        ├─ left [0, 2048)  volume, 1 MiB
//        │  └─ [0, 2048) zero
//        └─ left [2048, 4096)  (as above)

#include <fmt/format.h>

#include <set>

#include "cli/escape.h"
#include "cli/graph_draw.h"

namespace dmfs::cli {

namespace {

class TreeText {
  public:
    TreeText(const Graph& graph, Lines lines, const TreeBounds& bounds)
        : graph_(graph), bounds_(bounds), utf_(lines == Lines::utf) {}

    std::string text() {
        for (size_t i : graph_.from_the_top()) {
            const GraphVolume& volume = graph_.volumes[i];
            if (!volume.users.empty() && drawn_.contains(i)) continue;
            out_ += printable(volume.name) + "  " + facts_of(volume) + "\n";
            rows_of(i, "", 0);
        }
        return std::move(out_);
    }

  private:
    // One line below another; `lead` is what stands before it. Its own children's lead.
    std::string put(const std::string& lead, bool last, const std::string& text) {
        out_ += lead + (utf_ ? last ? "└─ " : "├─ " : last ? "`- " : "|- ") + text + "\n";
        return lead + (last ? "   " : utf_ ? "│  " : "|  ");
    }

    std::string state_of(const GraphDevice& device) const {
        if (device.volume == kNothing) return {};
        const std::string& state = graph_.volumes[static_cast<size_t>(device.volume)].state;
        return state == "active" ? "" : ", " + printable(state);
    }

    // The first of `all`, and how many are left out; one that would stand alone is not.
    size_t shown_of(size_t all) const { return all <= bounds_.rows + 1 ? all : bounds_.rows; }

    void rows_of(size_t index, const std::string& lead, size_t depth) {
        drawn_.insert(index);
        const std::vector<GraphRow>& rows = graph_.volumes[index].rows;
        size_t shown = shown_of(rows.size());
        if (rows.empty()) put(lead, true, "no table");
        for (size_t i = 0; i < shown; i++) {
            const GraphRow& row = rows[i];
            std::string below = put(lead, i + 1 == rows.size(),
                                    range_text(row.start, row.length) + " " + printable(row.target));
            areas_of(row, below, depth);
        }
        if (shown < rows.size()) put(lead, true, fmt::format("and {} more rows", rows.size() - shown));
    }

    void areas_of(const GraphRow& row, const std::string& lead, size_t depth) {
        size_t shown = shown_of(row.areas.size());
        for (size_t i = 0; i < shown; i++) {
            const GraphArea& area = row.areas[i];
            if (area.device == kNothing) continue;
            const GraphDevice& device = graph_.devices[static_cast<size_t>(area.device)];
            std::string text = printable(device.name) + " " + range_text(area.start, area.length) + "  ";
            bool again = device.volume != kNothing && drawn_.contains(static_cast<size_t>(device.volume));
            std::string below = put(lead, i + 1 == row.areas.size(),
                                    text + (again ? "(as above)" : facts_of(device) + state_of(device)));
            if (device.volume != kNothing && !again && depth < bounds_.deepest)
                rows_of(static_cast<size_t>(device.volume), below, depth + 1);
        }
        if (shown < row.areas.size()) put(lead, true, fmt::format("and {} more", row.areas.size() - shown));
    }

    const Graph& graph_;
    const TreeBounds bounds_;
    const bool utf_;
    std::set<size_t> drawn_;
    std::string out_;
};

}  // namespace

std::string graph_tree(const Graph& graph, Lines lines, const TreeBounds& bounds) {
    return TreeText(graph, lines, bounds).text();
}

}  // namespace dmfs::cli
