// The exception store: which chunk of the COW device is the next, and what is kept there of
// the exceptions.
//
//     PersistentStore    keeps them in areas (formats/exception_store.h): they outlive the volume
//     TransientStore     keeps nothing; data from sector 0 on
//
// The Cow sees to it that allocate(), give_back(), needs() and usage() are called one at a time, and
// the tasks one at a time, too: an allocation may come in the middle of a commit.

#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/refused.h"
#include "engine/device.h"
#include "targets/snapshot/exceptions.h"

namespace dmfs::snapshot {

// Chunks [first, first + count), side by side.
struct ChunkRun {
    Chunk first = 0;
    Chunk count = 0;
};

class Store {
  public:
    Store(Device& device, uint32_t chunk_sectors) : device_(device), chunk_sectors_(chunk_sectors) {}
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    // 0: not known before read().
    uint32_t chunk_sectors() const { return chunk_sectors_; }
    // False: the device says that the snapshot has lost something.
    bool valid() const { return valid_; }

    // All that is there, in the order in which it was made; changes nothing.
    virtual Task<Outcome> read(std::vector<Entry>*, Cancel*) { return Task<Outcome>::ready({}); }
    // Before the first commit: makes a store where there is none, mends what a crash left.
    virtual Task<Status> begin(Cancel*) { return Task<Status>::ready(kOk); }
    // The next free chunks, as many of `most` as lie side by side and need no room from sector `end`
    // on: none where needs() says more than that.
    virtual ChunkRun allocate(Chunk most, Sector end) = 0;
    // How far the device's room has to reach for the next one; 0: it is full.
    virtual Sector needs() const = 0;
    // Nothing was committed, nor will be, for these chunks. They are free again if none was
    // allocated since; else they are lost.
    virtual void give_back(ChunkRun run) = 0;
    // Where the next one lies.
    virtual Sector next() const = 0;
    bool has_lost_chunks() const { return has_lost_chunks_; }
    // Before a commit of so many: it takes no new place on the device then. If this fails nothing
    // has changed.
    virtual Task<Status> prepare(size_t /*entries*/) { return Task<Status>::ready(kOk); }
    // In the order of their allocation, and prepared; their data are on the device already. Makes durable the
    // data and all that was committed before, and then writes these entries: to be `durable` when it
    // answers, or with the next flush. The caller keeps them until then.
    virtual Task<Status> commit(std::span<const Entry>, bool /*durable*/) { return Task<Status>::ready(kOk); }
    // Writes down that the snapshot is worth nothing any more.
    virtual Task<Status> invalidate() { return Task<Status>::ready(kOk); }

    // For a merge: the newest exceptions, the newest first, `most` or fewer; none if there are
    // none. And that the `count` newest are not there any more.
    virtual bool can_merge() const { return false; }
    virtual Task<Status> newest(size_t, std::vector<Entry>*) {
        return Task<Status>::ready(Status(EOPNOTSUPP));
    }
    virtual Task<Status> forget(size_t) { return Task<Status>::ready(Status(EOPNOTSUPP)); }
    // What forget() failed to forget, the newest first, is there after all, durably.
    virtual Task<Status> remember(std::span<const Entry>) { return Task<Status>::ready(Status(EOPNOTSUPP)); }

    // In sectors, as the status has them. From any thread.
    struct Usage {
        Sector allocated, total, metadata;
    };
    virtual Usage usage() const = 0;

  protected:
    Device& device_;
    uint32_t chunk_sectors_;
    bool valid_ = true;
    bool has_lost_chunks_ = false;
};

class TransientStore final : public Store {
  public:
    using Store::Store;
    ChunkRun allocate(Chunk most, Sector end) override;
    Sector needs() const override;
    void give_back(ChunkRun run) override;
    Sector next() const override { return next_free_ * chunk_sectors_; }
    Usage usage() const override { return {next_free_ * chunk_sectors_, device_.size(), 0}; }

  private:
    std::atomic<Chunk> next_free_{0};
};

class PersistentStore final : public Store {
  public:
    // chunk_sectors: for a new store, 0 for 16 KiB; what is on the device counts for more.
    // chunk_multiple: bytes, the blocks that a chunk must not cut.
    PersistentStore(Device& device, uint32_t chunk_sectors, uint32_t chunk_multiple);

    Task<Outcome> read(std::vector<Entry>* entries, Cancel* cancel) override;
    Task<Status> begin(Cancel* cancel) override;
    ChunkRun allocate(Chunk most, Sector end) override;
    Sector needs() const override;
    void give_back(ChunkRun run) override;
    Sector next() const override { return new_ ? 0 : sector_of(next_free_); }
    Task<Status> prepare(size_t entries) override;
    Task<Status> commit(std::span<const Entry> entries, bool durable) override;
    Task<Status> invalidate() override;
    bool can_merge() const override { return true; }
    Task<Status> newest(size_t most, std::vector<Entry>* entries) override;
    Task<Status> forget(size_t count) override;
    Task<Status> remember(std::span<const Entry> newest) override;
    Usage usage() const override;

  private:
    exception_store::Areas areas() const { return exception_store::Areas(chunk_sectors_); }
    uint64_t entries_in_block() const { return block_->bytes() / exception_store::kEntryBytes; }
    Sector sector_of(Chunk chunk) const { return chunk * chunk_sectors_; }
    Chunk place_of(uint64_t entry) const;
    bool fits(Chunk chunk) const { return sector_of(chunk + 1) <= device_.size(); }
    Sector needs(Chunk chunk) const;
    std::pair<uint64_t, uint64_t> next_place() const;

    Task<Outcome> read_all(std::vector<Entry>* entries);
    Task<Status> make_or_mend();
    Task<Outcome> read_header();
    Task<Outcome> read_areas(std::vector<Entry>* entries);
    Outcome take_entry(const Entry& entry, uint64_t number);
    Outcome check_places(const std::vector<Entry>& entries);
    Task<Status> end_areas(uint64_t entries, const Memory* piece);
    Task<Status> look_for_stale(Sector from, Sector end);
    Task<Status> transfer(Op op, Sector sector, Memory* memory, bool fua = false);
    Task<Status> write_header();
    Task<Status> write_zeros(Sector sector, Sector count);
    Task<Status> block_io(Op op, uint64_t area, uint64_t entry, bool fua = false);
    Task<Status> flush();
    Task<Status> forget_newest(size_t count);

    const uint32_t chunk_multiple_;
    Cancel* cancel_ = nullptr;  // of whoever waits for read() or begin()
    bool new_ = false;          // there is no store on the device yet
    bool stale_ = false;        // something stands after the last entry of its area
    bool begun_ = false;
    // Areas are read and written in blocks. This one gets the next entry; after its last
    // entry it has zeros.
    std::optional<Memory> block_;
    std::atomic<uint64_t> area_{0};  // the area that gets it ...
    uint64_t committed_ = 0;         // ... and how many entries that has
    uint64_t allocated_ = 0;         // entries of all areas, those on their way included
    bool in_order_ = true;           // each entry's new chunk is at its own place after its area
    Chunk next_free_ = exception_store::Areas::kFirstData;
    std::atomic<Chunk> shown_free_{exception_store::Areas::kFirstData};  // by the status
};

}  // namespace dmfs::snapshot
