// explain: where a request would go, and which volumes a bad sector would hit.
//
//     top: read of sectors 1000 to 1007
//     └─ row 0, linear: 1000+8 -> low 1064+8
//        └─ row 0, linear: 1064+8 -> /a.img 1164+8, byte 595968

#include <fmt/format.h>
#include <langinfo.h>
#include <locale.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/words.h"
#include "cli/commands.h"

namespace dmfs::cli {

namespace {

struct Drawing {
    const char* child;
    const char* last;
    const char* beside;
    const char* arrow;
};
constexpr Drawing kAscii{"|- ", "`- ", "|  ", "->"};
constexpr Drawing kUtf{"├─ ", "└─ ", "│  ", "→"};

const Drawing& drawing() {
    setlocale(LC_CTYPE, "");
    return std::string_view(nl_langinfo(CODESET)) == "UTF-8" ? kUtf : kAscii;
}

std::string text_at(const Json& json, const char* key) { return json.at(key).get<std::string>(); }
uint64_t number_at(const Json& json, const char* key) { return json.at(key).get<uint64_t>(); }

std::string range_text(uint64_t from, uint64_t count) {
    return count == 1 ? fmt::format("sector {}", from)
                      : fmt::format("sectors {} to {}", from, from + count - 1);
}

// "b.img 1208+8, byte 618496"; of nothing: only the note.
std::string place_text(const Json& step, const Drawing& draw) {
    if (text_at(step, "kind") == "nothing") return {};
    std::string text = fmt::format(" {} {}", draw.arrow, quote_word(text_at(step, "device")));
    if (number_at(step, "count") == 0) return text;
    text += fmt::format(" {}+{}", number_at(step, "start"), number_at(step, "count"));
    if (step.contains("offset")) text += fmt::format(", byte {}", number_at(step, "offset"));
    return text;
}

void print_steps(const Json& steps, const std::string& operation, const std::string& indent,
                 const Drawing& draw) {
    for (size_t i = 0; i < steps.size(); i++) {
        const Json& step = steps[i];
        bool last = i + 1 == steps.size();
        std::string what = text_at(step, "operation"), note = text_at(step, "note");
        fmt::print("{}{}row {}, {}{}{}{}{}\n", indent, last ? draw.last : draw.child, number_at(step, "row"),
                   text_at(step, "target"), note.empty() ? "" : " (" + note + ")",
                   what == operation ? "" : ", " + what,
                   number_at(step, "count") == 0
                       ? ""
                       : fmt::format(": {}+{}", number_at(step, "sector"), number_at(step, "count")),
                   place_text(step, draw));
        if (step.contains("steps"))
            print_steps(step["steps"], operation, indent + (last ? "   " : draw.beside), draw);
    }
}

void print_text(const Json& answer) {
    const Drawing& draw = drawing();
    std::string operation = text_at(answer, "operation");
    fmt::print("{}: {}{}\n", text_at(answer, "volume"), operation,
               operation == "flush"
                   ? ""
                   : " of " + range_text(number_at(answer, "sector"), number_at(answer, "count")));
    if (answer.contains("aligned_sector"))
        fmt::print("  {} of {}, the blocks they lie in{}\n", operation,
                   range_text(number_at(answer, "aligned_sector"), number_at(answer, "aligned_count")),
                   answer.at("reads_first").get<bool>() ? ", which are read first" : "");
    print_steps(answer.at("steps"), operation, "", draw);
    if (answer.at("cut_short").get<bool>()) fmt::print("... and more: ask for fewer sectors\n");
}

std::string dot_quoted(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c == '\n' ? ' ' : c;
    }
    return out + "\"";
}

// One node for each step, so that a device met twice is drawn twice, in its place.
void print_dot_steps(const Json& steps, const std::string& parent, unsigned& nodes) {
    for (const Json& step : steps) {
        std::string node = fmt::format("n{}", nodes++);
        uint64_t count = number_at(step, "count");
        std::string device =
            text_at(step, "kind") == "nothing" ? text_at(step, "note") : text_at(step, "device");
        std::string where = count == 0 ? "" : fmt::format(" {}+{}", number_at(step, "start"), count);
        fmt::print("  {} [label={}, shape={}];\n", node, dot_quoted(device + where),
                   text_at(step, "kind") == "volume" ? "box" : "note");
        fmt::print("  {} -> {} [label={}];\n", parent, node,
                   dot_quoted(text_at(step, "target") +
                              (text_at(step, "note").empty() ? "" : " " + text_at(step, "note"))));
        if (step.contains("steps")) print_dot_steps(step["steps"], node, nodes);
    }
}

void print_dot(const Json& answer) {
    unsigned nodes = 0;
    fmt::print("digraph explain {{\n  rankdir=LR;\n  start [label={}, shape=box];\n",
               dot_quoted(fmt::format("{} {} {}+{}", text_at(answer, "volume"), text_at(answer, "operation"),
                                      number_at(answer, "sector"), number_at(answer, "count"))));
    print_dot_steps(answer.at("steps"), "start", nodes);
    fmt::print("}}\n");
}

int reverse(Invocation& invocation) {
    if (invocation.arguments.size() != 2)
        throw Refused(EINVAL, "a file and a place in it are wanted",
                      "dmfs explain --reverse FILE OFFSET[+LENGTH], in bytes");
    std::string path = std::filesystem::absolute(invocation.arguments[0]);
    Json answer = Json::parse(
        invocation.control().ask({}, "reverse", quote_word(path) + " " + invocation.arguments[1] + "\n"));
    if (invocation.options.json) {
        print_json(answer);
        return 0;
    }
    const Json& list = answer.at("seen");
    if (list.empty()) fmt::print("no volume shows these bytes\n");
    for (const Json& seen : list) {
        std::string through;
        for (const Json& volume : seen.at("through"))
            through += (through.empty() ? ", through " : " and ") + volume.get<std::string>();
        fmt::print("{}: {}{}\n", text_at(seen, "volume"),
                   range_text(number_at(seen, "sector"), number_at(seen, "count")), through);
    }
    return 0;
}

}  // namespace

int explain(Invocation& invocation) {
    if (invocation.options.reverse) return reverse(invocation);
    std::string name = take_volume(invocation);
    std::vector<std::string>& words = invocation.arguments;
    if (words.empty() || words.size() > 2) throw Refused(EINVAL, "sectors are wanted", usage_of("explain"));
    std::string request = words[0];
    if (words.size() == 2)
        request += " " + words[1];
    else if (invocation.options.write)
        request += " write";
    Json answer = Json::parse(invocation.control().ask(name, "explain", request + "\n"));
    if (invocation.options.json)
        print_json(answer);
    else if (invocation.options.dot)
        print_dot(answer);
    else
        print_text(answer);
    return 0;
}

}  // namespace dmfs::cli
