// save: the running set of volumes as a dmfs.toml, which `dmfs mount --config`
// takes. A volume stands behind those it stands on, since they are made in the
// order of the file. Keys of tables are left out unless --showkeys asks for them; with
// them the file is still the owner's alone.

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "base/words.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "dm/config.h"

namespace dmfs::cli {

namespace {

// Lower volumes first. Volumes cannot stand on themselves, but a set is kept so
// that no control tree, however odd, makes this endless.
std::vector<std::string> from_below(const ControlClient& control) {
    std::vector<std::string> order;
    std::set<std::string> seen;
    std::function<void(const std::string&)> visit = [&](const std::string& name) {
        if (!seen.insert(name).second) return;
        for (const Dependency& one : control.deps(name))
            if (one.is_volume()) visit(one.name);
        order.push_back(name);
    };
    for (const std::string& name : control.volumes()) visit(name);
    return order;
}

// A row of crypt whose key is all zeros: it was wiped. (Or it is a key of zeros.)
bool has_no_key(const std::vector<Word>& words) {
    constexpr size_t kKey = 4;
    return words.size() > kKey && words[2].text == "crypt" && words[kKey].text.size() > 1 &&
           words[kKey].text.find_first_not_of('0') == std::string::npos;
}
bool lacks_keys(const std::string& table) {
    return std::ranges::any_of(
        lines_of(table), [](std::string_view line) { return has_no_key(split_words(std::string(line))); });
}

// The table with - in the place of its keys, which no cipher takes that needs one: what
// is saved without its keys shall not come back with other ones. `with` has the keys.
std::string without_keys(const std::string& with, const std::string& masked) {
    std::vector<std::string_view> lines = lines_of(masked);
    std::vector<std::string_view> with_keys = lines_of(with);
    std::string out;
    for (size_t i = 0; i < lines.size(); i++) {
        std::string line(lines[i]);
        std::vector<Word> words = split_words(line), others;
        if (i < with_keys.size()) others = split_words(with_keys[i]);
        for (size_t word = words.size(); word-- > 0;)
            if (others.size() == words.size() &&
                (words[word].text != others[word].text || (word == 4 && has_no_key(others))))
                line.replace(words[word].column, words[word].length, 1, '-');
        out += line + "\n";
    }
    return out;
}

// The table as it is to be written; says if a key is left out.
std::string saved_table(const ControlClient& control, const std::string& name, bool show_keys) {
    std::string with_keys = control.read(name, "showkeys");
    if (lacks_keys(with_keys)) {
        fmt::print(
            stderr,
            "dmfs: save {}: its key was wiped, and - stands in its place: a mount with this file is refused\n"
            "  put the key there\n",
            name);
        return without_keys(with_keys, show_keys ? with_keys : control.read(name, "table"));
    }
    if (show_keys) return with_keys;
    std::string table = control.read(name, "table");
    if (table == with_keys) return table;
    fmt::print(
        stderr,
        "dmfs: save {}: its key is left out, and - stands in its place: a mount with this file is refused\n"
        "  put the key there, or save with --showkeys, or let the table name a key of the keyring\n",
        name);
    return without_keys(with_keys, table);
}

// Keys of the mount's own keyring go with the mount: what is saved needs them again.
void tell_of_keys(const ControlClient& control, const std::string& name, const std::string& table) {
    for (std::string_view line : lines_of(table)) {
        std::vector<Word> words = split_words(std::string(line));
        if (words.size() < 5 || words[2].text != "crypt" || !words[4].text.starts_with(':')) continue;
        std::string key =
            words[4].text.substr(std::min(words[4].text.find(':', 1), words[4].text.size() - 1) + 1);
        std::string wanted = key;
        std::ranges::replace(wanted, ':', ' ');
        std::string keyring = control.read("keyring");
        for (std::string_view entry : lines_of(keyring)) {
            std::string listed(entry.substr(0, entry.rfind(' ')));
            std::ranges::replace(listed, ':', ' ');
            if (listed != wanted) continue;
            fmt::print(stderr,
                       "dmfs: save {}: its key {} is in the mount's keyring, and not in what is saved\n"
                       "  [[key]] in the file says where a mount finds it: see dmfs.toml(5)\n",
                       name, key);
        }
    }
}

Config running_config(const ControlClient& control, bool show_keys) {
    Config config;
    std::string options = control.read("options");
    for (std::string_view line : lines_of(options)) {
        size_t equals = line.find(" = ");
        if (equals != std::string_view::npos)
            config.options.emplace_back(line.substr(0, equals), line.substr(equals + 3));
    }
    for (const std::string& name : from_below(control)) {
        VolumeInfo info = control.info(name);
        Config::Volume volume;
        volume.name = name;
        volume.uuid = info.uuid;
        volume.table = saved_table(control, name, show_keys);
        tell_of_keys(control, name, volume.table);
        volume.readonly = info.readonly;
        volume.suspended = info.suspended;
        volume.minor = info.minor;
        config.volumes.push_back(std::move(volume));
    }
    return config;
}

}  // namespace

int save(Invocation& invocation) {
    std::string text = format_config(running_config(invocation.control(), invocation.options.show_keys));
    if (invocation.arguments.empty())
        fmt::print("{}", text);
    else
        write_output(invocation.arguments.front(), text, 0600);
    return 0;
}

}  // namespace dmfs::cli
