#include "dm/snapshots.h"

#include "dm/snapshot_steps.h"
#include "engine/errand.h"

namespace dmfs {

namespace {

constexpr int kPatienceSteps = 10;
constexpr int64_t kPatienceStepNs = 5'000'000;

// A table's words for the devices of a row, in their order.
std::vector<Word> words_of(const Table::Row& row) {
    return split_words(row.target->status(StatusKind::table));
}

std::string row_text(Sector length, const std::string& rest) {
    return "0 " + std::to_string(length) + " " + rest + "\n";
}

}  // namespace

const Table::Row* only_row(const std::shared_ptr<Table>& table, std::string_view type) {
    return table && table->rows().size() == 1 && table->rows().front().type == type ? &table->rows().front()
                                                                                    : nullptr;
}

Outcome check_none_waits(const Volume& volume) {
    if (!volume.inactive()) return {};
    return Refused(EBUSY, "'" + volume.name() + "' has a table that waits for the next resume",
                   "resume it, or clear that table");
}

// The volume whose single row is a snapshot-origin over `origin`; or nullptr.
std::shared_ptr<Volume> Snapshots::seen_through(const Volume& origin) const {
    for (const std::shared_ptr<Volume>& volume : dm_.volumes().volumes())
        if (std::shared_ptr<Table> table = volume->live(); only_row(table, "snapshot-origin"))
            if (table->devices().front().get() == &origin) return volume;
    return nullptr;
}

bool Snapshots::has_snapshots(const Device& origin) const {
    for (const std::shared_ptr<Volume>& volume : dm_.volumes().volumes())
        for (const std::shared_ptr<Table>& table : {volume->live(), volume->inactive()})
            if (table)
                for (const Table::Row& row : table->rows())
                    if (row.type == "snapshot") {
                        bool first = true, is = false;
                        row.target->each_device([&](Device& device, Sector, Sector) {
                            is |= std::exchange(first, false) && device.identity() == origin.identity();
                        });
                        if (is) return true;
                    }
    return false;
}

// Refuses where the origin that a volume shows has snapshots.
Outcome Snapshots::check_no_snapshots(const Volume& volume) const {
    std::shared_ptr<Table> table = volume.live();
    if (!only_row(table, "snapshot-origin") || !has_snapshots(*table->devices().front())) return {};
    return Refused(EBUSY, "there are snapshots of '" + volume.name() + "'", "drop them first");
}

namespace {

bool stands_on(const Volume& volume, const Volume& below) {
    std::shared_ptr<Table> table = volume.live();
    return &volume == &below || (table && std::ranges::any_of(table->devices(), [&](const auto& device) {
                                     const auto* next = dynamic_cast<const Volume*>(device.get());
                                     return next != nullptr && stands_on(*next, below);
                                 }));
}

}  // namespace

// Whether a new snapshot may have it: nobody uses it, by whatever name, and it can be read while
// `origin` is suspended.
Task<Outcome> Snapshots::check_cow(std::string word, std::shared_ptr<Volume> origin) const {
    auto opened = std::make_shared<std::shared_ptr<Device>>();
    DeviceSource& devices = dm_.source_for(*origin, folder_).devices;
    std::function<void()> opening = [&devices, word, folder = folder_, opened] {
        *opened = devices.open_device(word, true, folder);
    };
    Task<Outcome> task = aside(dm_.volumes().executor(), std::move(opening), cancel_);
    Outcome outcome = co_await task;
    if (!outcome && outcome.why().error() == EINTR) co_return outcome;
    if (!outcome) co_return Outcome();  // building the table says why, and where
    std::shared_ptr<Device> cow = std::move(*opened);
    for (const std::shared_ptr<Volume>& volume : dm_.volumes().volumes())
        for (const std::shared_ptr<Table>& table : {volume->live(), volume->inactive()})
            if (table && std::ranges::any_of(table->devices(), [&](const auto& device) {
                    return device->identity() == cow->identity();
                }))
                co_return Refused(EBUSY, word + " is in use: by '" + volume->name() + "'",
                                  "another COW device");
    const auto* volume = dynamic_cast<const Volume*>(cow.get());
    if (volume != nullptr && stands_on(*volume, *origin))
        co_return Refused(EINVAL, word + " stands on '" + origin->name() + "' itself", "another COW device");
    co_return Outcome();
}

// A snapshot.

Task<Outcome> Snapshots::make(std::shared_ptr<Device> origin, Sector length, Wanted wanted) {
    std::shared_ptr<Volume> volume;
    Outcome outcome = create(wanted.name, &volume);
    if (!outcome) co_return outcome;
    Undo undo;
    undo.add([this, volume] { return dm_.unmake(volume); });
    Task<Outcome> whole = undo.unless_done(give_table(volume, std::move(origin), length, std::move(wanted)));
    outcome = co_await whole;
    co_return outcome;
}

Task<Outcome> Snapshots::give_table(std::shared_ptr<Volume> volume, std::shared_ptr<Device> origin,
                                    Sector length, Wanted wanted) {
    Sector chunk = wanted.chunk;
    if (chunk == 0) chunk = std::max<Sector>(kSnapshotChunk, sectors_in(origin->limits().logical_block));
    std::shared_ptr<Table> table;
    Task<Outcome> building =
        build(volume,
              row_text(length, "snapshot " + quote_word(origin->name()) + " " + quote_word(wanted.cow) + " " +
                                   wanted.type + " " + std::to_string(chunk)),
              &table);
    Outcome outcome = co_await building;
    if (!outcome) co_return outcome;
    Task<Outcome> replacing = volume->replace(std::move(table), cancel_);
    outcome = co_await replacing;
    co_return outcome;
}

Task<Outcome> Snapshots::snapshot(std::shared_ptr<Volume> volume, Wanted wanted) {
    std::shared_ptr<Table> table = volume->live();
    if (!table) co_return Refused(ENXIO, "'" + volume->name() + "' has no live table");
    if (Outcome outcome = check_none_waits(*volume); !outcome) co_return outcome;
    Task<Outcome> checking = check_cow(wanted.cow, volume);
    if (Outcome outcome = co_await checking; !outcome) co_return outcome;
    if (only_row(table, "snapshot-merge"))
        co_return Refused(EBUSY, "a snapshot is merging into '" + volume->name() + "'",
                          "wait until that is done");
    if (only_row(table, "snapshot-origin")) {
        const bool was_suspended = volume->suspended();
        Task<Outcome> suspending = volume->suspend(false, cancel_);
        Outcome outcome = co_await suspending;
        if (!outcome) co_return outcome;
        Task<Outcome> making = make(table->devices().front(), table->size(), std::move(wanted));
        outcome = co_await making;
        if (was_suspended) co_return outcome;
        Task<Outcome> resuming = volume->resume(false, nullptr);
        Outcome resumed = co_await resuming;
        co_return and_then(std::move(outcome), resumed);
    }
    const Sector length = table->size();
    table.reset();
    std::shared_ptr<Volume> real;
    Outcome outcome = create(volume->name() + kReal, &real);
    if (!outcome) co_return outcome;
    Volume::Insertion insertion;
    insertion.below = real;
    // Its only device is a volume, which is there already.
    insertion.above = [this, volume, real, length] {
        return dm_.build(*volume, row_text(length, "snapshot-origin " + quote_word(real->name())), folder_);
    };
    insertion.meanwhile = [this, real, length, wanted] { return make(real, length, wanted); };
    Undo undo;
    undo.add([this, real] { return dm_.unmake(real); });
    Task<Outcome> whole = undo.unless_done(volume->insert(std::move(insertion), cancel_));
    outcome = co_await whole;
    co_return outcome;
}

// Without snapshots an origin's volume is again what it was before there was one.
Task<Outcome> Snapshots::make_single(std::shared_ptr<Volume> origin, Cancel* cancel) {
    std::shared_ptr<Volume> volume = seen_through(*origin);
    // It still has the name that snapshot() gave it, whatever the volume is called by now.
    if (!volume || !origin->name().ends_with(kReal) || has_snapshots(*origin)) co_return Outcome();
    // Whoever copied for the last snapshot may be about to let go of it.
    for (int step = 0;; step++) {
        Task<Outcome> collapsing = volume->collapse(origin, cancel);
        Outcome outcome = co_await collapsing;
        if (outcome || outcome.why().error() != EBUSY) co_return outcome;
        if (step == kPatienceSteps) co_return Outcome();  // somebody uses it otherwise: it stays
        Executor& executor = dm_.volumes().executor();
        Task<Status> pause = sleep_until(executor, executor.now_ns() + kPatienceStepNs);
        Status slept = co_await pause;
        static_cast<void>(slept);
    }
}

// A merge.

std::shared_ptr<Volume> Snapshots::merges_into(const std::shared_ptr<Volume>& snapshot) const {
    std::shared_ptr<Table> table = snapshot->live();
    if (!only_row(table, "snapshot")) return snapshot;
    std::shared_ptr<Volume> origin = as_volume(table->devices().front());
    std::shared_ptr<Volume> into = origin ? seen_through(*origin) : nullptr;
    return into ? into : snapshot;
}

Task<Outcome> Snapshots::merge(std::shared_ptr<Volume> volume) {
    std::shared_ptr<Table> table = volume->live();
    if (only_row(table, "snapshot-merge")) co_return Outcome();  // it goes on
    const Table::Row* row = only_row(table, "snapshot");
    if (row == nullptr)
        co_return Refused(EINVAL, "'" + volume->name() + "' is no snapshot",
                          "a volume whose table is one row of snapshot");
    const std::vector<Word> words = words_of(*row);
    const std::string rest = "snapshot-merge " + quote_word(words[0].text) + " " + quote_word(words[1].text) +
                             " " + words[2].text + " " + words[3].text;
    std::shared_ptr<Volume> into = merges_into(volume);
    const Sector length = into == volume ? table->size() : into->size();
    if (row->target->status(StatusKind::info) == "Invalid")
        co_return Refused(EIO, "'" + volume->name() + "' is invalid: it shows nothing that could be merged",
                          "`dmfs drop` throws it away");
    if (into->readonly())
        co_return Refused(EROFS, "'" + into->name() + "' is read-only", "a table that is not");
    if (into->suspended())
        co_return Refused(EBUSY, "'" + into->name() + "' is suspended, and nothing merges meanwhile",
                          "resume it first");
    for (const std::shared_ptr<Volume>& each : {volume, into})
        if (Outcome outcome = check_none_waits(*each); !outcome) co_return outcome;
    row = nullptr;
    table.reset();
    if (into == volume) {
        // It stays, shows what it showed, and is the origin in the end.
        std::shared_ptr<Table> merging;
        Task<Outcome> building = build(volume, row_text(length, rest), &merging);
        Outcome outcome = co_await building;
        if (!outcome) co_return outcome;
        Task<Outcome> replacing = volume->replace(std::move(merging), cancel_);
        outcome = co_await replacing;
        co_return outcome;
    }
    if (volume->open_count() > 0)
        co_return Refused(EBUSY, "'" + volume->name() + "' is open, and will be gone",
                          "unmount it, and close its files");
    Undo undo;
    Task<Outcome> whole = undo.unless_done(hand_over(volume, into, row_text(length, rest), &undo));
    Outcome outcome = co_await whole;
    if (!outcome) co_return outcome;
    Task<Outcome> removing = dm_.remove(volume, false, cancel_);
    outcome = co_await removing;
    if (!outcome)
        co_return Refused(outcome.why().error(), "the merge has begun, but: " + outcome.why().reason(),
                          outcome.why().remedy());
    co_return Outcome();
}

// A snapshot's exceptions go to the volume that shows its origin.
Task<Outcome> Snapshots::hand_over(std::shared_ptr<Volume> from, std::shared_ptr<Volume> into,
                                   std::string text, Undo* undo) {
    const bool was_suspended = from->suspended();
    Task<Outcome> suspending = from->suspend(false, cancel_);
    Outcome outcome = co_await suspending;
    if (!outcome) co_return outcome;
    if (!was_suspended) undo->add([from] { return from->resume(false, nullptr); });
    std::shared_ptr<Table> merging;
    Task<Outcome> building = build(into, std::move(text), &merging);
    outcome = co_await building;
    if (!outcome) co_return outcome;
    Task<Outcome> replacing = into->replace(std::move(merging), cancel_);
    outcome = co_await replacing;
    co_return outcome;
}

Task<Outcome> Snapshots::merged(std::shared_ptr<Volume> volume) {
    std::shared_ptr<Table> table = volume->live();
    const Table::Row* row = only_row(table, "snapshot-merge");
    if (row == nullptr) co_return Refused(EINVAL, "nothing merges into '" + volume->name() + "'");
    if (Outcome outcome = check_none_waits(*volume); !outcome) co_return outcome;
    if (volume->suspended())
        co_return Refused(EBUSY, "'" + volume->name() + "' is suspended, and nothing merges meanwhile",
                          "resume it");
    const Lifecycle::OwnWork merge = row->target->lifecycle()->own_work().value_or(Lifecycle::OwnWork{});
    const std::string status = row->target->status(StatusKind::info);
    if (merge.failed)
        co_return Refused(EIO, "the merge into '" + volume->name() + "' stopped: " + status,
                          "when what failed is mended, a suspend and a resume make it go on");
    if (merge.left > 0)
        co_return Refused(EINPROGRESS, "the merge is not done: " + status,
                          "wait until the first number is the last");
    const std::string word = quote_word(words_of(*row)[0].text);
    std::shared_ptr<Volume> origin = as_volume(table->devices().front());
    const bool keeps =
        has_snapshots(*table->devices().front()) || (origin && origin->name().ends_with(kReal));
    row = nullptr;
    const Sector length = table->size();
    table.reset();
    std::shared_ptr<Table> plain;
    Task<Outcome> building =
        build(volume, row_text(length, keeps ? "snapshot-origin " + word : "linear " + word + " 0"), &plain);
    Outcome outcome = co_await building;
    if (!outcome) co_return outcome;
    Task<Outcome> replacing = volume->replace(std::move(plain), cancel_);
    outcome = co_await replacing;
    if (!outcome || !keeps || !origin) co_return outcome;
    Task<Outcome> making_single = make_single(origin, cancel_);
    outcome = co_await making_single;
    co_return outcome;
}

// Throwing away.

namespace {

bool is_snapshot(const Volume& volume) {
    std::shared_ptr<Table> table = volume.live();
    return table &&
           std::ranges::all_of(table->rows(), [](const Table::Row& row) { return row.type == "snapshot"; });
}

}  // namespace

// What fork made, NAME-LOW for each LOW, whatever became of their tables since.
std::vector<std::shared_ptr<Volume>> Snapshots::parts(const std::string& prefix) const {
    std::vector<std::shared_ptr<Volume>> parts;
    for (const std::shared_ptr<Volume>& volume : dm_.volumes().volumes()) {
        const std::string name = volume->name();
        if (name.starts_with(prefix) && dm_.volumes().by_name(name.substr(prefix.size())))
            parts.push_back(volume);
    }
    return parts;
}

// Whether fork made it: it stands on its parts, or on nothing, since its table was exchanged.
bool Snapshots::is_fork(const Volume& volume) const {
    const std::vector<std::shared_ptr<Volume>> parts = this->parts(volume.name() + "-");
    if (std::ranges::none_of(parts, [](const auto& part) { return is_snapshot(*part); })) return false;
    std::shared_ptr<Table> table = volume.live();
    if (!table || table->devices().empty()) return true;
    return std::ranges::any_of(table->devices(), [&](const std::shared_ptr<Device>& device) {
        std::shared_ptr<Volume> below = as_volume(device);
        return below && std::ranges::find(parts, below) != parts.end();
    });
}

Task<Outcome> Snapshots::drop(std::shared_ptr<Volume> volume) {
    if (Outcome outcome = check_no_snapshots(*volume); !outcome) co_return outcome;
    std::shared_ptr<Volume> left;  // an origin whose snapshots were removed otherwise
    if (std::shared_ptr<Table> table = volume->live(); only_row(table, "snapshot-origin"))
        left = as_volume(table->devices().front());
    if (left) {
        Task<Outcome> making_single = make_single(std::move(left), cancel_);
        Outcome outcome = co_await making_single;
        if (!outcome) co_return outcome;
        if (!only_row(volume->live(), "snapshot-origin") && !is_snapshot(*volume)) co_return Outcome();
    }
    const bool snapshot = is_snapshot(*volume);
    if (!snapshot && !is_fork(*volume))
        co_return Refused(EINVAL, "'" + volume->name() + "' is neither a snapshot nor a copy",
                          "`dmfs remove` for any other volume");
    const std::string prefix = volume->name() + "-";
    std::vector<std::shared_ptr<Volume>> below, origins;
    if (!snapshot) below = parts(prefix);
    for (const std::shared_ptr<Volume>& part : below) {
        if (Outcome outcome = check_no_snapshots(*part); !outcome) co_return outcome;
        if (auto origin = dm_.volumes().by_name(part->name().substr(prefix.size()) + kReal))
            origins.push_back(std::move(origin));
    }
    if (std::shared_ptr<Table> table = volume->live(); snapshot && table)
        for (const std::shared_ptr<Device>& device : table->devices())
            if (std::shared_ptr<Volume> origin = as_volume(device)) origins.push_back(std::move(origin));
    Task<Outcome> removing = dm_.remove(std::move(volume), false, cancel_);
    Outcome outcome = co_await removing;
    if (!outcome) co_return outcome;
    // From the top; what somebody else uses stays.
    for (bool removed = true; removed;) {
        removed = false;
        for (std::shared_ptr<Volume>& part : below) {
            if (!part || !dm_.volumes().by_id(part->id()) || part->open_count() > 0) continue;
            Task<Outcome> dropping = dm_.remove(std::move(part), false, cancel_);
            Outcome dropped = co_await dropping;
            outcome = and_then(std::move(outcome), dropped);
            removed = true;
        }
    }
    for (const std::shared_ptr<Volume>& origin : origins) {
        Task<Outcome> making_single = make_single(origin, cancel_);
        Outcome single = co_await making_single;
        outcome = and_then(std::move(outcome), single);
    }
    co_return outcome;
}

// The words.

Task<Outcome> Snapshots::request(std::shared_ptr<Volume> volume, std::vector<Word> words) {
    const std::string verb = words[0].text;
    auto usage = [&](const char* text) {
        return Task<Outcome>::ready(
            Refused(EINVAL, verb + ": " + std::to_string(words.size() - 1) + " words", text));
    };
    if (verb == "snapshot") {
        if (words.size() < 3 || words.size() > 5) return usage("snapshot NAME COW [PO|P|N [CHUNK]]");
        Wanted wanted{words[1].text, words[2].text, words.size() > 3 ? words[3].text : "PO", 0};
        if (words.size() > 4) {
            std::optional<uint64_t> chunk = parse_decimal(words[4].text);
            if (!chunk || *chunk == 0) return usage("snapshot NAME COW [PO|P|N [CHUNK]]");
            wanted.chunk = *chunk;
        }
        return snapshot(std::move(volume), std::move(wanted));
    }
    if (verb == "fork") {
        if (words.size() < 2 || words.size() > 3) return usage("fork NAME [FOLDER]");
        return fork(std::move(volume), words[1].text, words.size() > 2 ? words[2].text : "");
    }
    if (words.size() != 1) return usage("nothing behind it");
    if (verb == "merge") return merge(std::move(volume));
    if (verb == "merged") return merged(std::move(volume));
    return drop(std::move(volume));
}

namespace {

Task<Outcome> run_request(DeviceMapper* dm, std::shared_ptr<Volume> volume, std::vector<Word> words,
                          std::string folder, Cancel* cancel) {
    // A COW device that never answers is waited for here, where it holds up nobody else.
    if (words[0].text == "snapshot" && words.size() > 2) {
        DeviceSource& devices = dm->source_for(*volume, folder).devices;
        std::function<void()> opening = [&devices, word = words[2].text, folder] {
            static_cast<void>(devices.open_device(word, true, folder));
        };
        Task<Outcome> trying = aside(dm->volumes().executor(), std::move(opening), cancel);
        Outcome outcome = co_await trying;
        if (!outcome && outcome.why().error() == EINTR) co_return outcome;
    }
    // One at a time: each looks at several volumes, and expects them to stay.
    Task<Status> turn = dm->snapshot_steps().acquire(cancel);
    Status status = co_await turn;
    if (!status) co_return Refused(status.error(), "interrupted while another volume got its snapshot");
    Lock::Guard guard(dm->snapshot_steps());
    Snapshots snapshots(*dm, std::move(folder), cancel);
    Task<Outcome> doing = snapshots.request(std::move(volume), std::move(words));
    Outcome outcome = co_await doing;
    co_return outcome;
}

}  // namespace

bool is_snapshot_request(const std::string& verb) {
    constexpr std::string_view kVerbs[] = {"snapshot", "fork", "merge", "merged", "drop"};
    return std::find(std::begin(kVerbs), std::end(kVerbs), verb) != std::end(kVerbs);
}

std::shared_ptr<Volume> merges_into(DeviceMapper* dm, const std::shared_ptr<Volume>& snapshot) {
    return Snapshots(*dm, {}, nullptr).merges_into(snapshot);
}

Task<Outcome> snapshot_request(DeviceMapper* dm, std::shared_ptr<Volume> volume, std::vector<Word> words,
                               std::string folder, Cancel* cancel) {
    return run_request(dm, std::move(volume), std::move(words), std::move(folder), cancel);
}

}  // namespace dmfs
