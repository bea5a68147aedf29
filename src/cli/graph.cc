// graph: the whole stack, as a tree, for Graphviz, as a picture, or as JSON.

#include <fmt/format.h>
#include <langinfo.h>
#include <locale.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/graph_draw.h"
#include "cli/output.h"

namespace dmfs::cli {

namespace {

enum class Form { tree, dot, svg, html, json };

Form form_of(const std::string& file) {
    std::string ending = std::filesystem::path(file).extension();
    if (ending == ".svg") return Form::svg;
    if (ending == ".html" || ending == ".htm") return Form::html;
    if (ending == ".dot" || ending == ".gv") return Form::dot;
    if (ending == ".json") return Form::json;
    if (ending == ".txt") return Form::tree;
    throw Refused(EINVAL, "the ending of '" + file + "' names no form", ".svg, .html, .dot, .json or .txt");
}

Lines lines_of_locale() {
    setlocale(LC_CTYPE, "");
    return std::string_view(nl_langinfo(CODESET)) == "UTF-8" ? Lines::utf : Lines::ascii;
}

std::string drawn(Form form, const Json& document, const Invocation& invocation, const std::string& title) {
    if (form == Form::json) return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    Graph graph = parse_graph(document);
    if (form == Form::dot) return graph_dot(graph, title);
    if (form == Form::svg) return graph_svg(graph, title);
    if (form == Form::html) return graph_html(graph, title);
    TreeBounds bounds;
    if (invocation.options.verbose > 0) bounds.rows = SIZE_MAX - 1;
    if (graph.volumes.empty()) return "No devices found\n";
    return graph_tree(graph, lines_of_locale(), bounds);
}

// The document of the mount; of the volumes that are named, and what they stand on.
Json document_of(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const Options& options = invocation.options;
    bool some = !invocation.arguments.empty() || options.uuid || options.minor || options.select;
    std::vector<uint32_t> minors;
    if (some)
        for (const std::string& name : take_volumes(invocation, true))
            minors.push_back(control.info(name).minor);
    Json document = Json::parse(control.read("graph"), nullptr, false);
    if (document.is_discarded()) throw Refused(EPROTO, "the mount's graph is no JSON");
    static_cast<void>(parse_graph(document));  // refuses what has another shape
    return some ? only_below(document, minors) : document;
}

}  // namespace

int graph(Invocation& invocation) {
    const Options& options = invocation.options;
    Json document = document_of(invocation);
    std::string title = invocation.control().mountpoint();
    bool written = false;
    auto write = [&](const std::optional<std::string>& file, Form form) {
        if (!file) return;
        write_output(*file, drawn(form, document, invocation, title), 0666);
        written = true;
    };
    write(options.svg, Form::svg);
    write(options.html, Form::html);
    if (options.fields) write(options.fields, form_of(*options.fields));
    if (options.dot || options.json || !written)
        fmt::print("{}", drawn(options.json  ? Form::json
                               : options.dot ? Form::dot
                                             : Form::tree,
                               document, invocation, title));
    return 0;
}

}  // namespace dmfs::cli
