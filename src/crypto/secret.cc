// Where secrets lie:
//
//     region   16 KiB or more of pages of their own, in no core file, in no child
//              |key|key  |.......|round keys       |.........................|
//              grains of 64 bytes, so that small secrets share pages and are aligned
//
// The host allows a process few locked pages, therefore one region serves many keys,
// and a region nobody has anything in goes back, but for the last. Who has many secrets
// gets larger regions, so that there are few to look through.

#include "crypto/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"

namespace dmfs {

namespace {

constexpr size_t kGrain = 64;
constexpr size_t kRegionBytes = 16 << 10, kMostRegionBytes = 256 << 10;

std::atomic<bool> may_be_dumped = false;

class Region {
  public:
    explicit Region(size_t bytes) : bytes_(bytes), used_(bytes / kGrain) {
        void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) throw std::bad_alloc();
        begin_ = static_cast<std::byte*>(pages);
        // A child that touched its copy would better end than go on with keys of zeros.
        hidden_ = madvise(pages, bytes, MADV_DONTDUMP) == 0 && madvise(pages, bytes, MADV_DONTFORK) == 0;
        if (mlock(pages, bytes) != 0) lock_error_ = errno;
    }
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;
    ~Region() {
        if (begin_ != nullptr) munmap(begin_, bytes_);
    }

    // The first run of free grains that is long enough, or nullptr.
    std::byte* take(size_t grains) {
        if (used_.size() - grains_used_ < grains || grains >= too_long_) return nullptr;
        size_t run = 0;
        for (size_t at = first_free_; at < used_.size(); at++) {
            run = used_[at] ? 0 : run + 1;
            if (run < grains) continue;
            size_t from = at + 1 - grains;
            mark(from, grains, true);
            grains_used_ += grains;
            if (from == first_free_) first_free_ = at + 1;
            return begin_ + from * kGrain;
        }
        too_long_ = grains;
        return nullptr;
    }

    void give_back(const std::byte* memory, size_t grains) {
        size_t from = static_cast<size_t>(memory - begin_) / kGrain;
        mark(from, grains, false);
        grains_used_ -= grains;
        first_free_ = std::min(first_free_, from);
        too_long_ = SIZE_MAX;
    }

    const std::byte* begin() const { return begin_; }
    size_t bytes() const { return bytes_; }
    bool is_empty() const { return grains_used_ == 0; }
    int lock_error() const { return lock_error_; }
    bool is_hidden() const { return hidden_; }

  private:
    void mark(size_t from, size_t grains, bool used) {
        std::fill_n(used_.begin() + static_cast<std::ptrdiff_t>(from), grains, used);
    }

    std::byte* begin_ = nullptr;
    const size_t bytes_;
    std::vector<bool> used_;  // of each grain
    size_t grains_used_ = 0;
    size_t first_free_ = 0;       // none before it is free
    size_t too_long_ = SIZE_MAX;  // no run of so many is free
    int lock_error_ = 0;
    bool hidden_ = false;
};

class Arena {
  public:
    void* allocate(size_t bytes) {
        if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
        size_t grains = std::max<size_t>((bytes + kGrain - 1) / kGrain, 1);
        std::lock_guard lock(mutex_);
        for (auto& [begin, region] : regions_)
            if (std::byte* memory = region->take(grains)) return memory;
        if (regions_.empty()) close_process();
        auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        size_t wanted = std::max(std::clamp(bytes_, kRegionBytes, kMostRegionBytes), grains * kGrain);
        auto made = std::make_unique<Region>((wanted + page - 1) / page * page);
        Region& region = *made;
        regions_.emplace(region.begin(), std::move(made));
        bytes_ += region.bytes();
        warn_of(region);
        return region.take(grains);
    }

    void free(void* memory, size_t bytes) noexcept {
        auto* at = static_cast<std::byte*>(memory);
        size_t grains = std::max<size_t>((bytes + kGrain - 1) / kGrain, 1);
        wipe({at, grains * kGrain});
        std::lock_guard lock(mutex_);
        auto found = std::prev(regions_.upper_bound(at));
        Region& region = *found->second;
        region.give_back(at, grains);
        if (!region.is_empty() || regions_.size() == 1) return;
        bytes_ -= region.bytes();
        regions_.erase(found);
    }

  private:
    // From here on no core file, and no debugger of another process of this user.
    static void close_process() {
        if (!may_be_dumped && prctl(PR_SET_DUMPABLE, 0) != 0)
            log_line(Severity::warning, "can't forbid core files of this process, which holds keys");
    }

    void warn_of(const Region& region) {
        if (region.is_hidden() && region.lock_error() == 0) return;
        if (std::exchange(warned_, true)) return;
        if (!region.is_hidden())
            log_line(Severity::warning, "can't keep the memory of keys out of core files or children");
        else
            log_line(Severity::warning,
                     std::string("keys may reach swap: memory can't be locked (") +
                         strerrordesc_np(region.lock_error()) +
                         "); a higher limit, as by ulimit -l or LimitMEMLOCK=, would help");
    }

    std::mutex mutex_;
    std::map<const std::byte*, std::unique_ptr<Region>> regions_;  // by their first byte
    size_t bytes_ = 0;                                             // of all of them
    bool warned_ = false;
};

// Never destroyed: secrets of static objects may be given back after it would have been.
Arena& arena() {
    static auto* arena = new Arena;
    return *arena;
}

}  // namespace

void* allocate_secret(size_t bytes) { return arena().allocate(bytes); }

void free_secret(void* memory, size_t bytes) noexcept { arena().free(memory, bytes); }

void let_process_be_dumped() { may_be_dumped = true; }

Secret::Secret(size_t bytes)
    : memory_(bytes == 0 ? nullptr : static_cast<std::byte*>(allocate_secret(bytes))), size_(bytes) {}

Secret::Secret(std::span<const std::byte> bytes) : Secret(bytes.size()) { std::ranges::copy(bytes, memory_); }

}  // namespace dmfs
