// info: what a mount says of its volumes, at length or in columns; and splitname.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/words.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/report.h"
#include "dm/splitname.h"

namespace dmfs::cli {

namespace {

constexpr const char* kDefaultFields = "name,major,minor,attr,open,segments,events,uuid";

struct SortKey {
    const Field* field;
    bool descending;
};

std::vector<SortKey> sort_keys(const std::string& list) {
    std::vector<SortKey> keys;
    for (size_t at = 0; at <= list.size();) {
        size_t end = std::min(list.find(',', at), list.size());
        std::string word = list.substr(at, end - at);
        at = end + 1;
        bool descending = word.starts_with("-");
        if (word.starts_with("-") || word.starts_with("+")) word.erase(0, 1);
        for (const Field* field : parse_fields(word, "")) keys.push_back({field, descending});
    }
    return keys;
}

void sort_rows(std::vector<Facts>& rows, const std::vector<SortKey>& keys) {
    struct Row {
        Facts facts;
        std::vector<std::string> values;  // one a key
    };
    std::vector<Row> sorted;
    for (Facts& facts : rows) {
        std::vector<std::string> values;
        for (const SortKey& key : keys) values.push_back(key.field->value(facts));
        sorted.push_back({std::move(facts), std::move(values)});
    }
    std::stable_sort(sorted.begin(), sorted.end(), [&](const Row& a, const Row& b) {
        for (size_t i = 0; i < keys.size(); i++) {
            if (a.values[i] == b.values[i]) continue;
            bool less = a.values[i] < b.values[i];
            if (keys[i].field->number) less = parse_decimal(a.values[i]) < parse_decimal(b.values[i]);
            return less != keys[i].descending;
        }
        return false;
    });
    rows.clear();
    for (Row& row : sorted) rows.push_back(std::move(row.facts));
}

// The fields that -o asks for, without `selected`, which is not one of them: it
// shows all volumes, and whether each matches --select.
std::string take_selected(std::string fields, bool& show_selected) {
    constexpr std::string_view kSelected = "selected";
    show_selected = fields == kSelected || fields.ends_with(",selected") || fields == "+selected";
    if (!show_selected) return fields;
    fields.erase(fields.size() - kSelected.size());
    if (fields.ends_with(",")) fields.pop_back();
    return fields;
}

void print_columns(Invocation& invocation, const std::vector<std::string>& names) {
    const Options& options = invocation.options;
    bool show_selected = false;
    std::string list = take_selected(options.fields.value_or(kDefaultFields), show_selected);
    std::vector<const Field*> fields = parse_fields(list, kDefaultFields);
    std::vector<Facts> rows;
    for (const std::string& name : names) rows.emplace_back(invocation, name);
    if (options.sort) sort_rows(rows, sort_keys(*options.sort));

    std::vector<Column> columns;
    for (const Field* field : fields)
        columns.push_back({field->name, field->heading, field->width, field->number});
    if (show_selected) columns.push_back({"selected", "Selected", 8, true});
    Report report(columns, options);
    Json volumes = Json::array();
    for (Facts& facts : rows) {
        bool match = !options.select || selected(*options.select, facts);
        if (!match && !show_selected) continue;
        std::vector<std::string> values;
        Json volume;
        for (const Field* field : fields) {
            values.push_back(field->value(facts));
            volume[field->name] =
                field->number ? Json(parse_decimal(values.back()).value_or(0)) : Json(values.back());
        }
        if (show_selected) {
            values.push_back(match ? "1" : "0");
            volume["selected"] = match;
        }
        report.add(std::move(values));
        volumes.push_back(std::move(volume));
    }
    if (options.json)
        print_json({{"volumes", volumes}});
    else
        fmt::print("{}", report.text());
}

int print_columns_repeatedly(Invocation& invocation, const std::vector<std::string>& names) {
    const Options& options = invocation.options;
    uint64_t count = options.count.value_or(options.interval ? 0 : 1);  // 0: until interrupted
    for (uint64_t i = 1;; i++) {
        print_columns(invocation, names);
        if (i == count) return 0;
        fmt::print("\n");
        fflush(stdout);
        std::this_thread::sleep_for(std::chrono::seconds(options.interval.value_or(1)));
    }
}

}  // namespace

void print_info(const Invocation& invocation, const VolumeInfo& info) {
    const char* tables = info.live       ? (info.inactive ? "LIVE & INACTIVE" : "LIVE")
                         : info.inactive ? "INACTIVE"
                                         : "None";
    fmt::print("Name:              {}\n", shown(invocation, info.name));
    fmt::print("State:             {}{}{}\n", info.suspended ? "SUSPENDED" : "ACTIVE",
               info.readonly ? " (READ-ONLY)" : "", info.deferred_remove ? " (DEFERRED REMOVE)" : "");
    if (info.live) fmt::print("Read Ahead:        {}\n", info.read_ahead);
    fmt::print("Tables present:    {}\n", tables);
    fmt::print("Open count:        {}\n", info.open_count);
    fmt::print("Event number:      {}\n", info.events);
    fmt::print("Major, minor:      {}, {}\n", info.major, info.minor);
    fmt::print("Number of targets: {}\n", info.targets);
    if (!info.uuid.empty()) fmt::print("UUID: {}\n", shown(invocation, info.uuid));
    fmt::print("\n");
}

int info(Invocation& invocation) {
    const Options& options = invocation.options;
    // With -o selected all volumes are shown; print_columns looks at --select itself.
    std::optional<std::string> select;
    std::swap(select, invocation.options.select);
    std::vector<std::string> names = take_volumes(invocation, true);
    std::swap(select, invocation.options.select);

    if (names.empty() && !options.json) {
        fmt::print("No devices found\n");
        return 0;
    }
    if (options.columns || (options.fields && options.json))
        return print_columns_repeatedly(invocation, names);
    Json volumes = Json::array();
    for (const std::string& name : names) {
        if (!selected(invocation, name)) continue;
        VolumeInfo info = invocation.control().info(name);
        if (options.inactive) {
            std::string table = invocation.control().read(name, "inactive");
            info.targets = static_cast<uint32_t>(lines_of(table).size());
        }
        if (options.json)
            volumes.push_back(info_json(info));
        else
            print_info(invocation, info);
    }
    if (options.json) print_json({{"volumes", volumes}});
    return 0;
}

int devmap_name(Invocation& invocation) {
    if (invocation.arguments.size() == 1) {
        size_t colon = invocation.arguments[0].find(':');
        if (colon == std::string::npos)
            throw Refused(EINVAL, "a major and a minor number are needed", "devmap_name MAJOR:MINOR");
        invocation.arguments = {invocation.arguments[0].substr(0, colon),
                                invocation.arguments[0].substr(colon + 1)};
    }
    std::optional<uint64_t> major = parse_decimal(invocation.arguments[0]),
                            minor = parse_decimal(invocation.arguments[1]);
    if (!major || !minor || *major > UINT32_MAX || *minor > UINT32_MAX)
        throw Refused(EINVAL, "a major and a minor number are needed", "devmap_name MAJOR:MINOR");
    invocation.options.major = static_cast<uint32_t>(*major);
    invocation.options.minor = static_cast<uint32_t>(*minor);
    invocation.arguments.clear();
    fmt::print("{}\n", shown(invocation, take_volume(invocation)));
    return 0;
}

int splitname(Invocation& invocation) {
    const Options& options = invocation.options;
    std::string subsystem = invocation.arguments.size() > 1 ? invocation.arguments[1] : "LVM";
    SplitName parts = split_name(invocation.arguments[0], subsystem);
    std::map<std::string, std::string> values = {{"subsystem", parts.subsystem},
                                                 {"vg_name", parts.group},
                                                 {"lv_name", parts.volume},
                                                 {"lv_layer", parts.layer}};
    constexpr const char* kParts = "vg_name,lv_name,lv_layer";
    if (options.json) {
        print_json({{"name", invocation.arguments[0]},
                    {"subsystem", parts.subsystem},
                    {"vg_name", parts.group},
                    {"lv_name", parts.volume},
                    {"lv_layer", parts.layer}});
        return 0;
    }
    std::vector<Column> columns;
    std::vector<std::string> row;
    for (const Field* field : parse_fields(options.fields.value_or(kParts), kParts)) {
        if (std::string_view(field->section) != "splitname")
            throw Refused(EINVAL, std::string("field '") + field->name + "' is no part of a name", kParts);
        columns.push_back({field->name, field->heading, field->width, field->number});
        row.push_back(values[field->name]);
    }
    Report report(columns, options);
    report.add(std::move(row));
    fmt::print("{}", report.text());
    return 0;
}

}  // namespace dmfs::cli
