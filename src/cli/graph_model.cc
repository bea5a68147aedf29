#include "cli/graph_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/refused.h"
#include "cli/escape.h"

namespace dmfs::cli {

namespace {

using Json = nlohmann::ordered_json;

GraphRow parse_row(const Json& json, size_t devices) {
    GraphRow row{json.at("start"), json.at("length"), json.at("target"), {}, {}, 0};
    auto checked = [&](int device) {
        if (device < kNothing || device >= static_cast<int>(devices))
            throw Refused(EPROTO, "the mount's graph names a device that it does not list");
        return device;
    };
    for (const Json& area : json.at("areas"))
        row.areas.push_back({checked(area.at("device")), area.at("start"), area.at("length")});
    row.known = json.value("known", row.length);
    if (!json.contains("pieces") && row.areas.size() == 1)
        row.pieces.push_back({0, row.length, row.areas[0].device, row.areas[0].start});
    else if (json.contains("pieces"))
        for (const Json& piece : json.at("pieces"))
            row.pieces.push_back({piece.at(0), piece.at(1), checked(piece.at(2)), piece.at(3)});
    return row;
}

}  // namespace

Graph parse_graph(const Json& document) {
    Graph graph;
    try {
        const Json& devices = document.at("devices");
        std::map<uint32_t, size_t> by_minor;
        for (const Json& json : document.at("volumes")) {
            GraphVolume volume{json.at("name"),
                               json.at("uuid"),
                               json.at("minor"),
                               json.at("sectors"),
                               json.at("state"),
                               json.at("readonly"),
                               json.at("inactive"),
                               {},
                               {}};
            for (const Json& row : json.at("rows")) volume.rows.push_back(parse_row(row, devices.size()));
            by_minor[volume.minor] = graph.volumes.size();
            graph.volumes.push_back(std::move(volume));
        }
        for (const Json& json : devices) {
            GraphDevice device{json.at("name"),    json.at("kind"),      {},
                               json.at("sectors"), json.at("allocated"), kNothing};
            if (json.at("number").is_string()) device.number = json.at("number");
            if (device.kind == "volume") {
                auto found = by_minor.find(json.at("minor"));
                if (found != by_minor.end()) device.volume = static_cast<int>(found->second);
            }
            graph.devices.push_back(std::move(device));
        }
    } catch (const nlohmann::json::exception& error) {
        throw Refused(EPROTO, std::string("the mount's graph cannot be understood: ") + error.what());
    }
    for (size_t i = 0; i < graph.volumes.size(); i++) {
        std::set<int> below;
        for (const GraphRow& row : graph.volumes[i].rows)
            for (const GraphArea& area : row.areas)
                if (area.device != kNothing)
                    below.insert(graph.devices[static_cast<size_t>(area.device)].volume);
        for (int volume : below)
            if (volume != kNothing) graph.volumes[static_cast<size_t>(volume)].users.push_back(i);
    }
    return graph;
}

std::vector<size_t> Graph::from_the_top() const {
    std::vector<size_t> order;
    std::vector<bool> seen(volumes.size());
    // After its users: nothing stands on itself, and a document that says so is not followed in a ring.
    std::function<void(size_t)> visit = [&](size_t volume) {
        if (seen[volume]) return;
        seen[volume] = true;
        for (size_t user : volumes[volume].users) visit(user);
        order.push_back(volume);
    };
    for (size_t i = 0; i < volumes.size(); i++) visit(i);
    return order;
}

Json only_below(const Json& document, const std::vector<uint32_t>& minors) {
    std::set<uint32_t> wanted(minors.begin(), minors.end());
    const Json& volumes = document.at("volumes");
    const Json& devices = document.at("devices");
    std::set<int> used;
    for (size_t before = 0; before != wanted.size() + used.size();) {
        before = wanted.size() + used.size();
        for (const Json& volume : volumes) {
            if (!wanted.contains(volume.at("minor"))) continue;
            for (const Json& row : volume.at("rows"))
                for (const Json& area : row.at("areas")) {
                    used.insert(area.at("device").get<int>());
                    const Json& device = devices.at(area.at("device").get<size_t>());
                    if (device.contains("minor")) wanted.insert(device.at("minor").get<uint32_t>());
                }
        }
    }
    // Devices are named by their places: those left move up.
    std::map<int, int> places{{kNothing, kNothing}};
    Json out{{"devices", Json::array()}, {"volumes", Json::array()}};
    for (int device : used) {
        places[device] = static_cast<int>(out["devices"].size());
        out["devices"].push_back(devices.at(static_cast<size_t>(device)));
    }
    for (const Json& volume : volumes) {
        if (!wanted.contains(volume.at("minor"))) continue;
        Json kept = volume;
        for (Json& row : kept["rows"]) {
            for (Json& area : row["areas"]) area["device"] = places.at(area["device"]);
            if (row.contains("pieces"))
                for (Json& piece : row["pieces"])
                    piece[2] = places.contains(piece[2]) ? places[piece[2]] : kNothing;
        }
        out["volumes"].push_back(std::move(kept));
    }
    return out;
}

std::string facts_of(const GraphVolume& volume) {
    std::string text = size_text(bytes_of(volume.sectors)) + ", " + volume.state;
    if (volume.readonly) text += ", read-only";
    if (volume.inactive) text += ", has an inactive table";
    text += fmt::format(", 0:{}", volume.minor);
    if (!volume.uuid.empty()) text += ", uuid " + printable(volume.uuid);
    return text;
}

std::string facts_of(const GraphDevice& device) {
    std::string text =
        device.kind == "block" ? "block device " + printable(device.number) : printable(device.kind);
    text += ", " + size_text(bytes_of(device.sectors));
    if (device.kind == "file" && device.allocated < device.sectors)
        text += fmt::format(" ({} of it allocated)", size_text(bytes_of(device.allocated)));
    return text;
}

}  // namespace dmfs::cli
