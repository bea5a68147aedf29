#include "engine/volume.h"

#include <algorithm>
#include <cassert>
#include <ctime>
#include <set>

#include "engine/namespace.h"

namespace dmfs {

Volume::Volume(Namespace& space, uint64_t id, uint32_t minor)
    : space_(space), id_(id), minor_(minor), gate_(space.executor()), control_(space.executor()) {
    note_change();
}

Volume::~Volume() { assert(gate_.inside() == 0); }

Executor& Volume::executor() const { return space_.executor(); }

// The way of a request. Nothing here is a coroutine unless it has to wait.

Task<Status> Volume::io(Bio bio) { return gate_.enter() ? io_inside(bio) : io_when_open(bio); }

Task<Status> Volume::io_when_open(Bio bio) {
    if (bio.op == Op::write && !Memory::has_room()) co_return Status(ENOMEM);
    Task<Status> entered = gate_.enter_or_wait(bio.cancel);
    Status status = co_await entered;
    if (!status) co_return status;
    Task<Status> task = io_inside(bio);
    status = co_await task;
    co_return status;
}

Task<Status> Volume::io_inside(Bio bio) {
    counters_.begin(bio.op);
    Table* table = table_.load(std::memory_order_acquire);
    if (Status refused = refusal(table, bio); !refused) return Task<Status>::ready(leave(bio, refused));
    bio.generation = 0;  // a word between the caller and this volume
    Task<Status> task = watched_.load(std::memory_order_relaxed) ? io_watched(table, bio) : table->io(bio);
    if (task.is_ready()) return Task<Status>::ready(leave(bio, std::move(task).value()));
    return leave_later(std::move(task), bio);
}

Task<Status> Volume::io_watched(Table* table, Bio bio) {
    std::shared_ptr<const Watchers> watchers = this->watchers();
    WatchedRequest request{bio, *table, generation(), executor().now_ns(), 0, {}};
    for (const std::shared_ptr<Watcher>& watcher : *watchers) watcher->begun(request);
    Task<Status> task = table->io(bio);
    request.status = co_await task;
    request.ended_ns = executor().now_ns();
    for (const std::shared_ptr<Watcher>& watcher : *watchers) watcher->ended(request);
    co_return request.status;
}

std::shared_ptr<const Watchers> Volume::watchers() const {
    std::lock_guard guard(watchers_mutex_);
    return watchers_;
}

void Volume::watch(std::shared_ptr<Watcher> watcher) {
    std::lock_guard guard(watchers_mutex_);
    auto more = std::make_shared<Watchers>(*watchers_);
    more->push_back(std::move(watcher));
    watchers_ = std::move(more);
    watched_.store(true, std::memory_order_relaxed);
}

void Volume::unwatch(const Watcher& watcher) {
    std::lock_guard guard(watchers_mutex_);
    auto fewer = std::make_shared<Watchers>(*watchers_);
    std::erase_if(*fewer, [&](const auto& each) { return each.get() == &watcher; });
    watchers_ = std::move(fewer);
    watched_.store(!watchers_->empty(), std::memory_order_relaxed);
}

// What no table could serve; inside the gate.
Status Volume::refusal(const Table* table, const Bio& bio) const {
    if (table == nullptr) return Status(EIO);
    bool changes = bio.op != Op::read && bio.op != Op::flush;
    if (changes && !table->writable()) return Status(EPERM);
    if (bio.generation != 0 && bio.generation != generation()) return Status(ERESTART);
    return (bio.sector | bio.count) % sectors_in(table->limits().logical_block) == 0 ? kOk : Status(ERESTART);
}

Task<Status> Volume::leave_later(Task<Status> task, Bio bio) {
    Status status = co_await task;
    co_return leave(bio, status);
}

Status Volume::leave(const Bio& bio, Status status) {
    if (bio.op == Op::flush)
        status = flushed(bio, status);
    else if (bio.op != Op::read)
        note_change();
    counters_.end(bio, status);
    gate_.leave();
    return status;
}

// At the end of what changes it, so that whoever has seen an earlier time looks again. The clock
// moves every few milliseconds: most of the time nothing is written.
void Volume::note_change() {
    int64_t before = changed_ns_.load(std::memory_order_relaxed);
    timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t now_ns = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
    if (now_ns != before) changed_ns_.compare_exchange_strong(before, now_ns, std::memory_order_release);
}

int64_t Volume::changed_ns() const {
    int64_t latest = changed_ns_.load(std::memory_order_acquire);
    std::set<const Volume*> seen = {this};
    std::vector<std::shared_ptr<Table>> tables = {live()};  // of those seen, to be looked at
    while (!tables.empty()) {
        std::shared_ptr<Table> table = std::move(tables.back());
        tables.pop_back();
        if (!table) continue;
        for (const std::shared_ptr<Device>& device : table->devices()) {
            auto* below = dynamic_cast<const Volume*>(device.get());
            if (below == nullptr || seen.size() == kMostLookedAt || !seen.insert(below).second) continue;
            latest = std::max(latest, below->changed_ns_.load(std::memory_order_acquire));
            tables.push_back(below->live());
        }
    }
    return latest;
}

// Linux reports a lost write once: what whoever was killed cannot hear waits for the next flush.
Status Volume::flushed(const Bio& bio, Status status) {
    if (status.error() == EINTR) return status;
    if (is_cancelled(bio.cancel)) {
        if (!status) flush_error_.store(status.error(), std::memory_order_release);
        return status;
    }
    if (flush_error_.load(std::memory_order_relaxed) == 0) return status;
    return status.and_then(Status(flush_error_.exchange(0, std::memory_order_acq_rel)));
}

void Volume::end_waits() {
    gate_.turn_away(Status(EIO));
    if (std::shared_ptr<Table> table = live()) table->end_waits();
}

// Checked, and then forgotten: a file has no ioctl that would ask for it.
Outcome Volume::set_geometry(Geometry geometry) {
    if (geometry.cylinders > 65535 || geometry.heads > 255 || geometry.sectors > 255)
        return Refused(EINVAL, "the geometry is out of range",
                       "at most 65535 cylinders, 255 heads, 255 sectors");
    // As the kernel has it: compared with the geometry's own capacity.
    Sector capacity = Sector{geometry.cylinders} * geometry.heads * geometry.sectors;
    if (geometry.start > capacity)
        return Refused(EINVAL, "the start lies beyond cylinders x heads x sectors");
    return {};
}

// Its events.

void TableOwner::raise_event() const {
    std::shared_ptr<Volume> volume;
    {
        std::lock_guard guard(mutex_);
        volume = volume_.lock();
    }
    if (volume) volume->raise_event();
}

void Volume::raise_event() {
    events_.fetch_add(1, std::memory_order_acq_rel);
    if (space_.observer_ != nullptr) space_.observer_->event_raised(*this);
}

// What the Namespace's mutex guards.

std::string Volume::name() const {
    std::lock_guard guard(space_.mutex_);
    return name_;
}

std::string Volume::uuid() const {
    std::lock_guard guard(space_.mutex_);
    return uuid_;
}

bool Volume::deferred_remove() const {
    std::lock_guard guard(space_.mutex_);
    return remove_when_closed_;
}

bool Volume::removed() const {
    std::lock_guard guard(space_.mutex_);
    return removed_;
}

// As the kernel counts: a volume opens a device once for each mode, however many of its tables have it.
unsigned Volume::open_count() const {
    std::lock_guard guard(space_.mutex_);
    unsigned count = open_count_;
    for (const auto& [name, user] : space_.names_) {
        unsigned opens[2] = {};  // by read-only and writable tables
        for (const Table* table : {user->live_.get(), user->inactive_.get(), user->incoming_.get()})
            if (table != nullptr)
                for (const std::shared_ptr<Device>& device : table->devices())
                    opens[table->writable()] += device.get() == this ? 1 : 0;
        for (unsigned each : opens)
            if (each > 1) count -= std::min(count, each - 1);
    }
    return count;
}

std::shared_ptr<Table> Volume::live() const {
    std::lock_guard guard(space_.mutex_);
    return live_;
}

std::shared_ptr<Table> Volume::inactive() const {
    std::lock_guard guard(space_.mutex_);
    return inactive_;
}

Limits Volume::limits() const {
    std::shared_ptr<Table> table = live();
    return table ? table->limits() : Limits();
}

// What cannot be read is data: a lower volume may have shrunk.
Extent Volume::extent(Sector at, Look& look) {
    std::shared_ptr<Table> table = live();
    if (!table || at >= table->size()) return {true, at + 1};
    return table->extent(at, look);
}

Sector Volume::allocated(Sector start, Sector length, Look& look) {
    const Look::Question question{this, start, length};
    if (std::optional<Sector> known = look.answered(question)) return *known;
    std::shared_ptr<Table> table = live();
    Sector readable = table && start < table->size() ? std::min(length, table->size() - start) : 0;
    Sector taken = length - readable;
    if (readable > 0) taken += table->allocated(start, readable, look);
    look.answer(question, taken);
    return taken;
}

void Volume::ask_room(Sector start, Sector count, Room& room) {
    if (!room.ask(this, start, count)) return;
    std::shared_ptr<Table> table = live();
    if (!table || start + count > table->size())
        return room.refuse(Refused(EIO, "'" + name() + "' has no table that reaches so far"));
    if (!table->writable()) return room.refuse(Refused(EPERM, "'" + name() + "' is read-only"));
    table->ask_room(start, count, room);
}

}  // namespace dmfs
