#include "dm/graph.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "dm/view.h"
#include "engine/look.h"

namespace dmfs {

namespace {

using Json = nlohmann::ordered_json;

// The devices of all tables, each once: every table opens its files anew.
class Devices {
  public:
    size_t place(Device& device) {
        auto [found, fresh] = places_.try_emplace({kind_of(&device), device.name()}, list_.size());
        if (fresh) list_.push_back(describe(device));
        return found->second;
    }
    Json list() && { return std::move(list_); }

  private:
    static Json describe(Device& device) {
        Json out{{"name", device.name()}, {"kind", name_of(kind_of(&device))}, {"number", nullptr}};
        std::optional<DeviceNumber> number = device.number();
        if (number) out["number"] = std::to_string(number->major) + ":" + std::to_string(number->minor);
        out["sectors"] = device.size();
        Look look;
        out["allocated"] = device.allocated(0, device.size(), look);
        if (const auto* volume = dynamic_cast<const Volume*>(&device)) out["minor"] = volume->minor();
        return out;
    }

    std::map<std::pair<DeviceKind, std::string>, size_t> places_;
    Json list_ = Json::array();
};

struct Piece {
    Sector at;
    Sector count;
    Device* device;
    Sector start;

    Sector end() const { return at + count; }
    bool goes_on_with(const Step& step) const {
        return step.at == end() && step.device == device &&
               (device == nullptr || step.start == start + count);
    }
};

// Where a read of the row would go. Targets explain without an end to it, so whoever
// has seen enough leaves their explanation by a throw.
class Pieces {
  public:
    Pieces(const Table::Row& row, size_t most_pieces, size_t most_steps)
        : most_pieces_(most_pieces), most_steps_(most_steps) {
        try {
            row.target->explain(Op::read, 0, row.length, [this](const Step& step) {
                if (!take(step)) throw Enough();
            });
            known_ = row.length;
        } catch (const Enough&) {
            known_ = pieces_.empty() ? 0 : pieces_.back().end();
        }
    }

    const std::vector<Piece>& list() const { return pieces_; }
    Sector known() const { return known_; }

  private:
    bool take(const Step& step) {
        if (++steps_ > most_steps_) return false;
        if (step.op != Op::read || step.count == 0) return true;
        // Read a second time: a copy, or what a sum is checked with.
        if (!pieces_.empty() && step.at < pieces_.back().end()) return true;
        if (!pieces_.empty() && pieces_.back().goes_on_with(step)) {
            pieces_.back().count += step.count;
            return true;
        }
        if (pieces_.size() == most_pieces_) return false;
        pieces_.push_back({step.at, step.count, step.device, step.start});
        return true;
    }

    const size_t most_pieces_, most_steps_;
    size_t steps_ = 0;
    std::vector<Piece> pieces_;
    Sector known_ = 0;
};

Json row_of(const Table::Row& row, Devices& devices, const GraphBounds& bounds, size_t most_pieces) {
    Json areas = Json::array();
    size_t only = 0;
    bool whole = false;
    Sector begins = 0;
    auto add_area = [&](Device& device, Sector start, Sector length) {
        areas.push_back({{"device", devices.place(device)},
                         {"name", device.name()},
                         {"kind", name_of(kind_of(&device))},
                         {"start", start},
                         {"length", length}});
    };
    row.target->each_device([&](Device& device, Sector start, Sector length) {
        only = devices.place(device);
        begins = start;
        whole = areas.empty() && length == row.length;
        add_area(device, start, length);
    });
    row.target->each_side_device(add_area);
    Json out{{"start", row.start}, {"length", row.length}, {"target", row.type}, {"areas", areas}};

    Pieces pieces(row, most_pieces, most_pieces * bounds.steps_a_piece);
    const std::vector<Piece>& list = pieces.list();
    if (whole && list.size() == 1 && list[0].count == row.length && list[0].device != nullptr &&
        devices.place(*list[0].device) == only && list[0].start == begins)
        return out;
    Json drawn = Json::array();
    for (const Piece& piece : list)
        drawn.push_back({piece.at, piece.count,
                         piece.device == nullptr ? Json(-1) : Json(devices.place(*piece.device)),
                         piece.start});
    out["pieces"] = std::move(drawn);
    out["known"] = pieces.known();
    return out;
}

}  // namespace

std::string graph_text(const Namespace& volumes, const GraphBounds& bounds) {
    std::vector<std::pair<std::shared_ptr<Volume>, std::shared_ptr<Table>>> all;
    for (const std::shared_ptr<Volume>& volume : volumes.volumes()) all.emplace_back(volume, volume->live());

    Devices devices;
    Json list = Json::array();
    for (const auto& [volume, table] : all) {
        Json rows_json = Json::array();
        // Volumes share what there may be, so that a long table does not spoil the others.
        size_t rows = table ? table->rows().size() : 1;
        size_t most_pieces =
            std::clamp(bounds.pieces / all.size() / rows, bounds.fewest_pieces_of_row, bounds.pieces_of_row);
        if (table)
            for (const Table::Row& row : table->rows())
                rows_json.push_back(row_of(row, devices, bounds, most_pieces));
        list.push_back({{"name", volume->name()},
                        {"uuid", volume->uuid()},
                        {"minor", volume->minor()},
                        {"sectors", volume->size()},
                        {"state", !table                ? "empty"
                                  : volume->suspended() ? "suspended"
                                                        : "active"},
                        {"readonly", volume->readonly()},
                        {"inactive", volume->inactive() != nullptr},
                        {"rows", std::move(rows_json)}});
    }
    Json document{{"devices", std::move(devices).list()}, {"volumes", std::move(list)}};
    return text_of(document);
}

}  // namespace dmfs
