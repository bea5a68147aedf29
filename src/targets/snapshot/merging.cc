// What a Cow does for a merge (snapshot_merge.cc).

#include <algorithm>

#include "base/log.h"
#include "targets/snapshot/cow.h"

namespace dmfs::snapshot {

namespace {

constexpr size_t kMostEntries = 4096;  // of a batch

template <class Visit>
void each_chunk(const std::vector<Cow::MergeRun>& runs, Visit visit) {
    for (const Cow::MergeRun& run : runs)
        for (uint64_t i = 0; i < run.count; i++)
            visit(Entry{run.first.old_chunk + i, run.first.new_chunk + i});
}

std::vector<Cow::MergeRun> runs_of(const std::vector<Entry>& newest, size_t most) {
    std::vector<Cow::MergeRun> runs;
    for (const Entry& entry : newest) {
        if (!runs.empty() && runs.back().first == Entry{entry.old_chunk + 1, entry.new_chunk + 1}) {
            runs.back() = {entry, runs.back().count + 1};
            continue;
        }
        if (runs.size() == most) break;
        runs.push_back({entry, 1});
    }
    return runs;
}

}  // namespace

Task<Status> Cow::begin_merging(size_t most_runs, std::vector<MergeRun>* batch) {
    {
        std::lock_guard guard(mutex_);
        *batch = stuck_batch_;
    }
    if (!batch->empty()) co_return kOk;  // once more
    std::vector<Entry> newest;
    Task<Status> reading = store_->newest(kMostEntries, &newest);
    Status status = co_await reading;
    if (!status) co_return status;
    *batch = runs_of(newest, most_runs);
    {
        std::lock_guard guard(mutex_);
        std::optional<Chunk> wrong;
        each_chunk(*batch, [&](const Entry& entry) {
            if (exceptions_.find(entry.old_chunk) != entry.new_chunk || length_of(entry.old_chunk, 1) == 0)
                wrong = entry.old_chunk;
        });
        if (wrong) {
            log_line(Severity::error, "snapshot-merge: the store on " + device_->name() +
                                          " is damaged at chunk " + std::to_string(*wrong));
            co_return Status(EIO);
        }
        each_chunk(*batch, [&](const Entry& entry) { merging_.insert(entry.old_chunk); });
    }
    auto nobody_writes = [this] {
        std::lock_guard guard(mutex_);
        const bool written = writings_.overlap(merging_);
        writers_awaited_ = writers_awaited_ || written;
        return !written;
    };
    Task<Status> waiting = writers_gone_.until(nobody_writes);
    status = co_await waiting;
    co_return status;
}

Task<Status> Cow::end_merging(std::vector<MergeRun> batch, size_t merged) {
    {
        // Stuck it remains, until all of it is merged once more and forgotten.
        std::lock_guard guard(mutex_);
        if (!stuck_batch_.empty() && merged < batch.size()) co_return kOk;
    }
    batch.resize(merged);
    size_t chunks = 0;
    each_chunk(batch, [&](const Entry&) { chunks++; });
    Status status;
    if (chunks > 0) {
        Task<Status> forgetting = store_->forget(chunks);
        status = co_await forgetting;
    }
    {
        std::lock_guard guard(mutex_);
        merging_.clear();
        stuck_batch_.clear();
        if (status) {
            each_chunk(batch, [&](const Entry& entry) { exceptions_.erase(entry.old_chunk); });
        } else {
            // Whether the device still has these exceptions nobody knows now. Both places hold the
            // same data, and must go on to do so: nothing is written there until they are forgotten.
            each_chunk(batch, [&](const Entry& entry) { merging_.insert(entry.old_chunk); });
            stuck_batch_ = std::move(batch);
        }
    }
    merged_.wake_all();
    co_return status;
}

Task<Status> Cow::give_up_merging() {
    std::vector<Entry> newest;
    {
        std::lock_guard guard(mutex_);
        for (const MergeRun& run : stuck_batch_)
            for (uint64_t i = run.count; i-- > 0;)
                newest.push_back({run.first.old_chunk + i, run.first.new_chunk + i});
    }
    if (newest.empty()) co_return kOk;
    Task<Status> remembering = store_->remember(newest);
    Status status = co_await remembering;
    if (!status) co_return status;
    {
        std::lock_guard guard(mutex_);
        merging_.clear();
        stuck_batch_.clear();
    }
    merged_.wake_all();
    co_return status;
}

Task<Status> Cow::write_merging(Bio bio, OriginWrite write_origin) {
    Bio rest = bio;
    std::vector<Task<Status>> writings;
    Task<Status> first = merging_piece(&rest, write_origin);
    if (rest.count > 0) rest.one_of_many = true;
    writings.push_back(std::move(first));
    while (rest.count > 0) writings.push_back(merging_piece(&rest, write_origin));
    Task<Status> joined = all(std::move(writings));
    Status status = co_await joined;
    co_return status;
}

// As much from the beginning of *rest as has the same to be done with.
Task<Status> Cow::merging_piece(Bio* rest, const OriginWrite& write_origin) {
    std::unique_lock lock(mutex_);
    const Chunk chunk = chunk_of(rest->sector);
    const Piece piece = piece_locked(rest->sector, rest->count);
    const bool merges = merging_.contains(chunk);
    const std::shared_ptr<Copy> copy = copy_of(chunk);
    // Up to where it would be another's turn.
    Chunk end = chunk_behind(rest->sector + piece.count);
    if (auto next = merging_.upper_bound(chunk); next != merging_.end()) end = std::min(end, *next);
    if (auto next = copies_.upper_bound(chunk); next != copies_.end()) end = std::min(end, next->first);
    if (merges || copy) end = chunk + 1;
    Bio part = rest->part(0, std::min(piece.count, sector_of(end) - rest->sector));
    *rest = rest->part(part.count, rest->count - part.count);
    if (merges || !piece.on_cow) {
        lock.unlock();
        return merges ? write_when_merged(part, write_origin)
               : copy ? write_when_copied(copy, part, write_origin)
                      : write_origin(part);
    }
    Readings::Ticket ticket = writings_.add(chunk_of(part.sector), chunk_behind(part.end()));
    part.sector = *piece.on_cow;
    return end_writing(write_kept(std::move(lock), part), ticket);
}

Task<Status> Cow::end_writing(Task<Status> writing, Readings::Ticket ticket) {
    Status status = co_await writing;
    std::unique_lock lock(mutex_);
    writings_.remove(ticket);
    bool awaited = std::exchange(writers_awaited_, false);
    lock.unlock();
    if (awaited) writers_gone_.wake_all();
    co_return status;
}

// The copy was begun for a writer to the origin who was killed while this was a snapshot.
Task<Status> Cow::write_when_copied(std::shared_ptr<Copy> copy, Bio bio, OriginWrite write_origin) {
    Task<Status> copying = wait_for(copy, bio.cancel);
    Status status = co_await copying;
    if (status.error() == EINTR) co_return status;
    Task<Status> writing = write_merging(bio, std::move(write_origin));
    status = co_await writing;
    co_return status;
}

// Within one chunk, which is being merged.
Task<Status> Cow::write_when_merged(Bio bio, OriginWrite write_origin) {
    auto is_decided = [this, chunk = chunk_of(bio.sector)] {
        std::lock_guard guard(mutex_);
        return !merging_.contains(chunk) || !stuck_batch_.empty();
    };
    Task<Status> waiting = merged_.until(is_decided, bio.cancel);
    Status status = co_await waiting;
    if (!status) co_return status;
    {
        std::lock_guard guard(mutex_);
        if (merging_.contains(chunk_of(bio.sector))) co_return Status(EIO);
    }
    Task<Status> writing = write_merging(bio, std::move(write_origin));
    status = co_await writing;
    co_return status;
}

}  // namespace dmfs::snapshot
