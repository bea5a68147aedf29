// The text of a table: any bytes are a table or a refusal with an errno and a place.
// What a table prints is taken again, and means the same.

#include <string>
#include <string_view>

#include "engine/table.h"
#include "fuzz/check.h"
#include "targets/registry.h"

using namespace dmfs;

namespace {

class NoExecutor final : public Executor {
  public:
    void submit(Operation&) override { abort(); }
    void post(std::coroutine_handle<>) override { abort(); }
    void arm(Timer&, int64_t) override { abort(); }
    void disarm(Timer&) override {}
    int64_t now_ns() const override { return 0; }
    std::string name() const override { return "none"; }
};

class AnyDevice final : public Device {
  public:
    explicit AnyDevice(std::string name) : name_(std::move(name)) {
        // A name says which device it is.
        if (name_.starts_with("block4k")) limits_.logical_block = limits_.physical_block = 4096;
        if (name_.starts_with("empty")) size_ = 0;
        if (name_.starts_with("huge")) size_ = kMaxSectors;
        limits_.discard_granularity = 512;
    }
    Task<Status> io(Bio bio) override {
        PROMISE(bio.op == Op::flush || size_ == 0 || (bio.end() >= bio.sector && bio.end() <= size_));
        return Task<Status>::ready(kOk);
    }
    Sector size() const override { return size_; }
    Limits limits() const override { return limits_; }
    Extent extent(Sector at, Look&) override { return {at % 3 != 0, at + 1 + at % 7}; }
    std::string name() const override { return name_; }
    std::optional<DeviceNumber> number() const override { return {}; }

  private:
    std::string name_;
    Sector size_ = 8192;
    Limits limits_;
};

class AnySource final : public DeviceSource {
  public:
    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        if (word.starts_with("missing")) throw Refused(ENOENT, "no device " + word);
        return std::make_shared<AnyDevice>(word);
    }
};

std::string print(Table& table) {
    std::string text;
    for (const Table::Row& row : table.rows()) {
        std::string words = row.target->status(StatusKind::table);
        text += std::to_string(row.start) + " " + std::to_string(row.length) + " " + row.type +
                (words.empty() ? "" : " " + words) + "\n";
        PROMISE(row.target->status(StatusKind::info).find('\n') == std::string::npos);
        PROMISE(row.target->status(StatusKind::measure).find('\n') == std::string::npos);
    }
    return text;
}

void try_io(Table& table) {
    Bio bio;
    bio.op = Op::discard;
    Look look;
    Sector places[] = {0, table.size() - 1, table.size() / 2, table.size() / 3};
    for (Sector at : places) {
        bio.sector = at;
        bio.count = 1;
        PROMISE(table.io(bio).is_ready() || table.rows().size() > 0);
        PROMISE(table.extent(at, look).end > at);
        PROMISE(table.extent(at, look).end <= table.size());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static NoExecutor executor;
    static AnySource devices;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    TableSource source{executor, target_registry(), devices, "/", true, [] {}};
    std::shared_ptr<Table> table;
    try {
        table = Table::build(text, source);
    } catch (const Refused& refused) {
        PROMISE(refused.error() > 0);
        PROMISE(!refused.reason().empty());
        PROMISE(!refused.report("table").empty());
        if (refused.place().line > 0) PROMISE(refused.place().column <= refused.place().source.size());
        return 0;
    }
    Sector end = 0;
    for (const Table::Row& row : table->rows()) {
        PROMISE(row.start == end && row.length > 0);
        end += row.length;
    }
    PROMISE(end == table->size() && end <= kMaxSectors);
    try_io(*table);
    std::string printed = print(*table);
    PROMISE(print(*Table::build(printed, source)) == printed);
    return 0;
}
