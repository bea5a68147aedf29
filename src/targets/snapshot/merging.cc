// What a Cow does for a merge (merge.cc).

#include <algorithm>

#include "base/log.h"
#include "targets/snapshot/cow.h"

namespace dmfs::snapshot {

Task<Status> Cow::begin_merging(size_t most, std::vector<Entry>* batch) {
    Task<Status> reading = store_->newest(most, batch);
    Status status = co_await reading;
    if (!status) co_return status;
    {
        std::lock_guard guard(mutex_);
        for (const Entry& entry : *batch) {
            if (exceptions_.find(entry.old_chunk) != entry.new_chunk || length_of(entry.old_chunk, 1) == 0) {
                log_line(Severity::error, "snapshot-merge: the store on " + device_->name() +
                                              " is damaged at chunk " + std::to_string(entry.old_chunk));
                co_return Status(EIO);
            }
        }
        for (const Entry& entry : *batch) merging_.insert(entry.old_chunk);
    }
    std::function<bool()> must_wait = [this] {
        std::lock_guard guard(mutex_);
        bool written = writings_.overlap(merging_);
        writers_awaited_ = writers_awaited_ || written;
        return written;
    };
    while (must_wait()) {
        Status waited = co_await writers_gone_.wait(must_wait);
        if (!waited) co_return waited;
    }
    co_return kOk;
}

Task<Status> Cow::end_merging(std::vector<Entry> batch, Status merged) {
    bool uncertain = false;
    if (merged) {
        Task<Status> forgetting = store_->forget(batch.size());
        merged = co_await forgetting;
        uncertain = !merged;
    }
    {
        std::lock_guard guard(mutex_);
        for (const Entry& entry : batch)
            if (merged) exceptions_.erase(entry.old_chunk);
        // Whether the device still has these exceptions nobody knows now. Both places hold the
        // same data, and must go on to do so: nothing is written there any more.
        merging_is_stuck_ = uncertain;
        if (!uncertain) merging_.clear();
    }
    merged_.wake_all();
    co_return merged;
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
    lock.unlock();
    part.sector = *piece.on_cow;
    return end_writing(device_->io(part), ticket);
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

// Of a writer to the origin who was killed while this was a snapshot.
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
    std::function<bool()> must_wait = [this, chunk = chunk_of(bio.sector)] {
        std::lock_guard guard(mutex_);
        return merging_.contains(chunk) && !merging_is_stuck_;
    };
    while (must_wait()) {
        Status status = co_await merged_.wait(must_wait, bio.cancel);
        if (!status) co_return status;
    }
    {
        std::lock_guard guard(mutex_);
        if (merging_.contains(chunk_of(bio.sector))) co_return Status(EIO);
    }
    Task<Status> writing = write_merging(bio, std::move(write_origin));
    Status status = co_await writing;
    co_return status;
}

}  // namespace dmfs::snapshot
