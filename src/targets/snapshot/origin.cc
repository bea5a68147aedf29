#include "targets/snapshot/origin.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/log.h"

namespace dmfs::snapshot {

namespace {

// A change of more, as a zeroing of the whole device, is prepared in steps of so many sectors.
constexpr Sector kStep = 8192;

}  // namespace

std::shared_ptr<Origin> Origin::of(Executor& executor, const Device& device) {
    static std::mutex mutex;
    static std::map<Identity, std::weak_ptr<Origin>> origins;
    std::lock_guard guard(mutex);
    std::erase_if(origins, [](const auto& each) { return each.second.expired(); });
    std::weak_ptr<Origin>& known = origins[device.identity()];
    std::shared_ptr<Origin> origin = known.lock();
    if (!origin) known = origin = std::make_shared<Origin>(executor);
    return origin;
}

std::shared_ptr<const Origin::Cows> Origin::cows() const {
    std::lock_guard guard(mutex_);
    return cows_;
}

Task<Status> Origin::write(Device& device, Bio bio, const Cow* except) {
    return writes_.enter() ? write_inside(&device, bio, except) : write_when_open(&device, bio, except);
}

Task<Status> Origin::write_when_open(Device* device, Bio bio, const Cow* except) {
    Task<Status> entering = writes_.enter_or_wait(bio.cancel);
    Status status = co_await entering;
    if (!status) co_return status;
    Task<Status> writing = write_inside(device, bio, except);
    status = co_await writing;
    co_return status;
}

Task<Status> Origin::write_inside(Device* device, Bio bio, const Cow* except) {
    std::shared_ptr<const Cows> cows = this->cows();
    bool preserved = std::all_of(cows->begin(), cows->end(), [&](const std::shared_ptr<Cow>& cow) {
        return cow.get() == except || (bio.count <= kStep && cow->preserved(bio.sector, bio.end()));
    });
    if (!preserved) return leave_later(write_behind_copies(device, bio, except));
    Task<Status> writing = device->io(bio);
    if (!writing.is_ready()) return leave_later(std::move(writing));
    leave();
    return writing;
}

Task<Status> Origin::write_behind_copies(Device* device, Bio bio, const Cow* except) {
    Task<Status> keeping = keep(bio.sector, bio.end(), except, bio.cancel);
    Status status = co_await keeping;
    if (!status) co_return status;
    Task<Status> writing = device->io(bio);
    status = co_await writing;
    co_return status;
}

Task<Status> Origin::keep(Sector from, Sector end, const Cow* except, Cancel* cancel) {
    const std::shared_ptr<const Cows> cows = this->cows();
    const bool is_long = cancel != nullptr && end - from > kStep;
    if (is_long) cancel->about_to_wait();
    for (; from < end; from += kStep) {
        if (is_long && cancel->requested()) co_return Status(EINTR);
        std::vector<Task<Status>> copies;
        for (const std::shared_ptr<Cow>& cow : *cows)
            if (cow.get() != except)
                copies.push_back(cow->preserve(from, std::min(from + kStep, end), cancel));
        Task<Status> joined = all(std::move(copies));
        Status status = co_await joined;
        if (!status) co_return status;
    }
    co_return kOk;
}

Task<Status> Origin::leave_later(Task<Status> task) {
    std::shared_ptr<Origin> self = shared_from_this();
    Status status = co_await task;
    leave();
    co_return status;
}

void Origin::leave() {
    writes_done_.fetch_add(1, std::memory_order_acq_rel);
    writes_.leave();
}

Task<Status> Origin::flush(Device& device, Bio bio) {
    std::shared_ptr<Origin> self = shared_from_this();
    Task<Status> flushing = flush_device(device, bio);
    Status status = co_await flushing;
    if (status.error() != EINTR && owed_.load(std::memory_order_relaxed) != 0)
        status = status.and_then(Status(owed_.exchange(0)));
    co_return status;
}

Task<Status> Origin::flush_device(Device& device, Bio bio) {
    std::shared_ptr<Origin> self = shared_from_this();
    const uint64_t covered = writes_done_;
    Task<Status> flushing = device.io(bio);
    Status status = co_await flushing;
    uint64_t before = durable_;
    while (status && before < covered && !durable_.compare_exchange_weak(before, covered)) continue;
    co_return status;
}

Task<Status> Origin::add(std::shared_ptr<Cow> cow, Device& device, Cancel* cancel) {
    Task<Status> turn = adding_.acquire(cancel);
    Status status = co_await turn;
    if (!status) co_return status;
    Lock::Guard guard(adding_);
    std::shared_ptr<const Cows> cows = this->cows();
    if (std::find(cows->begin(), cows->end(), cow) != cows->end()) co_return kOk;
    writes_.close();
    Task<Status> draining = writes_.drain(cancel);
    status = co_await draining;
    if (status && durable_ < writes_done_) {
        // What the snapshot shall keep must not be lost with a cache.
        Task<Status> flushing = flush_device(device, Bio::flush(cancel));
        Status flushed = co_await flushing;
        if (flushed.error() == EINTR) {
            status = flushed;
        } else if (!flushed) {
            log_line(Severity::error,
                     "snapshot: " + device.name() + " can't be flushed: " + strerror(flushed.error()) +
                         "; what is lost there, the snapshot on " + cow->device().name() + " has lost, too");
            owed_ = flushed.error();
            cow->origin_was_not_flushed(flushed);
        }
    }
    if (status) {
        std::lock_guard list(mutex_);
        auto more = std::make_shared<Cows>(*cows_);
        more->push_back(std::move(cow));
        cows_ = std::move(more);
    }
    writes_.open();
    co_return status;
}

void Origin::let_go() {
    const std::shared_ptr<const Cows> cows = this->cows();
    for (const std::shared_ptr<Cow>& cow : *cows) cow->let_go(Headroom::Who::origin);
}

void Origin::give_up(int64_t longer_than_ns) {
    const std::shared_ptr<const Cows> cows = this->cows();
    for (const std::shared_ptr<Cow>& cow : *cows) cow->give_up(longer_than_ns);
}

void Origin::remove(const Cow& cow) {
    std::lock_guard guard(mutex_);
    auto fewer = std::make_shared<Cows>(*cows_);
    std::erase_if(*fewer, [&](const auto& each) { return each.get() == &cow; });
    cows_ = std::move(fewer);
}

}  // namespace dmfs::snapshot
