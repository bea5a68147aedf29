// The stack for Graphviz: a box for each volume and device, an arrow for what uses what.
// Rows of one target that lie on one device share an arrow.

#include <fmt/format.h>

#include <map>
#include <utility>

#include "cli/escape.h"
#include "cli/graph_draw.h"

namespace dmfs::cli {

namespace {

constexpr size_t kNamedRanges = 3;  // on an arrow; of more only their number is told

struct Arrow {
    std::vector<std::string> ranges;
    size_t rows = 0;
};

std::string label_of(const std::string& target, const Arrow& arrow) {
    std::string label = dot(target);
    if (arrow.rows > kNamedRanges) return label + fmt::format("\\n{} rows", arrow.rows);
    for (const std::string& range : arrow.ranges) label += "\\n" + dot(range);
    return label;
}

}  // namespace

std::string graph_dot(const Graph& graph, const std::string& title) {
    std::string out = "digraph dmfs {\n";
    out += fmt::format("  label=\"{}\";\n", dot(title));
    out += "  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n";
    for (size_t i = 0; i < graph.volumes.size(); i++) {
        const GraphVolume& volume = graph.volumes[i];
        out += fmt::format("  v{} [label=\"{}\\n{}\", style=\"{}\"];\n", i, dot(volume.name),
                           dot(facts_of(volume)), volume.state == "active" ? "bold" : "dashed");
    }
    for (size_t i = 0; i < graph.devices.size(); i++) {
        const GraphDevice& device = graph.devices[i];
        if (device.volume == kNothing)
            out += fmt::format("  d{} [label=\"{}\\n{}\", shape={}];\n", i, dot(device.name),
                               dot(facts_of(device)), device.kind == "file" ? "note" : "cylinder");
    }
    for (size_t i = 0; i < graph.volumes.size(); i++) {
        std::map<std::pair<std::string, int>, Arrow> arrows;
        std::map<std::string, Arrow> nothing;
        for (const GraphRow& row : graph.volumes[i].rows) {
            std::string range = range_text(row.start, row.length);
            if (row.areas.empty()) {
                nothing[row.target].ranges.push_back(range);
                nothing[row.target].rows++;
            }
            for (const GraphArea& area : row.areas) {
                Arrow& arrow = arrows[{row.target, area.device}];
                if (arrow.rows <= kNamedRanges)
                    arrow.ranges.push_back(range + " at " + range_text(area.start, area.length));
                arrow.rows++;
            }
        }
        for (const auto& [key, arrow] : arrows) {
            int volume =
                key.second == kNothing ? kNothing : graph.devices[static_cast<size_t>(key.second)].volume;
            std::string to = volume == kNothing ? fmt::format("d{}", key.second) : fmt::format("v{}", volume);
            out += fmt::format("  v{} -> {} [label=\"{}\"];\n", i, to, label_of(key.first, arrow));
        }
        size_t leaf = 0;
        for (const auto& [target, arrow] : nothing) {
            out += fmt::format("  n{}_{} [label=\"{}\", shape=plaintext];\n", i, leaf, dot(target));
            out += fmt::format("  v{} -> n{}_{} [label=\"{}\", style=dotted];\n", i, i, leaf++,
                               label_of(target, arrow));
        }
    }
    return out + "}\n";
}

}  // namespace dmfs::cli
