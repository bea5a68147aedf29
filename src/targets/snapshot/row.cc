#include "targets/snapshot/row.h"

#include <algorithm>
#include <cctype>

#include "engine/holding.h"
#include "engine/volume.h"
#include "parts/feature_words.h"

namespace dmfs::snapshot {

namespace {

constexpr size_t kSearchesAStep = 32;  // of a Look, which counts files that are asked

constexpr const char* kUsage = "ORIGIN COW P|PO|N CHUNK [COUNT FEATURES...]";

// The device, which does not count as open for that.
std::shared_ptr<Device> not_open(const std::shared_ptr<Device>& device) {
    auto* volume = dynamic_cast<Volume*>(device.get());
    return volume != nullptr ? volume->shared_from_this() : device;
}

}  // namespace

// The words.

Features Features::parse(TargetSetup& setup) {
    setup.need_at_least(4, kUsage);
    Features settings;
    for (FeatureWords words(setup, 4, "features", 2); words.next();) {
        if (words.is("discard_zeroes_cow"))
            settings.discard_zeroes_cow = true;
        else if (words.is("discard_passdown_origin"))
            settings.discard_passdown_origin = true;
        else
            throw words.unknown("discard_zeroes_cow or discard_passdown_origin");
    }
    if (settings.discard_passdown_origin && !settings.discard_zeroes_cow)
        throw setup.refuse(5, "discard_passdown_origin goes with discard_zeroes_cow only",
                           "2 discard_zeroes_cow discard_passdown_origin");
    return settings;
}

StoreWords StoreWords::parse(TargetSetup& setup) {
    StoreWords settings;
    const std::string& type = setup.word(2);
    char letter = type.empty() ? '\0' : static_cast<char>(std::toupper(static_cast<unsigned char>(type[0])));
    if (letter != 'P' && letter != 'N')
        throw setup.refuse(2, "the store is neither persistent nor transient: '" + type + "'", "P, PO or N");
    settings.persistent = letter == 'P';
    if (settings.persistent && type.size() > 1) {
        if (std::toupper(static_cast<unsigned char>(type[1])) != 'O')
            throw setup.refuse(2, "unknown option of the store: '" + type.substr(1) + "'", "P or PO");
        settings.overflow_is_seen_to = true;
    }
    std::string_view digits = setup.word(3);
    if (digits.starts_with('+')) digits.remove_prefix(1);  // as the kernel reads it
    std::optional<uint64_t> number = parse_decimal(digits);
    if (!number)
        throw setup.refuse(3, "chunk size '" + setup.word(3) + "' is no number of sectors",
                           "such as 8 or 16");
    const uint64_t chunk = *number;
    if (chunk != 0 && !exception_store::is_chunk(chunk))
        throw setup.refuse(3, "chunk size " + std::to_string(chunk) + " is no power of two, or too large",
                           "such as 8 or 16, at most " + std::to_string(exception_store::kMostChunkSectors));
    settings.chunk_sectors = static_cast<uint32_t>(chunk);
    return settings;
}

// The row.

Row::Row(TargetSetup& setup, bool merges)
    : executor_(setup.executor()),
      merges_(merges),
      start_(setup.row_start()),
      length_(setup.length()),
      features_(Features::parse(setup)),
      // Whoever can only read it can have a snapshot of it.
      origin_device_(setup.open(0, merges || features_.discard_passdown_origin)),
      device_(open_cow(setup)),
      store_words_(StoreWords::parse(setup)),
      origin_(Origin::of(executor_, *origin_device_)),
      claim_(origin_device_->identity(), device_->identity(), merges),
      device_place_(setup.word_place(1)),
      chunk_place_(setup.word_place(3)),
      raise_event_(setup.raise_event()) {
    setup.check_area(*origin_device_, 0, length_, 0);
    if (origin_device_->identity() == device_->identity())
        throw setup.refuse(1, "the COW device is the origin itself", "another one");
    if (merges && !store_words_.persistent)
        throw setup.refuse(2, "a transient store can't be merged", "P or PO");
    for (const std::shared_ptr<Device>& device : {origin_device_, device_}) {
        uint32_t block = device->limits().logical_block;
        if (bytes_of(store_words_.chunk_sectors) % block != 0)
            throw setup.refuse(3,
                               "chunks of " + std::to_string(store_words_.chunk_sectors) +
                                   " sectors cut the blocks of " + device->name(),
                               "a multiple of " + std::to_string(sectors_in(block)) + " sectors");
    }
}

// For a read-only table, too, if it can be: what changes in the origin is kept there.
std::shared_ptr<Device> Row::open_cow(TargetSetup& setup) {
    std::shared_ptr<Device> device;
    try {
        device = setup.open(1, true);
    } catch (const Refused&) {
        if (setup.writable()) throw;
        device = setup.open(1, false);
    }
    hold_store(setup, 1, *device);
    return device;
}

Row::~Row() {
    // A table that never was live, or whose close nobody awaited.
    if (claim_.hand_over()) return;
    if (std::shared_ptr<Cow> cow = claim_.cow()) {
        cow->become(Cow::Role::ended);
        origin_->remove(*cow);
    }
}

Task<Outcome> Row::prepare(Cancel* cancel) {
    if (Outcome outcome = claim_.enter(); !outcome) co_return outcome.why().at(device_place_);
    if (claim_.waits()) co_return Outcome();
    if (!store_words_.persistent && store_words_.chunk_sectors == 0)
        co_return Refused(EINVAL, "a transient store needs a chunk size", "such as 8 or 16").at(chunk_place_);
    std::unique_ptr<Store> store;
    if (store_words_.persistent)
        store = std::make_unique<PersistentStore>(
            *device_, store_words_.chunk_sectors,
            std::max(origin_device_->limits().logical_block, device_->limits().logical_block));
    else
        store = std::make_unique<TransientStore>(*device_, store_words_.chunk_sectors);
    // Whoever gets it handed over has the devices open: it keeps none open itself.
    auto cow =
        std::make_shared<Cow>(executor_, not_open(origin_device_), not_open(device_), std::move(store));
    Task<Outcome> reading = cow->read_store(cancel);
    Outcome outcome = co_await reading;
    if (!outcome) co_return outcome.why().at(device_place_);
    claim_.begin(std::move(cow));
    co_return Outcome();
}

Task<Outcome> Row::preresume(Cancel* cancel) {
    Outcome outcome = claim_.may_resume();
    if (!outcome) co_return outcome;
    std::shared_ptr<Cow> cow = claim_.cow_to_be();
    if (!cow || cow->state() == Cow::State::invalid) co_return Outcome();
    Task<Status> beginning = cow->begin(cancel);
    Status status = co_await beginning;
    if (!status)
        co_return Refused(status.error(), "the exception store on " + device_->name() + " can't be written");
    if (merges_) co_return Outcome();
    Task<Status> giving_up = cow->give_up_merging();
    status = co_await giving_up;
    if (!status)
        co_return Refused(status.error(), "the exception store on " + device_->name() + " can't be written");
    cow->show({start_, start_ + length_});
    cow->become(Cow::Role::snapshot);
    Task<Status> adding = origin_->add(cow, *origin_device_, cancel);
    status = co_await adding;
    if (!status) co_return Refused(status.error(), "interrupted while writes to the origin are under way");
    co_return Outcome();
}

void Row::presuspend() {
    if (std::shared_ptr<Cow> cow = claim_.cow()) cow->let_go(Headroom::Who::snapshot);
}

void Row::presuspend_undo() {
    if (std::shared_ptr<Cow> cow = claim_.cow()) cow->hold_again();
}

void Row::resume() {
    claim_.take_over();
    claim_.suspended(false);
    std::shared_ptr<Cow> cow = claim_.cow();
    if (!cow) return;
    cow->belongs_to({start_, start_ + length_}, store_words_.overflow_is_seen_to, raise_event_);
    cow->hold_again();
    if (!merges_) return;
    cow->become(Cow::Role::merging);
    origin_->remove(*cow);
}

Task<Status> Row::close() {
    if (claim_.hand_over()) co_return kOk;
    std::shared_ptr<Cow> cow = claim_.cow();
    if (!cow) {
        claim_.give_up();
        co_return kOk;
    }
    cow->become(Cow::Role::ended);
    origin_->remove(*cow);
    Task<Status> ending = cow->idle(nullptr);
    Status status = co_await ending;
    // Or to a table that was loaded meanwhile.
    if (!claim_.hand_over()) claim_.give_up();
    co_return status;
}

// Its texts.

std::string Row::status(StatusKind kind) const {
    std::shared_ptr<Cow> cow = claim_.cow();
    const bool waits = !cow && claim_.waits();
    if (kind == StatusKind::table) {
        bool persistent = cow ? cow->can_merge() : store_words_.persistent;
        std::string text = quote_word(origin_device_->name()) + " " + quote_word(device_->name()) + " " +
                           (!persistent                        ? "N"
                            : store_words_.overflow_is_seen_to ? "PO"
                                                               : "P") +
                           " " + std::to_string(cow ? cow->chunk_sectors() : 0);
        int features = features_.discard_zeroes_cow + features_.discard_passdown_origin;
        if (features > 0) text += " " + std::to_string(features);
        if (features_.discard_zeroes_cow) text += " discard_zeroes_cow";
        if (features_.discard_passdown_origin) text += " discard_passdown_origin";
        return text;
    }
    const Cow::State state = cow ? cow->state() : waits ? Cow::State::good : Cow::State::invalid;
    if (kind == StatusKind::measure) {
        auto yes_or_no = [](bool is) { return is ? "y" : "n"; };
        return "snap_origin_name=" + quote_word(origin_device_->name()) +
               ",snap_cow_name=" + quote_word(device_->name()) +
               ",snap_valid=" + yes_or_no(state != Cow::State::invalid) +
               ",snap_merge_failed=" + yes_or_no(merge_failed()) +
               ",snapshot_overflowed=" + yes_or_no(state == Cow::State::overflowed) + ";";
    }
    if (state == Cow::State::invalid) return "Invalid";
    if (merge_failed()) return "Merge failed";
    if (state == Cow::State::overflowed) return "Overflow";
    Store::Usage usage = cow ? cow->usage() : Store::Usage{0, device_->size(), 0};
    // The word is that of thin pools.
    return std::to_string(usage.allocated) + "/" + std::to_string(usage.total) + " " +
           std::to_string(usage.metadata) +
           (cow && !merges_ && cow->is_short_of_room() ? " out_of_data_space" : "");
}

void Row::adjust(Limits& limits) const {
    limits.write_zeroes = false;
    std::shared_ptr<Cow> cow = claim_.cow_to_be();
    const bool discards = limits.discard() && features_.discard_zeroes_cow && cow;
    limits.discard_granularity = discards ? static_cast<uint32_t>(bytes_of(cow->chunk_sectors())) : 0;
}

void Row::each_device(const DeviceVisitor& visit) const {
    visit(*origin_device_, 0, length_);
    visit(*device_, 0, device_->size());
}

// Where its sectors are.

// A snapshot that is invalid cannot be read; what merges shows its origin then.
bool Row::differs() const {
    std::shared_ptr<Cow> cow = claim_.cow();
    return !merges_ && (!cow || cow->state() == Cow::State::invalid);
}

// What was searched for a piece counts, too: how much that is, the store decides.
Extent Row::extent(Sector at, Look& look) {
    std::shared_ptr<Cow> cow = claim_.cow();
    const bool lost = !cow || cow->state() == Cow::State::invalid;
    if (lost && !merges_) return {true, length_};
    const Sector sector = start_ + at;
    Cow::Piece piece{length_ - at, {}};
    if (!lost) piece = cow->piece_at(sector, length_ - at);
    for (size_t steps = piece.searched / kSearchesAStep; steps > 0 && look.step(); steps--) {
    }
    Device& device = piece.on_cow ? *device_ : *origin_device_;
    Sector place = piece.on_cow.value_or(sector);
    if (place >= device.size()) return {true, at + piece.count};
    Extent below = device.extent(place, look);
    return {below.data, at + std::min(piece.count, below.end - place)};
}

// Piece after piece, where a read would find it.
void Row::explain_reads(Op op, Sector at, Sector count, const StepVisitor& visit) const {
    std::shared_ptr<Cow> cow = claim_.cow();
    if (!cow) return visit(Step{op, at, count, nullptr, 0, "fails with EIO: the snapshot is invalid"});
    for (Sector end = at + count; at < end;) {
        Cow::Piece piece = cow->piece_at(start_ + at, end - at);
        Sector chunk = (start_ + at) / cow->chunk_sectors();
        visit(Step{
            op, at, piece.count, piece.on_cow ? device_.get() : origin_device_.get(),
            piece.on_cow.value_or(start_ + at),
            "chunk " + std::to_string(chunk) + (piece.on_cow ? ", exception" : ", as the origin has it")});
        at += piece.count;
    }
}

void Row::reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const {
    std::shared_ptr<Cow> cow = claim_.cow();
    if (!cow) return;
    const Sector end = start + count;
    auto show = [&](Sector from, Sector until, Sector place) {  // of the origin
        Sector first = std::max(from, start_), last = std::min(until, start_ + length_);
        if (first < last) visit(Run{first - start_, last - first, place + (first - from)});
    };
    if (&device == device_.get()) {
        std::vector<Entry> kept;
        cow->each_kept(start, end, [&](const Entry& entry) { kept.push_back(entry); });
        for (const Entry& entry : kept) {
            Sector chunk = cow->chunk_sectors(), place = entry.new_chunk * chunk;
            Sector from = std::max(place, start), until = std::min(place + chunk, end);
            show(entry.old_chunk * chunk + (from - place), entry.old_chunk * chunk + (until - place), from);
        }
    }
    if (&device != origin_device_.get()) return;
    for (Sector at = std::max(start, start_); at < std::min(end, start_ + length_);) {
        Cow::Piece piece = cow->piece_at(at, std::min(end, start_ + length_) - at);
        if (!piece.on_cow) show(at, at + piece.count, at);
        at += piece.count;
    }
}

}  // namespace dmfs::snapshot
