// The stack as text: a tree for people, DOT for Graphviz; and as a picture.

#pragma once

#include <string>

#include "cli/graph_model.h"

namespace dmfs::cli {

// Which characters draw the lines of a tree.
enum class Lines { ascii, utf };

struct TreeBounds {
    size_t rows = 16;  // of a volume, and areas of a row; SIZE_MAX: all
    size_t deepest = 64;
};
std::string graph_tree(const Graph& graph, Lines lines, const TreeBounds& bounds);

std::string graph_dot(const Graph& graph, const std::string& title);

// Self-contained: no reference leads out of it.
std::string graph_svg(const Graph& graph, const std::string& title);
std::string graph_html(const Graph& graph, const std::string& title);

}  // namespace dmfs::cli
