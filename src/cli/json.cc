// --json: one document for each command, {"volumes": [...]} and the like.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/words.h"
#include "cli/command.h"

namespace dmfs::cli {

void print_json(const Json& document) {
    fmt::print("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
}

Json info_json(const VolumeInfo& info) {
    Json out;
    out["name"] = info.name;
    out["uuid"] = info.uuid.empty() ? Json(nullptr) : Json(info.uuid);
    out["state"] = info.suspended ? "suspended" : "active";
    out["readonly"] = info.readonly;
    out["deferred_remove"] = info.deferred_remove;
    out["live"] = info.live;
    out["inactive"] = info.inactive;
    out["open"] = info.open_count;
    out["events"] = info.events;
    out["major"] = info.major;
    out["minor"] = info.minor;
    out["targets"] = info.targets;
    out["read_ahead"] = info.read_ahead;
    return out;
}

Json row_json(std::string_view line, const char* rest_key) {
    std::vector<Word> words = split_words(line);
    Json row;
    if (words.size() < 3) return row;
    row["start"] = parse_decimal(words[0].text).value_or(0);
    row["length"] = parse_decimal(words[1].text).value_or(0);
    row["target"] = words[2].text;
    size_t rest = words[2].column + words[2].length;
    row[rest_key] = rest < line.size() ? std::string(line.substr(rest + 1)) : std::string();
    return row;
}

}  // namespace dmfs::cli
