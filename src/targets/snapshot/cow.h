// Cow: a COW device and all that is known of it: the exceptions, the store, the copies on
// their way. It belongs to one row of a table at a time, and is handed over when another
// table takes that row's place; the origin's writes find it in Origin.
//
//     origin   | a | b | c | d | e |            old chunks
//                    |       |
//     COW      |hdr|area| b | d |  free ...     new chunks
//
// What a chunk held is copied before it changes, once. The order is
//
//     copy        the old data (or, for a write to the snapshot, the new) to a new chunk
//     commit      the exception is written down (Store::commit), in the order in which the
//                 new chunks were taken: one commit for all copies that are done. It is
//                 durable, unless all of them are for writes to the snapshot: these need to be
//                 durable only with the next flush, and their exceptions are
//     readers     of the origin's chunk, who still saw no exception, are waited for
//     write       to the origin; or, of the snapshot, to the new chunk
//
// A crash before the commit leaves the origin's chunk as it was; after it, the copy.
// Where a copy cannot be made or written down the snapshot is invalid from then on, which is
// written down before the origin changes. But where the COW file's file system is full a write to the
// snapshot is refused, and nothing is lost: room is looked for before anything is done (Headroom). Only a
// change of the origin makes the snapshot invalid there.
//
// Who waits for a copy may be killed; the copy goes on. So its work is nobody's in
// particular: it is spawned, and keeps the Cow alive.

#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "engine/device.h"
#include "engine/executor.h"
#include "engine/room.h"
#include "engine/wait.h"
#include "targets/snapshot/headroom.h"
#include "targets/snapshot/readings.h"
#include "targets/snapshot/store.h"

namespace dmfs::snapshot {

class Cow : public std::enable_shared_from_this<Cow> {
  public:
    // The part of the origin that the snapshot shows: what else changes there is not copied.
    struct Shown {
        Sector from, end;
    };

    Cow(Executor& executor, std::shared_ptr<Device> origin, std::shared_ptr<Device> device,
        std::unique_ptr<Store> store);

    // Reads the store; changes nothing.
    Task<Outcome> read_store(Cancel* cancel);
    // Before the first copy: the store may have to be made, or mended.
    Task<Status> begin(Cancel* cancel) { return store_->begin(cancel); }

    // What it has to keep; before it is added to its origin.
    void show(Shown shown) {
        std::lock_guard guard(mutex_);
        shown_ = shown;
    }
    // Its row now: what it shows, whether somebody sees to an overflow, whom to tell.
    void belongs_to(Shown shown, bool overflow_is_seen_to, std::function<void()> raise_event);

    // The snapshot's requests, in sectors of the origin.
    Task<Status> read(Bio bio);
    Task<Status> write(Bio bio);
    Task<Status> flush(Bio bio);
    // Zeros chunks that have an exception, and parts of them.
    Task<Status> discard(Bio bio);

    // Before [from, end) of the origin changes: whether nothing is to be done for it; and does
    // it. Fails only with EINTR: a snapshot that can't keep what was there is invalid.
    bool preserved(Sector from, Sector end) const;
    Task<Status> preserve(Sector from, Sector end, Cancel* cancel);

    // What waits for room on the COW file's file system waits no more: see Headroom.
    void let_go(Headroom::Who who) { room_->let_go(who); }
    void hold_again() { room_->hold_again(); }
    void give_up(int64_t longer_than_ns) { room_->give_up(longer_than_ns); }
    bool is_short_of_room() const { return room_->is_short(); }
    // The origin could not be flushed when the snapshot was made: what it lost before, the snapshot
    // lost, too. Its next flush fails with `error`, and each flushes the origin until that is done.
    void origin_was_not_flushed(Status error);

    // Answers when it writes nothing any more by itself: no copy, no end of a snapshot.
    Task<Status> idle(Cancel* cancel);
    bool busy() const {
        std::lock_guard guard(mutex_);
        return !copies_.empty() || (!valid_ && !known_invalid_);
    }

    Shown shown() const;

    enum class State { good, overflowed, invalid };
    State state() const;
    Store::Usage usage() const;
    uint32_t chunk_sectors() const { return store_->chunk_sectors(); }
    Device& origin() const { return *origin_; }
    Device& device() const { return *device_; }

    // A run of sectors that are alike, from `at` on: with an exception, and then side by side
    // on the COW device, or without.
    struct Piece {
        Sector count = 0;
        std::optional<Sector> on_cow;
        size_t searched = 0;  // exceptions, to find it
    };
    Piece piece_at(Sector at, Sector most) const;
    // Where [start, end) of the COW device shows in the origin, in no order.
    template <class Visit>
    void each_kept(Sector start, Sector end, Visit visit) const {
        std::lock_guard guard(mutex_);
        exceptions_.each([&](const Entry& entry) {
            Sector at = sector_of(entry.new_chunk), until = at + chunk_sectors();
            if (at < end && start < until) visit(entry);
        });
    }
    // The runs of whole chunks around [from, end) that have no exception yet.
    template <class Visit>
    void each_to_copy(Sector from, Sector end, Visit visit) const {
        from = std::max(from, shown().from);
        end = std::min(end, shown().end);
        if (from >= end || state() == State::invalid) return;
        end = sector_of(chunk_behind(end));
        for (Sector at = sector_of(chunk_of(from)); at < end;) {
            Piece piece = piece_at(at, end - at);
            if (!piece.on_cow) visit(at, at + piece.count);
            at += piece.count;
        }
    }
    size_t exceptions() const;
    // What a change of [from, end) of the origin would take, so that the snapshot keeps it; or what
    // writing to the snapshot there would.
    void ask_room_to_keep(Sector from, Sector end, Room& room) const;
    void ask_room_to_write(Sector from, Sector end, Room& room) const;

    // Only as a snapshot it keeps what changes in the origin. Copies that are under way go on
    // in any role.
    enum class Role { snapshot, merging, ended };
    void become(Role role);

    // Merging (snapshot_merge.cc): exceptions go back to the origin, the newest first. A snapshot that
    // merges makes none any more.

    bool can_merge() const { return store_->can_merge(); }
    // Exceptions side by side in the origin and on the COW device, made one after another.
    struct MergeRun {
        Entry first;
        uint64_t count;
    };
    // The newest exceptions, the newest first, in at most so many runs; none if everything is
    // merged. No write to their chunks is under way, and none begins until end_merging().
    Task<Status> begin_merging(size_t most_runs, std::vector<MergeRun>* batch);
    // The first `merged` runs are in the origin, and durable: they are forgotten.
    Task<Status> end_merging(std::vector<MergeRun> batch, size_t merged);
    // A batch that may be forgotten or not is not, so that a snapshot can go on.
    Task<Status> give_up_merging();
    // A write meanwhile: to the COW device, or by `write_origin` where there is no exception.
    using OriginWrite = std::function<Task<Status>(Bio)>;
    Task<Status> write_merging(Bio bio, OriginWrite write_origin);

  private:
    // Chunks on their way to the COW device.
    struct Copy {
        Copy(Executor& executor, Chunk old_first, ChunkRun to)
            : old_first(old_first), to(to), waiting(executor) {}

        const Chunk old_first;
        const ChunkRun to;
        enum class At { copying, copied, failed } at = At::copying;  // under the Cow's mutex
        bool durable = false;                                        // its exception has to be; likewise
        bool needed = false;                                         // by a write to the origin; likewise
        Status error;                                                // if it failed
        // What a write to the snapshot puts over the old data, and where in the chunk.
        std::optional<Memory> assembled;
        Sector new_from = 0, new_end = 0;

        WaitQueue waiting;
        bool done = false;  // under the queue's mutex, as the status
        Status status;
    };
    using Copies = std::vector<std::shared_ptr<Copy>>;

    Sector sector_of(Chunk chunk) const { return chunk * chunk_sectors(); }
    Chunk chunk_of(Sector sector) const { return sector / chunk_sectors(); }
    Chunk chunk_behind(Sector end) const { return (end + chunk_sectors() - 1) / chunk_sectors(); }
    Sector length_of(Chunk first, Chunk count) const;  // less where the origin ends

    // Under the mutex.
    Piece piece_locked(Sector at, Sector most) const;
    Chunk next_kept(Chunk from, Chunk end) const;
    // So many chunks are looked up one by one before all exceptions are gone through instead ...
    static constexpr size_t kByOne = 4096;
    // ... which is worth a look-up for every so many.
    static constexpr size_t kByOneShare = 16;
    std::shared_ptr<Copy> copy_of(Chunk chunk) const;
    Chunk uncopied(Chunk first, Chunk end) const;
    std::shared_ptr<Copy> begin_copy(Chunk first, Chunk most);
    bool writable() const { return valid_ && !overflowed_; }
    bool all_durable() const { return durable_end_ == kAllDurable; }

    bool is_merging() const {
        std::lock_guard guard(mutex_);
        return role_ == Role::merging;
    }

    Task<Status> read_pieces(Bio bio);
    Task<Status> end_reading(Task<Status> reading, Readings::Ticket ticket);
    Status ended_reading(Readings::Ticket ticket, Status status);
    Task<Status> write_kept(std::unique_lock<std::mutex> lock, Bio bio);
    Task<Status> write_durably(Bio bio);
    Task<Status> flush_own(Bio bio);
    Task<Status> flush_loose(Bio bio, uint64_t commits);
    Task<Status> flush_with_origin(Bio bio);
    Task<Status> make_durable(Chunk first, Chunk end, Cancel* cancel);
    Task<Status> write_pieces(Bio bio);
    Task<Status> write_piece(Bio* rest);
    Task<Status> write_first(const std::shared_ptr<Copy>& copy, Bio bio);
    Task<Status> write_whole(std::shared_ptr<Copy> copy, Bio bio);
    Task<Status> write_behind(std::shared_ptr<Copy> copy, Bio bio);
    Task<Status> write_when_room(Bio bio, Sector needs);
    Task<Status> refuse_full(std::unique_lock<std::mutex> lock, Cancel* cancel);
    Task<Status> begin_preserving(Chunk chunk, Chunk behind, Cancel* cancel, Copies* copies);
    Task<Status> merging_piece(Bio* rest, const OriginWrite& write_origin);
    Task<Status> write_when_merged(Bio bio, OriginWrite write_origin);
    Task<Status> write_when_copied(std::shared_ptr<Copy> copy, Bio bio, OriginWrite write_origin);
    Task<Status> end_writing(Task<Status> writing, Readings::Ticket ticket);

    // The work of a copy; `self` keeps the Cow alive.
    static Task<Status> copy_old(std::shared_ptr<Cow> self, std::shared_ptr<Copy> copy);
    static Task<Status> copy_around(std::shared_ptr<Cow> self, std::shared_ptr<Copy> copy);
    Task<Status> transfer(Op op, Device* device, Sector sector, Sector count, Memory* memory, size_t offset);
    void copied(const std::shared_ptr<Copy>& copy, Status status);
    static Task<Status> commit_copies(std::shared_ptr<Cow> self);
    Copies take_copied(bool* durable, Copies* refused);
    bool any_needed(const Copies& copies) const;
    bool gather(size_t back, int64_t took_ns);
    size_t ready() const {
        std::lock_guard guard(mutex_);
        return ready_;
    }
    static Task<Status> end_gathering(std::shared_ptr<Cow> self, uint64_t which, int64_t deadline_ns);
    void settle(const Copies& copies, bool durable, Status status);
    static Task<Status> wait_for(std::shared_ptr<Copy> copy, Cancel* cancel);
    static Task<Status> wait_until_done(std::shared_ptr<Copy> copy, Cancel* cancel);
    Task<Status> wait_for_readers(Chunk first, Chunk end, Cancel* cancel);
    Task<Status> invalidate(std::string why, Cancel* cancel);
    static Task<Status> write_down_invalid(std::shared_ptr<Cow> self);

    Executor& executor_;
    const std::shared_ptr<Device> origin_;
    const std::shared_ptr<Device> device_;
    const std::unique_ptr<Store> store_;
    const std::shared_ptr<Headroom> room_;
    std::atomic<Sector> origin_sectors_;

    mutable std::mutex mutex_;  // guards what follows; held for moments, never across a wait
    Exceptions exceptions_;
    std::map<Chunk, std::shared_ptr<Copy>> copies_;  // by their first old chunk
    std::deque<std::shared_ptr<Copy>> order_;        // in the order of their new chunks
    bool committing_ = false;
    // Exceptions are durable whose new chunk is before it. Those that a store has when it is opened
    // may not be: whoever wrote them may have been killed before the flush.
    static constexpr Chunk kAllDurable = UINT64_MAX;
    Chunk durable_end_ = kAllDurable;
    uint64_t loose_commits_ = 0;  // how many were not durable when they answered
    size_t ready_ = 0;            // of order_, that only need the commit
    size_t awaited_ = 0;          // how many of those the next commit waits for, for a while; 0: none
    uint64_t gatherings_ = 0;     // how often one has
    unsigned misses_ = 0, gathers_not_ = 0;  // in vain, one after another; how many do not wait
    Readings readings_;                      // of the origin, by the snapshot
    Readings writings_;                      // of the COW device, while it merges
    bool readers_awaited_ = false, writers_awaited_ = false;
    std::set<Chunk> merging_;
    std::vector<MergeRun> stuck_batch_;  // that may be forgotten, or not
    bool valid_ = true;
    bool overflowed_ = false;
    bool known_invalid_ = false;    // it is written down, as well as it can be
    bool origin_is_loose_ = false;  // what it held when the snapshot was made is not durable yet
    Status origin_error_;           // what the snapshot's next flush has to tell of that
    Role role_ = Role::snapshot;
    Shown shown_{0, 0};
    bool overflow_is_seen_to_ = false;
    std::function<void()> raise_event_;

    WaitQueue readers_gone_, writers_gone_, idle_, invalidated_, merged_;
};

}  // namespace dmfs::snapshot
