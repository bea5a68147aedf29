// snapshot-merge: a snapshot that becomes its origin, chunk by chunk, in use.
//
//     snapshot-merge ORIGIN COW P|PO CHUNK [COUNT FEATURES...]
//
// The volume shows what the snapshot showed, from the first moment on. Meanwhile the
// exceptions go back to the origin, the newest first:
//
//     batch      the newest exceptions; writes to their chunks wait from now on. One run of
//                chunks at first, more while that is done quickly
//     copies     for other snapshots of the origin, of what is overwritten
//     merge      COW device -> origin, and a flush of the origin
//     forget     the exceptions, durably
//
//     read       of a chunk with an exception: from the COW device; else from the origin
//     write      likewise; to the origin as snapshot-origin would
//     flush      of both
//
// A crash leaves the exceptions of a batch; what is in the origin already is merged again.
// A suspend stops it after a batch, a resume goes on. If anything fails the merge ends, and
// the volume goes on as it is; the next resume tries again. A discard is taken, and does nothing.

#include <algorithm>

#include "base/log.h"
#include "parts/pieces.h"
#include "targets/registry.h"
#include "targets/snapshot/row.h"

namespace dmfs {

namespace {

using snapshot::Cow;

constexpr size_t kMostRuns = 256;         // of a batch
constexpr int64_t kBatchNs = 50'000'000;  // what a batch should take, since writes wait for it
constexpr uint64_t kPieceBytes = 1 << 20;
constexpr size_t kSideBySide = 8;  // runs, in batches of more than that

class SnapshotMerge final : public snapshot::Row {
  public:
    explicit SnapshotMerge(TargetSetup& setup)
        : Row(setup, true), work_(std::make_shared<Work>(setup.executor())) {}

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::flush) return flush(bio);
        if (bio.op == Op::discard)
            return Task<Status>::ready(features_.discard_zeroes_cow ? kOk : Status(EOPNOTSUPP));
        if (bio.op == Op::write_zeroes) return as_writes(this, &SnapshotMerge::io, bio, kZeros, &executor_);
        bio = on_origin(bio);
        Cow* cow = claim_.serving();
        const bool lost = cow == nullptr || cow->state() == Cow::State::invalid;
        if (bio.op == Op::read) return lost ? origin_device_->io(bio) : cow->read(bio);
        if (lost) return origin_->write(*origin_device_, bio, cow);
        return cow->write_merging(
            bio, [this, cow](Bio part) { return origin_->write(*origin_device_, part, cow); });
    }

    void ask_room(Sector at, Sector count, Room& room) const override {
        origin_->ask_room(*origin_device_, start_ + at, start_ + at + count, room, claim_.cow().get());
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op != Op::flush) return explain_reads(op, at, count, visit);
        for (Device* device : {origin_device_.get(), device_.get()}) visit(Step{op, 0, 0, device, 0, {}});
    }

  private:
    // Its life.

    void resume() override {
        Row::resume();
        start();
    }
    void presuspend() override {
        end_waits();
        origin_->let_go();
    }
    void presuspend_undo() override { start(); }
    void end_waits() override {
        const std::shared_ptr<Cancel> stop = work_->stopped.locked([this] { return work_->stop; });
        stop->request();
    }
    void give_up(int64_t longer_than_ns) override { origin_->give_up(longer_than_ns); }
    Task<Status> quiet(Cancel* cancel) override {
        return work_->stopped.until([this] { return !work_->running; }, cancel);
    }
    Task<Status> close() override {
        presuspend();
        Task<Status> stopping = quiet(nullptr);
        Status status = co_await stopping;
        static_cast<void>(status);
        Task<Status> closing = Row::close();
        status = co_await closing;
        co_return status;
    }
    std::optional<OwnWork> own_work() const override {
        std::shared_ptr<Cow> cow = claim_.cow();
        if (!cow || cow->state() == Cow::State::invalid) return OwnWork{0, true};
        const snapshot::Store::Usage usage = cow->usage();
        return OwnWork{usage.allocated - std::min(usage.allocated, usage.metadata), work_->gave_up};
    }

    // What a merge shares with its row, and outlives it with for a moment.
    struct Work {
        explicit Work(Executor& executor) : stopped(executor) {}
        WaitQueue stopped;
        // Under the queue's mutex.
        bool running = false;
        std::shared_ptr<Cancel> stop = std::make_shared<Cancel>();
        std::atomic<bool> failed{false};   // once: the status says so from then on
        std::atomic<bool> gave_up{false};  // until it is tried again
    };

    bool merge_failed() const override { return work_->failed; }

    Task<Status> flush(Bio bio) {
        std::vector<Task<Status>> flushes;
        flushes.push_back(origin_->flush(*origin_device_, bio));
        flushes.push_back(device_->io(bio));
        return all(std::move(flushes));
    }

    // Unless it is at work. What failed is tried again. close() waits for it.
    void start() {
        bool begins = work_->stopped.locked([this] {
            if (work_->stop->requested()) work_->stop = std::make_shared<Cancel>();
            return !std::exchange(work_->running, true);
        });
        if (!begins) return;
        work_->gave_up = false;
        executor_.spawn(run(work_, claim_.cow()));
    }

    Task<Status> run(std::shared_ptr<Work> work, std::shared_ptr<Cow> cow) {
        // Not on the thread that resumes: requests wait for it.
        Task<Status> turn = sleep_until(executor_, 0);
        Status status = co_await turn;
        for (bool goes_on = true; goes_on;) {
            Task<Status> merging = merge(cow, work->stopped.locked([&] { return work->stop; }));
            status = co_await merging;
            goes_on = work->stopped.locked([&] {
                // A suspend that was cancelled is none.
                const bool stopped_for_nothing = status.error() == EINTR && !work->stop->requested();
                work->running = stopped_for_nothing;
                return stopped_for_nothing;
            });
        }
        work->stopped.wake_all();  // from here on the row may be gone
        co_return status;
    }

    // EINTR: it was told to stop.
    Task<Status> merge(std::shared_ptr<Cow> cow, std::shared_ptr<Cancel> stop) {
        Status status = cow && cow->state() != Cow::State::invalid ? kOk : Status(ENODATA);
        if (status) {
            // While it was a snapshot: the copies of writers who were killed.
            Task<Status> ending = cow->idle(nullptr);
            status = co_await ending;
        }
        size_t most_runs = 1;
        while (status) {
            if (stop->requested()) co_return Status(EINTR);
            int64_t began = executor_.now_ns();
            std::vector<Cow::MergeRun> batch;
            Task<Status> beginning = cow->begin_merging(most_runs, &batch);
            status = co_await beginning;
            if (!status || batch.empty()) break;
            size_t merged = 0;  // runs
            Task<Status> copying = copy_back(cow, batch, &merged, stop.get());
            status = co_await copying;
            Task<Status> ending = cow->end_merging(std::move(batch), merged);
            Status ended = co_await ending;
            status = status.and_then(ended);
            bool quick = executor_.now_ns() - began < kBatchNs;
            most_runs = quick ? std::min(2 * most_runs, kMostRuns) : std::max<size_t>(most_runs / 2, 1);
        }
        if (!status && status.error() != ENODATA && status.error() != EINTR) {
            work_->failed = work_->gave_up = true;
            log_line(Severity::error, std::string("snapshot-merge: the merge into ") +
                                          origin_device_->name() + " failed: " + strerror(status.error()));
        }
        co_return status;
    }

    // A batch into the origin, durably; up to the first run that fails.
    Task<Status> copy_back(std::shared_ptr<Cow> cow, std::vector<Cow::MergeRun> runs, size_t* merged,
                           Cancel* stop) {
        const Sector chunk = cow->chunk_sectors(), end = origin_device_->size();
        const size_t side_by_side = runs.size() > kSideBySide ? kSideBySide : 1;
        Status status;
        while (*merged < runs.size() && status) {
            std::vector<Task<Status>> copies;
            for (size_t i = *merged; i < runs.size() && copies.size() < side_by_side; i++) {
                Sector from = runs[i].first.old_chunk * chunk;
                copies.push_back(copy_run(cow.get(), from, runs[i].first.new_chunk * chunk,
                                          std::min(runs[i].count * chunk, end - from), stop));
            }
            for (Task<Status>& copy : copies) copy.start();
            for (Task<Status>& copy : copies) {
                Status copied = co_await copy;
                status = status.and_then(copied);
                if (status) ++*merged;
            }
        }
        if (*merged == 0) co_return status;
        Task<Status> flushing = origin_->flush(*origin_device_, Bio::flush());
        Status flushed = co_await flushing;
        if (!flushed) *merged = 0;
        co_return status.and_then(flushed);
    }

    Task<Status> copy_run(const Cow* cow, Sector to, Sector from, Sector count, Cancel* stop) {
        Memory memory(bytes_of(std::min(count, sectors_in(kPieceBytes))));
        Bio bio;
        bio.memory = &memory;
        for (Sector done = 0; done < count; done += bio.count) {
            bio.op = Op::read;
            bio.sector = from + done;
            bio.count = std::min(count - done, sectors_in(memory.bytes()));
            Task<Status> reading = device_->io(bio);
            Status status = co_await reading;
            if (!status) co_return status;
            bio.op = Op::write;
            bio.sector = to + done;
            // First, since it may wait for room, and can be stopped; the write itself is none to be given up.
            Task<Status> keeping = origin_->keep(bio.sector, bio.end(), cow, stop);
            status = co_await keeping;
            if (!status) co_return status;
            Task<Status> writing = origin_->write(*origin_device_, bio, cow);
            status = co_await writing;
            if (!status) co_return status;
        }
        co_return kOk;
    }

    const std::shared_ptr<Work> work_;
};

}  // namespace

std::unique_ptr<Target> make_snapshot_merge(TargetSetup& setup) {
    return std::make_unique<SnapshotMerge>(setup);
}

}  // namespace dmfs
