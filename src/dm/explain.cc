#include "dm/explain.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/words.h"

namespace dmfs {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostSteps = 4096;
constexpr size_t kMostSeen = 4096;

class Explainer {
  public:
    explicit Explainer(size_t most) : left_(most) {}

    Explanation explain(const Table& table, Op op, Sector sector, Sector count) {
        Explanation explanation;
        try {
            request(table, op, sector, count, explanation.steps);
        } catch (const Enough&) {
            explanation.cut_short = true;
        }
        return explanation;
    }

  private:
    void request(const Table& table, Op op, Sector sector, Sector count, std::vector<Explained>& steps) {
        if (op == Op::flush) return flush(table, steps);
        const std::vector<Table::Row>& rows = table.rows();
        Sector end = std::min(table.size(), sector + count);
        auto behind = [](Sector at, const Table::Row& row) { return at < row.start; };
        auto first = std::upper_bound(rows.begin(), rows.end(), sector, behind);  // the row after it
        for (auto i = static_cast<size_t>(first - rows.begin()) - 1; i < rows.size(); i++) {
            Sector from = std::max(sector, rows[i].start), to = std::min(end, rows[i].start + rows[i].length);
            if (rows[i].start >= end) break;
            if (from < to) ask(rows[i], i, op, from - rows[i].start, to - from, steps);
        }
    }

    // Each device once for the whole table, and what targets see to themselves.
    void flush(const Table& table, std::vector<Explained>& steps) {
        std::set<const Device*> flushed;
        const std::vector<Table::Row>& rows = table.rows();
        for (size_t i = 0; i < rows.size(); i++) {
            if (rows[i].target->flushing() == Flushing::itself) ask(rows[i], i, Op::flush, 0, 0, steps);
            if (rows[i].target->flushing() != Flushing::devices) continue;
            rows[i].target->each_device([&](Device& device, Sector, Sector) {
                if (!flushed.insert(&device).second) return;
                add(rows[i], i, Step{Op::flush, 0, 0, &device, 0, {}}, steps);
            });
        }
    }

    void ask(const Table::Row& row, size_t index, Op op, Sector at, Sector count,
             std::vector<Explained>& steps) {
        row.target->explain(op, at, count, [&](const Step& step) { add(row, index, step, steps); });
    }

    void add(const Table::Row& row, size_t index, const Step& step, std::vector<Explained>& steps) {
        if (left_ == 0) throw Enough();
        left_--;
        Explained explained{step.op,   row.start + step.at,  step.count, index,      row.type,
                            step.note, kind_of(step.device), {},         step.start, {}};
        if (step.device != nullptr) explained.device = step.device->name();
        steps.push_back(std::move(explained));
        const auto* volume = dynamic_cast<const Volume*>(step.device);
        std::shared_ptr<Table> table = volume != nullptr ? volume->live() : nullptr;
        if (table) request(*table, step.op, step.start, step.count, steps.back().below);
    }

    size_t left_;
};

Json json_of(const std::vector<Explained>& steps) {
    Json list = Json::array();
    for (const Explained& step : steps) {
        Json each{{"row", step.row},       {"target", step.target},      {"operation", name_of(step.op)},
                  {"sector", step.at},     {"count", step.count},        {"note", step.note},
                  {"device", step.device}, {"kind", name_of(step.kind)}, {"start", step.start}};
        if (step.kind == DeviceKind::file || step.kind == DeviceKind::block)
            each["offset"] = bytes_of(step.start);
        if (step.kind == DeviceKind::volume) each["steps"] = json_of(step.below);
        list.push_back(std::move(each));
    }
    return list;
}

// A word of a request, for refusals.
Place place_of(const char* file, const std::string& line, const Word& word) {
    return Place{file, 1, line, word.column, word.length};
}

// "FROM[+COUNT]"
bool parse_range(std::string_view text, uint64_t* from, uint64_t* count) {
    size_t plus = text.find('+');
    std::optional<uint64_t> first = parse_decimal(text.substr(0, plus));
    std::optional<uint64_t> second = 1;
    if (plus != std::string_view::npos) second = parse_decimal(text.substr(plus + 1));
    if (!first || !second || *second == 0 || *first + *second < *first) return false;
    *from = *first;
    *count = *second;
    return true;
}

void append_ways(const std::vector<Explained>& steps, const std::string& before, std::string& text) {
    for (const Explained& step : steps) {
        std::string way = before + (before.empty() ? "" : ">");
        if (step.kind == DeviceKind::nothing)
            way += step.target;
        else
            way += quote_word(step.device);
        if (step.kind != DeviceKind::nothing && step.count != 0)
            way += ":" + std::to_string(step.start) + "+" + std::to_string(step.count);
        if (!step.below.empty()) {
            append_ways(step.below, way, text);
            continue;
        }
        text += (text.empty() ? "" : ",") + way;
    }
}

// Climbs from a device to the volumes that stand on it.
class Finder {
  public:
    explicit Finder(std::vector<std::shared_ptr<Volume>> volumes) : volumes_(std::move(volumes)) {}

    template <class IsIt>
    void look(const IsIt& is_it, Sector start, Sector count, Sector file_start,
              const std::vector<std::string>& ways) {
        for (const std::shared_ptr<Volume>& volume : volumes_) {
            std::shared_ptr<Table> table = volume->live();
            if (!table) continue;
            for (const std::shared_ptr<Device>& device : table->devices()) {
                if (!is_it(*device)) continue;
                for (const Table::Row& row : table->rows())
                    row.target->reverse(*device, start, count, [&](const Run& run) {
                        found(*volume, row.start + run.at, run.count, file_start + (run.start - start), ways);
                    });
            }
        }
    }

    std::vector<Seen> seen;

  private:
    void found(const Volume& volume, Sector sector, Sector count, Sector file_start,
               const std::vector<std::string>& ways) {
        if (seen.size() == kMostSeen) throw Enough();
        std::string name = volume.name();
        seen.push_back(Seen{name, sector, count, file_start, ways});
        std::vector<std::string> further = ways;
        further.push_back(name);
        look([&](const Device& device) { return &device == &volume; }, sector, count, file_start, further);
    }

    std::vector<std::shared_ptr<Volume>> volumes_;
};

}  // namespace

Explanation explain(const Table& table, Op op, Sector sector, Sector count, size_t most) {
    return Explainer(most).explain(table, op, sector, count);
}

std::string explain_request(const Volume& volume, const std::string& text) {
    std::string line = text.substr(0, text.find('\n'));
    std::vector<Word> words = split_words(line);
    const char* usage = "SECTOR[+COUNT] [read|write|discard|write_zeroes|flush]";
    uint64_t sector = 0, count = 1;
    if (words.empty() || words.size() > 2) throw Refused(EINVAL, "no request to explain", usage);
    if (!parse_range(words[0].text, &sector, &count))
        throw Refused(EINVAL, "no range of sectors", usage).at(place_of("explain", line, words[0]));
    Op op = Op::read;
    if (words.size() == 2) {
        auto named = std::ranges::find(kOpNames, words[1].text);
        if (named == kOpNames.end())
            throw Refused(EINVAL, "no operation '" + words[1].text + "'", usage)
                .at(place_of("explain", line, words[1]));
        op = static_cast<Op>(named - kOpNames.begin());
    }
    std::shared_ptr<Table> table = volume.live();
    if (!table) throw Refused(ENXIO, "the volume has no live table", "load one and resume");
    if (op != Op::flush && (sector >= table->size() || count > table->size() - sector))
        throw Refused(EINVAL, "the volume has " + std::to_string(table->size()) + " sectors",
                      "sectors from 0 to " + std::to_string(table->size() - 1))
            .at(place_of("explain", line, words[0]));
    Json answer{{"volume", volume.name()}, {"operation", name_of(op)}, {"sector", sector}, {"count", count}};
    // What the frame makes of a request that does not fit the logical block.
    Sector block = sectors_in(table->limits().logical_block);
    Sector from = sector / block * block, end = (sector + count + block - 1) / block * block;
    if (op != Op::flush && (from != sector || end != sector + count)) {
        answer["aligned_sector"] = from;
        answer["aligned_count"] = end - from;
        answer["reads_first"] = op != Op::read;
        sector = from;
        count = end - from;
    }
    Explanation explanation = explain(*table, op, sector, count, kMostSteps);
    answer["steps"] = json_of(explanation.steps);
    answer["cut_short"] = explanation.cut_short;
    return text_of(answer);
}

std::string path_of(const Explanation& explanation) {
    std::string text;
    append_ways(explanation.steps, {}, text);
    return explanation.cut_short ? text + ",..." : text;
}

std::vector<Seen> seen_in(const Namespace& volumes, const Device& device, Sector start, Sector count) {
    Finder finder(volumes.volumes());
    auto is_it = [&](const Device& other) { return other.identity() == device.identity(); };
    try {
        finder.look(is_it, start, count, start, {});
    } catch (const Enough&) {
        // As many as anybody will read.
    }
    return std::move(finder.seen);
}

std::string reverse_request(const Namespace& volumes, DeviceSource& devices, const std::string& text,
                            const std::string& folder) {
    std::string line = text.substr(0, text.find('\n'));
    std::vector<Word> words = split_words(line);
    uint64_t offset = 0, length = 1;
    if (words.size() != 2) throw Refused(EINVAL, "no place to look up", "DEVICE OFFSET[+LENGTH], in bytes");
    if (!parse_range(words[1].text, &offset, &length))
        throw Refused(EINVAL, "no range of bytes", "OFFSET[+LENGTH]").at(place_of("reverse", line, words[1]));
    std::shared_ptr<Device> device;
    try {
        device = devices.open_device(words[0].text, false, folder);
    } catch (const Refused& refused) {
        throw refused.at(place_of("reverse", line, words[0]));
    }
    Sector start = offset / kSectorBytes;
    Sector end = offset + length > UINT64_MAX - kSectorBytes
                     ? UINT64_MAX / kSectorBytes
                     : (offset + length + kSectorBytes - 1) / kSectorBytes;
    if (start >= device->size())
        throw Refused(EINVAL, device->name() + " has " + std::to_string(bytes_of(device->size())) + " bytes",
                      "a byte of it")
            .at(place_of("reverse", line, words[1]));
    Json list = Json::array();
    for (const Seen& seen : seen_in(volumes, *device, start, end - start))
        list.push_back(Json{{"volume", seen.volume},
                            {"sector", seen.sector},
                            {"count", seen.count},
                            {"offset", bytes_of(seen.start)},
                            {"through", seen.ways}});
    return text_of(
        Json{{"path", device->name()}, {"offset", offset}, {"length", length}, {"seen", std::move(list)}});
}

}  // namespace dmfs
