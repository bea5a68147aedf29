// ls --tree: volumes and what they stand on.
//
//     top (0:3)                      top (0:3)-+-low (0:1)--- (7:1)
//      |-low (0:1)                             `- (7:0)
//      |  `- (7:1)
//      `- (7:0)                      the same, -o compact
//
// A volume without users is a root; inverted, whatever stands on nothing is one.

#include <fmt/format.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/fields.h"

namespace dmfs::cli {

namespace {

// How the lines of a tree are drawn.
struct Symbols {
    const char* child;   // " |-": one of several children
    const char* last;    // " `-": the last of them
    const char* beside;  // " | ": below a child that was not the last
    const char* first;   // "-+-": compact, the first of several
    const char* only;    // "---": compact, the only one
    const char* inner;   // "|-":  compact, a further one
    const char* end;     // "`-":  compact, the last
    const char* down;    // "| "
};

constexpr Symbols kAscii{" |-", " `-", " | ", "-+-", "---", "|-", "`-", "| "};
constexpr Symbols kUtf{" ├─", " └─", " │ ", "─┬─", "───", "├─", "└─", "│ "};
constexpr Symbols kVt100{" \033(0tq\033(B", " \033(0mq\033(B", " \033(0x\033(B ", "\033(0qwq\033(B",
                         "\033(0qqq\033(B", "\033(0tq\033(B",  "\033(0mq\033(B",  "\033(0x\033(B "};

struct Node {
    std::string name;     // a volume's; empty for a device or a file
    std::string number;   // "0:3", or a file's path
    std::string block;    // "loop0"; or empty
    std::string details;  // "[ACTIVE, RW, 0, UUID]" for volumes
    Json json;
    std::vector<std::string> below, above;  // keys of nodes
};

struct TreeOptions {
    bool device = true, block = false, active = false, open = false, rw = false, uuid = false;
    bool compact = false, inverted = false, truncate = true;
    const Symbols* symbols = nullptr;
};

TreeOptions parse_tree_options(const std::string& list) {
    TreeOptions options;
    setlocale(LC_CTYPE, "");
    options.symbols = std::string_view(nl_langinfo(CODESET)) == "UTF-8" ? &kUtf : &kAscii;
    for (size_t at = 0; at < list.size();) {
        size_t end = std::min(list.find(',', at), list.size());
        std::string word = list.substr(at, end - at);
        at = end + 1;
        if (word == "device")
            options.device = true;
        else if (word == "nodevice")
            options.device = false;
        else if (word == "blkdevname")
            options.block = true;
        else if (word == "active")
            options.active = true;
        else if (word == "open")
            options.open = true;
        else if (word == "rw")
            options.rw = true;
        else if (word == "uuid")
            options.uuid = true;
        else if (word == "compact")
            options.compact = true;
        else if (word == "inverted")
            options.inverted = true;
        else if (word == "notrunc")
            options.truncate = false;
        else if (word == "ascii")
            options.symbols = &kAscii;
        else if (word == "utf")
            options.symbols = &kUtf;
        else if (word == "vt100")
            options.symbols = &kVt100;
        else if (!word.empty())
            throw Refused(EINVAL, "unknown tree option '" + word + "'",
                          "ascii, utf, vt100; compact, inverted, notrunc; blkdevname, [no]device, active, "
                          "open, rw, uuid");
    }
    return options;
}

std::string details_of(const VolumeInfo& info, const TreeOptions& options) {
    std::vector<std::string> words;
    if (options.active) words.emplace_back(info.suspended ? "SUSPENDED" : "ACTIVE");
    if (options.rw) words.emplace_back(info.readonly ? "RO" : "RW");
    if (options.open) words.push_back(std::to_string(info.open_count));
    if (options.uuid) words.push_back(info.uuid);
    if (words.empty()) return {};
    std::string out;
    for (const std::string& word : words) out += (&word == words.data() ? " [" : ", ") + word;
    return out + "]";
}

// UTF-8: how many characters.
size_t columns_of(std::string_view text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

class Tree {
  public:
    Tree(Invocation& invocation, const TreeOptions& options) : invocation_(invocation), options_(options) {
        gather();
    }

    void print() {
        for (const std::string& root : roots()) {
            if (options_.compact)
                compact(root, "", 0);
            else
                plain(root, "", "");
        }
    }

    Json json() {
        Json list = Json::array();
        for (const std::string& root : roots()) list.push_back(json_of(root, 0));
        return {{"tree", list}};
    }

  private:
    // Nothing can stand on itself; should a file say so, its tree ends here.
    static constexpr size_t kDeepest = 256;

    void gather() {
        const ControlClient& control = invocation_.control();
        for (const std::string& name : control.volumes()) {
            Facts facts(invocation_, name);
            Node& node = nodes_["volume " + name];
            node.name = shown(invocation_, name);
            node.number = fmt::format("{}:{}", facts.info().major, facts.info().minor);
            node.details = details_of(facts.info(), options_);
            if (options_.block) node.block = facts.loop_device();
            node.json = info_json(facts.info());
            for (const Dependency& one : facts.deps()) {
                std::string key = (one.is_volume() ? "volume " : "device ") + one.name;
                nodes_["volume " + name].below.push_back(key);
                Node& below = nodes_[key];
                below.above.push_back("volume " + name);
                if (one.is_volume()) continue;
                if (std::find(devices_.begin(), devices_.end(), key) == devices_.end())
                    devices_.push_back(key);
                below.number = one.numbered ? fmt::format("{}:{}", one.major, one.minor) : one.name;
                if (one.numbered && one.name.starts_with("/dev/")) below.block = one.name.substr(5);
                below.json = Json{{"name", one.name}, {"kind", one.numbered ? "device" : "file"}};
            }
        }
    }

    // Devices and files in the order in which volumes name them, then volumes by name.
    std::vector<std::string> roots() const {
        std::vector<std::string> keys;
        auto root = [&](const Node& node) {
            return options_.inverted ? node.below.empty() : node.above.empty();
        };
        for (const std::string& key : devices_)
            if (root(nodes_.at(key))) keys.push_back(key);
        for (const auto& [key, node] : nodes_)
            if (root(node) && !node.name.empty()) keys.push_back(key);
        return keys;
    }

    bool hidden(const std::string& key) const { return nodes_.at(key).name.empty() && !options_.device; }

    std::vector<std::string> children(const std::string& key) const {
        const Node& node = nodes_.at(key);
        std::vector<std::string> keys = options_.inverted ? node.above : node.below;
        std::erase_if(keys, [&](const std::string& child) { return hidden(child); });
        return keys;
    }

    std::string text(const std::string& key) const {
        const Node& node = nodes_.at(key);
        std::string out = node.name;
        if (options_.block && !node.block.empty()) out += " <" + node.block + ">";
        if (options_.device) out += " (" + node.number + ")";
        return out + node.details;
    }

    void plain(const std::string& key, const std::string& lead, const std::string& branch) {
        if (!hidden(key)) put(lead + branch + text(key));
        std::vector<std::string> below = children(key);
        if (lead.size() > kDeepest * 8) return;
        const char* beside = branch.empty()                     ? ""
                             : branch == options_.symbols->last ? "   "
                                                                : options_.symbols->beside;
        for (size_t i = 0; i < below.size(); i++)
            plain(below[i], lead + beside,
                  i + 1 == below.size() ? options_.symbols->last : options_.symbols->child);
    }

    // lead: what stands before the further children of an earlier node. The line so far is in line_.
    void compact(const std::string& key, const std::string& lead, size_t depth) {
        std::string shown_text = hidden(key) ? std::string() : text(key);
        line_ += shown_text;
        std::vector<std::string> below = children(key);
        if (below.empty() || depth > kDeepest) {
            put(line_);
            line_.clear();
            return;
        }
        std::string indent = lead + std::string(columns_of(shown_text) + 1, ' ');
        for (size_t i = 0; i < below.size(); i++) {
            bool last = i + 1 == below.size();
            if (i == 0)
                line_ += below.size() == 1 ? options_.symbols->only : options_.symbols->first;
            else
                line_ = indent + (last ? options_.symbols->end : options_.symbols->inner);
            compact(below[i], indent + (last ? "  " : options_.symbols->down), depth + 1);
        }
    }

    Json json_of(const std::string& key, size_t depth) const {
        Json out = nodes_.at(key).json;
        Json list = Json::array();
        if (depth < kDeepest)
            for (const std::string& child : children(key)) list.push_back(json_of(child, depth + 1));
        out[options_.inverted ? "used_by" : "uses"] = list;
        return out;
    }

    // A line, cut to the terminal's width (a '+' tells) unless notrunc forbids.
    void put(std::string line) const {
        winsize size{};
        if (options_.truncate && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
            size_t columns = 0, at = 0;
            for (; at < line.size() && columns < size.ws_col; at++)
                if ((static_cast<unsigned char>(line[at]) & 0xc0) != 0x80) columns++;
            while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xc0) == 0x80) at++;
            if (at < line.size() && options_.symbols != &kVt100) line = line.substr(0, at - 1) + "+";
        }
        fmt::print("{}\n", line);
    }

    Invocation& invocation_;
    TreeOptions options_;
    std::map<std::string, Node> nodes_;
    std::vector<std::string> devices_;  // keys of those that are no volumes
    std::string line_;
};

}  // namespace

int ls_tree(Invocation& invocation) {
    Tree tree(invocation, parse_tree_options(invocation.options.fields.value_or("")));
    if (invocation.options.json) {
        print_json(tree.json());
        return 0;
    }
    if (invocation.control().volumes().empty()) fmt::print("No devices found\n");
    tree.print();
    return 0;
}

}  // namespace dmfs::cli
