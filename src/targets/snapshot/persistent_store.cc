// The store that outlives its volume: areas of entries on the COW device.
//
// A commit:   the areas after those that it fills are zeroed (prepare)
//             flush: the data of the chunks, these zeros, and all earlier entries are durable
//             the entries are written, durably if that is asked for
//
// A crash leaves the entries up to some sector of a commit, and perhaps some of those after:
// the first entry of zeros ends them all, so the others are stale. A store with such entries
// is mended before it is used again: the next commit would else bring them back to life.

#include <algorithm>
#include <cassert>
#include <cstring>

#include "engine/look.h"
#include "targets/snapshot/store.h"

namespace dmfs::snapshot {

namespace {

using namespace exception_store;

constexpr uint32_t kDefaultChunk = 32;    // sectors
constexpr size_t kBlockBytes = 4096;      // of areas
constexpr size_t kPieceBytes = 64 << 10;  // read at a time
constexpr size_t kMostAhead = 16;         // pieces read side by side
constexpr size_t kZeroBytes = 1 << 20;    // written at a time

bool all_zeros(const std::byte* from, const std::byte* to) {
    return std::all_of(from, to, [](std::byte byte) { return byte == std::byte{0}; });
}

Refused unreadable(const Device& device, Status status) {
    return Refused(status.error(), "the exception store on " + device.name() + " can't be read");
}

}  // namespace

PersistentStore::PersistentStore(Device& device, uint32_t chunk_sectors, uint32_t chunk_multiple)
    : Store(device, chunk_sectors), chunk_multiple_(chunk_multiple) {}

// Reading.

Task<Outcome> PersistentStore::read(std::vector<Entry>* entries, Cancel* cancel) {
    cancel_ = cancel;
    Task<Outcome> reading = read_all(entries);
    Outcome outcome = co_await reading;
    cancel_ = nullptr;
    co_return outcome;
}

Task<Outcome> PersistentStore::read_all(std::vector<Entry>* entries) {
    Task<Outcome> header = read_header();
    Outcome outcome = co_await header;
    if (!outcome) co_return outcome;
    if (bytes_of(chunk_sectors_) % chunk_multiple_ != 0)
        co_return Refused(EINVAL, "the store has chunks of " + std::to_string(chunk_sectors_) +
                                      " sectors, which cut blocks of " + std::to_string(chunk_multiple_) +
                                      " bytes");
    block_.emplace(std::min<size_t>(bytes_of(chunk_sectors_),
                                    std::max<size_t>(kBlockBytes, device_.limits().logical_block)));
    memset(block_->data(), 0, block_->bytes());
    if (const Chunk least = areas().chunk_of(0) + 1; new_ && !fits(least - 1))
        co_return Refused(EIO,
                          device_.name() + " has " + std::to_string(device_.size()) +
                              " sectors: too few for a store with chunks of " +
                              std::to_string(chunk_sectors_),
                          "a COW device of " + std::to_string(sector_of(least + 1)) +
                              " sectors or more; or smaller chunks");
    if (new_) {
        // What can be known without a write.
        Memory area(std::min<size_t>(bytes_of(chunk_sectors_), kPieceBytes));
        Task<Status> reading = transfer(Op::read, sector_of(areas().chunk_of(0)), &area);
        Status status = co_await reading;
        co_return status ? Outcome() : unreadable(device_, status);
    }
    if (!valid_) co_return Outcome();
    Task<Outcome> areas = read_areas(entries);
    outcome = co_await areas;
    if (outcome && !in_order_) outcome = check_places(*entries);
    co_return outcome;
}

Task<Outcome> PersistentStore::read_header() {
    Memory sector(device_.limits().logical_block);
    Task<Status> reading = transfer(Op::read, 0, &sector);
    Status status = co_await reading;
    if (!status) co_return unreadable(device_, status);
    std::span<const std::byte> bytes(sector.data(), kHeaderBytes);
    new_ = is_new(bytes);
    Outcome outcome;
    try {
        if (!new_) {
            Header header = decode(bytes);
            valid_ = header.valid;
            chunk_sectors_ = header.chunk_sectors;
        }
    } catch (const Refused& wrong) {
        outcome = wrong;
    }
    if (chunk_sectors_ == 0)
        chunk_sectors_ =
            std::max(kDefaultChunk, static_cast<uint32_t>(sectors_in(device_.limits().logical_block)));
    co_return outcome;
}

Task<Outcome> PersistentStore::read_areas(std::vector<Entry>* entries) {
    const Areas areas = this->areas();
    const size_t bytes = std::min<size_t>(bytes_of(chunk_sectors_), kPieceBytes);
    const uint64_t in_piece = bytes / kEntryBytes, pieces = areas.entries() / in_piece;
    size_t ahead = 1;  // there may be one area, or thousands
    for (uint64_t piece = 0;;) {
        std::vector<Memory> memories;
        std::vector<Task<Status>> readings;
        memories.reserve(ahead);
        for (uint64_t p = piece; memories.size() < ahead && fits(areas.chunk_of(p / pieces)); p++) {
            memories.emplace_back(bytes);
            Sector sector = sector_of(areas.chunk_of(p / pieces)) + p % pieces * sectors_in(bytes);
            readings.push_back(transfer(Op::read, sector, &memories.back()));
        }
        if (memories.empty())
            co_return Refused(EIO, "the exception store goes on beyond the end of " + device_.name(),
                              "the whole COW device: it may have been cut off");
        Task<Status> joined = all(std::move(readings));
        Status status = co_await joined;
        if (!status) co_return unreadable(device_, status);
        for (const Memory& memory : memories) {
            for (uint64_t i = 0; i < in_piece; i++) {
                Entry entry = decode_entry(memory.data() + i * kEntryBytes);
                if (entry.new_chunk == 0) {
                    Task<Status> ending = end_areas(piece * in_piece + i, &memory);
                    status = co_await ending;
                    co_return status ? Outcome() : unreadable(device_, status);
                }
                if (Outcome wrong = take_entry(entry, entries->size()); !wrong) co_return wrong;
                entries->push_back(entry);
            }
            piece++;
        }
        ahead = std::min(2 * ahead, kMostAhead);
    }
}

// The new chunk of that entry, if all were taken one after another.
Chunk PersistentStore::place_of(uint64_t entry) const {
    return areas().chunk_of(entry / areas().entries()) + 1 + entry % areas().entries();
}

// Whether an entry can be one: what comes from a disk may be anything.
Outcome PersistentStore::take_entry(const Entry& entry, uint64_t number) {
    std::string wrong;
    // Beyond the end of the device it may be: a read of that chunk fails then, as in the kernel.
    if (entry.new_chunk > kMaxSectors / chunk_sectors_)
        wrong = "is kept beyond the end of any device";
    else if (areas().is_area(entry.new_chunk))
        wrong = "is kept where an area of the store lies";
    else if (entry.old_chunk > kMaxSectors / chunk_sectors_)
        wrong = "is beyond the end of any origin";
    if (!wrong.empty())
        return Refused(EINVAL,
                       "exception " + std::to_string(number) + " of the store makes no sense: chunk " +
                           std::to_string(entry.old_chunk) + " " + wrong,
                       "the store is damaged");
    in_order_ = in_order_ && entry.new_chunk == place_of(number);
    next_free_ = std::max(next_free_, entry.new_chunk + 1);
    return {};
}

// No two share a place: a write to one would change the other.
Outcome PersistentStore::check_places(const std::vector<Entry>& entries) {
    std::vector<Chunk> places;
    places.reserve(entries.size());
    for (const Entry& entry : entries) places.push_back(entry.new_chunk);
    std::ranges::sort(places);
    auto twice = std::ranges::adjacent_find(places);
    if (twice == places.end()) return {};
    return Refused(
        EINVAL,
        "two exceptions of the store are kept in chunk " + std::to_string(*twice) + " of " + device_.name(),
        "the store is damaged");
}

// So many entries there are, in all areas; the last of them stand in this piece.
Task<Status> PersistentStore::end_areas(uint64_t entries, const Memory* piece) {
    const Areas areas = this->areas();
    area_ = entries / areas.entries();
    committed_ = entries % areas.entries();
    allocated_ = entries;
    next_free_ = areas.skip(next_free_);
    has_lost_chunks_ = next_free_ > place_of(entries) && sector_of(next_free_) <= device_.size();
    shown_free_ = next_free_;
    const uint64_t in_piece = piece->bytes() / kEntryBytes;
    const std::byte* end = piece->data() + entries % in_piece * kEntryBytes;
    size_t in_block = entries % entries_in_block() * kEntryBytes;
    memcpy(block_->data(), end - in_block, in_block);
    stale_ = !all_zeros(end, piece->data() + piece->bytes());
    Sector area = sector_of(areas.chunk_of(area_));
    return look_for_stale(area + (committed_ / in_piece + 1) * sectors_in(piece->bytes()),
                          area + chunk_sectors_);
}

// Whether there is anything in the rest of an area.
Task<Status> PersistentStore::look_for_stale(Sector from, Sector end) {
    while (from < end && !stale_) {
        Look look(cancel_);
        Extent extent = device_.extent(from, look);
        Sector until = std::min({end, extent.end, from + sectors_in(kPieceBytes)});
        if (!extent.data) until = std::min(end, extent.end);
        if (extent.data) {
            Memory memory(bytes_of(until - from));
            Task<Status> reading = transfer(Op::read, from, &memory);
            Status status = co_await reading;
            if (!status) co_return status;
            stale_ = !all_zeros(memory.data(), memory.data() + memory.bytes());
        }
        from = until;
    }
    co_return kOk;
}

// Writing.

Task<Status> PersistentStore::begin(Cancel* cancel) {
    if (begun_ || !valid_) co_return kOk;
    cancel_ = cancel;
    Task<Status> beginning = make_or_mend();
    Status status = co_await beginning;
    cancel_ = nullptr;
    co_return status;
}

Task<Status> PersistentStore::make_or_mend() {
    Status status;
    if (new_) {
        // The header last: until it is there, there is no store.
        Task<Status> first_area = write_zeros(sector_of(areas().chunk_of(0)), chunk_sectors_);
        status = co_await first_area;
        if (!status) co_return status;
        Task<Status> header_chunk = write_zeros(0, chunk_sectors_);
        status = co_await header_chunk;
        if (!status) co_return status;
        Task<Status> flushing = flush();
        status = co_await flushing;
        if (!status) co_return status;
        Task<Status> header = write_header();
        status = co_await header;
    } else if (stale_) {
        Task<Status> block = block_io(Op::write, area_, committed_);
        status = co_await block;
        if (!status) co_return status;
        Sector area = sector_of(areas().chunk_of(area_));
        Sector behind = (committed_ / entries_in_block() + 1) * sectors_in(block_->bytes());
        Task<Status> rest = write_zeros(area + behind, chunk_sectors_ - behind);
        status = co_await rest;
        if (!status) co_return status;
        Task<Status> flushing = flush();
        status = co_await flushing;
    }
    new_ = new_ && !status;
    stale_ = stale_ && !status;
    begun_ = status.good();
    co_return status;
}

// An area that is full is followed by another: a store is read up to one that is not.
Sector PersistentStore::needs(Chunk chunk) const {
    const uint64_t entries = allocated_ + 1;
    if (entries % areas().entries() == 0)
        chunk = std::max(chunk, areas().chunk_of(entries / areas().entries()));
    return fits(chunk) ? sector_of(chunk + 1) : 0;
}

Sector PersistentStore::needs() const { return needs(next_free_); }

ChunkRun PersistentStore::allocate(Chunk most, Sector end) {
    const Areas areas = this->areas();
    ChunkRun run{next_free_, 0};
    while (run.count < most && !areas.is_area(run.first + run.count)) {
        const Sector needs = this->needs(run.first + run.count);
        if (needs == 0 || needs > end) break;
        in_order_ = in_order_ && run.first + run.count == place_of(allocated_);
        allocated_++;
        run.count++;
    }
    next_free_ = areas.skip(run.first + run.count);
    shown_free_ = next_free_;
    return run;
}

void PersistentStore::give_back(ChunkRun run) {
    allocated_ -= run.count;
    if (areas().skip(run.first + run.count) != next_free_) {
        in_order_ = false;
        has_lost_chunks_ = true;
        return;
    }
    next_free_ = run.first;
    shown_free_ = next_free_;
}

// The area that gets the next entry, and how many it has.
std::pair<uint64_t, uint64_t> PersistentStore::next_place() const {
    // It is full since a merge, which came back to that area, could not forget.
    if (committed_ == areas().entries()) return {area_ + 1, 0};
    return {area_, committed_};
}

Task<Status> PersistentStore::prepare(size_t entries) {
    const auto [area, at] = next_place();
    const uint64_t areas_full = (at + entries) / areas().entries();
    for (uint64_t full = 1; full <= areas_full; full++) {
        Task<Status> zeroing = write_zeros(sector_of(areas().chunk_of(area + full)), chunk_sectors_);
        Status status = co_await zeroing;
        if (!status) co_return status;
    }
    co_return kOk;
}

Task<Status> PersistentStore::commit(std::span<const Entry> entries, bool durable) {
    const uint64_t in_area = areas().entries(), in_block = entries_in_block();
    auto [area, at] = next_place();
    Task<Status> flushing = flush();
    Status status = co_await flushing;
    const bool one_block = at % in_block + entries.size() <= in_block;
    for (size_t i = 0; i < entries.size() && status;) {
        do {
            encode(entries[i++], block_->data() + at++ % in_block * kEntryBytes);
        } while (i < entries.size() && at % in_block != 0);
        Task<Status> writing = block_io(Op::write, area, at - 1, durable && one_block);
        status = co_await writing;
        if (at % in_block == 0) memset(block_->data(), 0, block_->bytes());
        if (at == in_area) {
            area++;
            at = 0;
        }
    }
    area_ = area;
    committed_ = at;
    if (!status || one_block || !durable) co_return status;
    Task<Status> keeping = flush();
    status = co_await keeping;
    co_return status;
}

Task<Status> PersistentStore::invalidate() {
    valid_ = false;
    return write_header();
}

Store::Usage PersistentStore::usage() const {
    return {shown_free_ * chunk_sectors_, device_.size(), (area_ + 2) * chunk_sectors_};
}

// What it does to the device.

Task<Status> PersistentStore::transfer(Op op, Sector sector, Memory* memory, bool fua) {
    Bio bio;
    bio.op = op;
    bio.fua = fua;
    bio.cancel = cancel_;
    bio.sector = sector;
    bio.count = sectors_in(memory->bytes());
    bio.memory = memory;
    return device_.io(bio);
}

Task<Status> PersistentStore::write_header() {
    Memory block(block_->bytes());
    memset(block.data(), 0, block.bytes());
    encode(Header{valid_, chunk_sectors_}, block.data());
    Task<Status> writing = transfer(Op::write, 0, &block, true);
    Status status = co_await writing;
    co_return status;
}

// The block of an area in which that entry stands.
Task<Status> PersistentStore::block_io(Op op, uint64_t area, uint64_t entry, bool fua) {
    Sector sector =
        sector_of(areas().chunk_of(area)) + entry / entries_in_block() * sectors_in(block_->bytes());
    return transfer(op, sector, &*block_, fua);
}

// By writes: to zero what has its room already is to punch it out on some file systems.
Task<Status> PersistentStore::write_zeros(Sector sector, Sector count) {
    if (count == 0) co_return kOk;
    Bio bio;
    bio.cancel = cancel_;
    Memory zeros(std::min<size_t>(bytes_of(count), kZeroBytes));
    memset(zeros.data(), 0, zeros.bytes());
    bio.op = Op::write;
    bio.memory = &zeros;
    while (count > 0) {
        bio.sector = sector;
        bio.count = std::min(count, sectors_in(zeros.bytes()));
        Task<Status> writing = device_.io(bio);
        Status status = co_await writing;
        if (!status) co_return status;
        sector += bio.count;
        count -= bio.count;
    }
    co_return kOk;
}

Task<Status> PersistentStore::flush() { return device_.io(Bio::flush(cancel_)); }

}  // namespace dmfs::snapshot
