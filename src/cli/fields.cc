#include "cli/fields.h"

#include <fmt/format.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <utility>

#include "dm/splitname.h"

namespace dmfs::cli {

namespace {

using std::string;

string join(const std::vector<string>& words) {
    string out;
    for (const string& word : words) out += (out.empty() ? "" : ",") + word;
    return out;
}

string number_of(const VolumeInfo& info) { return fmt::format("{}:{}", info.major, info.minor); }

string short_name(const string& path) { return path.starts_with("/dev/") ? path.substr(5) : path; }

string attributes(const VolumeInfo& info) {
    return fmt::format("{}{}{}{}", info.live ? 'L' : '-', info.inactive ? 'I' : '-',
                       info.suspended ? 's' : '-', info.readonly ? 'r' : 'w');
}

string devices_used(Facts& facts, string (*name)(const Dependency&)) {
    std::vector<string> words;
    for (const Dependency& one : facts.deps()) words.push_back(name(one));
    return join(words);
}

string devices_using(Facts& facts, string (*name)(const VolumeInfo&)) {
    std::vector<string> words;
    for (const VolumeInfo& one : facts.users()) words.push_back(name(one));
    return join(words);
}

SplitName parts(Facts& facts) { return split_name(facts.info().name, subsystem_of(facts.info().uuid)); }

string in_mangling(Facts& facts, const string& raw) { return shown(facts.invocation(), raw); }

// Lower case, without '_'.
string canonical(std::string_view name) {
    string out;
    for (char c : name)
        if (c != '_') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return out;
}

struct Section {
    const char* name;
    const char* title;
};

constexpr Section kSections[] = {
    {"name", "Mapped Device Name Fields"},
    {"info", "Mapped Device Information Fields"},
    {"deps", "Mapped Device Relationship Information Fields"},
    {"splitname", "Mapped Device Name Components Fields"},
};

}  // namespace

const std::vector<Field>& all_fields() {
    using F = Facts;
    static const std::vector<Field> fields = {
        {"name", "Name", 16, false, "name", "Name of mapped device.",
         [](F& f) { return in_mangling(f, f.info().name); }},
        {"mangled_name", "MangledName", 16, false, "name", "Mangled name of mapped device.",
         [](F& f) { return mangle_name(f.info().name); }},
        {"unmangled_name", "UnmangledName", 16, false, "name", "Unmangled name of mapped device.",
         [](F& f) { return f.info().name; }},
        {"uuid", "UUID", 32, false, "name", "Unique (optional) identifier for mapped device.",
         [](F& f) { return in_mangling(f, f.info().uuid); }},
        {"mangled_uuid", "MangledUUID", 32, false, "name",
         "Mangled unique (optional) identifier for mapped device.",
         [](F& f) { return mangle_name(f.info().uuid); }},
        {"unmangled_uuid", "UnmangledUUID", 32, false, "name",
         "Unmangled unique (optional) identifier for mapped device.", [](F& f) { return f.info().uuid; }},
        {"read_ahead", "RAhead", 6, true, "name", "Read ahead value.",
         [](F& f) { return std::to_string(f.info().read_ahead); }},

        {"blkdevname", "BlkDevName", 16, false, "info", "Name of the loop device that is attached.",
         [](F& f) { return f.loop_device(); }},
        {"attr", "Stat", 4, false, "info", "(L)ive, (I)nactive, (s)uspended, (r)ead-only, read-(w)rite.",
         [](F& f) { return attributes(f.info()); }},
        {"tables_loaded", "Tables", 6, false, "info",
         "Which of the live and inactive table slots are filled.",
         [](F& f) -> string {
             if (f.info().live) return f.info().inactive ? "Both" : "Live";
             return f.info().inactive ? "Inactive" : "None";
         }},
        {"suspended", "Suspended", 9, false, "info", "Whether the device is suspended.",
         [](F& f) -> string { return f.info().suspended ? "Suspended" : "Active"; }},
        {"readonly", "Read-only", 9, false, "info", "Whether the device is read-only or writeable.",
         [](F& f) -> string { return f.info().readonly ? "Read-only" : "Writeable"; }},
        {"devno", "DevNo", 5, false, "info", "Device major and minor numbers",
         [](F& f) { return number_of(f.info()); }},
        {"major", "Maj", 3, true, "info", "Block device major number.",
         [](F& f) { return std::to_string(f.info().major); }},
        {"minor", "Min", 3, true, "info", "Block device minor number.",
         [](F& f) { return std::to_string(f.info().minor); }},
        {"open", "Open", 4, true, "info", "Number of references to open device.",
         [](F& f) { return std::to_string(f.info().open_count); }},
        {"segments", "Targ", 4, true, "info", "Number of segments in live table, if present.",
         [](F& f) { return std::to_string(f.info().targets); }},
        {"events", "Event", 6, true, "info", "Number of most recent event.",
         [](F& f) { return std::to_string(f.info().events); }},

        {"device_count", "#Devs", 5, true, "deps", "Number of devices used by this one.",
         [](F& f) { return std::to_string(f.deps().size()); }},
        {"devs_used", "DevNamesUsed", 16, false, "deps", "List of names of mapped devices used by this one.",
         [](F& f) {
             std::vector<string> words;
             for (const Dependency& one : f.deps())
                 if (one.is_volume()) words.push_back(in_mangling(f, one.name));
             return join(words);
         }},
        {"devnos_used", "DevNosUsed", 16, false, "deps",
         "List of device numbers of devices used by this one.",
         [](F& f) {
             return devices_used(f, [](const Dependency& one) {
                 return one.numbered ? fmt::format("{}:{}", one.major, one.minor) : one.name;
             });
         }},
        {"blkdevs_used", "BlkDevNamesUsed", 16, false, "deps",
         "List of names of devices and files used by this one.",
         [](F& f) { return devices_used(f, [](const Dependency& one) { return short_name(one.name); }); }},
        {"device_ref_count", "#Refs", 5, true, "deps", "Number of mapped devices referencing this one.",
         [](F& f) { return std::to_string(f.users().size()); }},
        {"names_using_dev", "RefNames", 8, false, "deps", "List of names of mapped devices using this one.",
         [](F& f) { return devices_using(f, [](const VolumeInfo& one) { return one.name; }); }},
        {"devnos_using_dev", "DevNosUsing", 16, false, "deps",
         "List of device numbers of mapped devices using this one.",
         [](F& f) { return devices_using(f, number_of); }},

        {"subsystem", "Subsys", 6, false, "splitname", "Userspace subsystem responsible for this device.",
         [](F& f) { return parts(f).subsystem; }},
        {"vg_name", "VG", 4, false, "splitname", "LVM Volume Group name.",
         [](F& f) { return parts(f).group; }},
        {"lv_name", "LV", 4, false, "splitname", "LVM Logical Volume name.",
         [](F& f) { return parts(f).volume; }},
        {"lv_layer", "LVLayer", 7, false, "splitname", "LVM device layer.",
         [](F& f) { return parts(f).layer; }},
    };
    return fields;
}

Facts::Facts(Invocation& invocation, const std::string& name)
    : invocation_(&invocation), info_(invocation.control().info(name)) {
    if (!invocation.options.inactive) return;
    std::string table = invocation.control().read(name, "inactive");
    info_.targets = static_cast<uint32_t>(lines_of(table).size());
}

const std::vector<Dependency>& Facts::deps() {
    if (!std::exchange(deps_known_, true)) deps_ = invocation_->control().deps(info_.name);
    return deps_;
}

const std::vector<VolumeInfo>& Facts::users() {
    if (std::exchange(users_known_, true)) return users_;
    const ControlClient& control = invocation_->control();
    for (const std::string& name : control.volumes())
        for (const Dependency& one : control.deps(name))
            if (one.is_volume() && one.minor == info_.minor) users_.push_back(control.info(name));
    return users_;
}

std::string Facts::loop_device() const {
    std::error_code ignored;
    std::string path =
        std::filesystem::weakly_canonical(invocation_->control().mountpoint(), ignored).string() + "/" +
        info_.name;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/block", ignored)) {
        std::string device = entry.path().filename();
        if (!device.starts_with("loop")) continue;
        std::ifstream file(entry.path() / "loop/backing_file");
        std::string backing;
        if (std::getline(file, backing) && backing == path) return device;
    }
    return {};
}

const Field* find_field(std::string_view name) {
    for (const Field& field : all_fields())
        if (canonical(field.name) == canonical(name)) return &field;
    return nullptr;
}

std::vector<const Field*> parse_fields(std::string_view list, std::string_view defaults) {
    std::string text(list);
    if (text.starts_with("+")) text = std::string(defaults) + "," + text.substr(1);
    std::vector<const Field*> chosen;
    for (size_t at = 0; at <= text.size();) {
        size_t end = std::min(text.find(',', at), text.size());
        std::string word = canonical(std::string_view(text).substr(at, end - at));
        at = end + 1;
        if (word.empty()) continue;
        size_t before = chosen.size();
        for (const Field& field : all_fields())
            if (canonical(field.name) == word || word == "all" || word == canonical(field.section) + "all")
                chosen.push_back(&field);
        if (chosen.size() != before) continue;
        std::vector<std::string> names;
        for (const Field& field : all_fields()) names.emplace_back(field.name);
        std::vector<std::string> near = similar_names(word, names);
        throw Refused(
            EINVAL, "unknown field '" + word + "'",
            (near.empty() ? "" : "did you mean " + near.front() + "? ") + "`dmfs help -c` lists them");
    }
    return chosen;
}

std::string fields_help() {
    std::string out;
    for (const Section& section : kSections) {
        std::string title = section.title;
        out += title + "\n" + std::string(title.size(), '-') + "\n";
        out += fmt::format("  {:<21} - All fields in this section.\n", std::string(section.name) + "_all");
        for (const Field& field : all_fields())
            if (std::string_view(field.section) == section.name)
                out += fmt::format("  {:<21} - {}\n", field.name, field.description);
        out += " \n";
    }
    return out +
           "Special Fields\n--------------\n  selected              - Set if item passes selection "
           "criteria.\n";
}

}  // namespace dmfs::cli
