// Where secrets lie:
//
//     region   16 KiB or more of pages of their own, in no core file, in no child
//              |key|key  |.......|round keys       |.........................|
//              grains of 64 bytes, so that small secrets share pages and are aligned
//
// The host allows a process few locked pages, therefore one region serves many keys,
// and a region nobody has anything in goes back, but for the first.

#include "crypto/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"

namespace dmfs {

namespace {

constexpr size_t kGrain = 64;
constexpr size_t kRegionBytes = 16384;

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
    Region(Region&& other) noexcept
        : begin_(std::exchange(other.begin_, nullptr)),
          bytes_(other.bytes_),
          used_(std::move(other.used_)),
          grains_used_(other.grains_used_),
          lock_error_(other.lock_error_),
          hidden_(other.hidden_) {}
    Region& operator=(Region&& other) noexcept {
        std::swap(begin_, other.begin_);
        std::swap(bytes_, other.bytes_);
        std::swap(used_, other.used_);
        std::swap(grains_used_, other.grains_used_);
        std::swap(lock_error_, other.lock_error_);
        std::swap(hidden_, other.hidden_);
        return *this;
    }
    ~Region() {
        if (begin_ != nullptr) munmap(begin_, bytes_);
    }

    // The first run of free grains that is long enough, or nullptr.
    std::byte* take(size_t grains) {
        size_t run = 0;
        for (size_t at = 0; at < used_.size(); at++) {
            run = used_[at] ? 0 : run + 1;
            if (run < grains) continue;
            mark(at + 1 - grains, grains, true);
            grains_used_ += grains;
            return begin_ + (at + 1 - grains) * kGrain;
        }
        return nullptr;
    }

    void give_back(const std::byte* memory, size_t grains) {
        mark(static_cast<size_t>(memory - begin_) / kGrain, grains, false);
        grains_used_ -= grains;
    }

    bool holds(const std::byte* memory) const { return memory >= begin_ && memory < begin_ + bytes_; }
    bool is_empty() const { return grains_used_ == 0; }
    int lock_error() const { return lock_error_; }
    bool is_hidden() const { return hidden_; }

  private:
    void mark(size_t from, size_t grains, bool used) {
        std::fill_n(used_.begin() + static_cast<std::ptrdiff_t>(from), grains, used);
    }

    std::byte* begin_ = nullptr;
    size_t bytes_;
    std::vector<bool> used_;  // of each grain
    size_t grains_used_ = 0;
    int lock_error_ = 0;
    bool hidden_ = false;
};

class Arena {
  public:
    void* allocate(size_t bytes) {
        if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
        size_t grains = std::max<size_t>((bytes + kGrain - 1) / kGrain, 1);
        std::lock_guard lock(mutex_);
        for (Region& region : regions_)
            if (std::byte* memory = region.take(grains)) return memory;
        if (regions_.empty()) close_process();
        auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        size_t wanted = std::max(kRegionBytes, grains * kGrain);
        regions_.emplace_back((wanted + page - 1) / page * page);
        warn_of(regions_.back());
        return regions_.back().take(grains);
    }

    void free(void* memory, size_t bytes) noexcept {
        auto* at = static_cast<std::byte*>(memory);
        size_t grains = std::max<size_t>((bytes + kGrain - 1) / kGrain, 1);
        wipe({at, grains * kGrain});
        std::lock_guard lock(mutex_);
        auto region = std::ranges::find_if(regions_, [&](const Region& each) { return each.holds(at); });
        region->give_back(at, grains);
        if (region->is_empty() && region != regions_.begin()) regions_.erase(region);
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
    std::vector<Region> regions_;
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

void wipe(std::span<std::byte> memory) noexcept {
    if (!memory.empty()) explicit_bzero(memory.data(), memory.size());
}

[[gnu::noinline]] void wipe_stack() noexcept {
    std::byte below[16384];
    wipe(below);
#if defined(__x86_64__)
    // What the next call saves there. Functions with wider registers leave nothing above 128 bits.
    asm volatile(
        "pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n pxor %%xmm3, %%xmm3\n"
        "pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n"
        "pxor %%xmm8, %%xmm8\n pxor %%xmm9, %%xmm9\n pxor %%xmm10, %%xmm10\n pxor %%xmm11, %%xmm11\n"
        "pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n pxor %%xmm14, %%xmm14\n pxor %%xmm15, %%xmm15" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
              "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#endif
}

void let_process_be_dumped() { may_be_dumped = true; }

Secret::Secret(size_t bytes)
    : memory_(bytes == 0 ? nullptr : static_cast<std::byte*>(allocate_secret(bytes))), size_(bytes) {}

Secret::Secret(std::span<const std::byte> bytes) : Secret(bytes.size()) { std::ranges::copy(bytes, memory_); }

}  // namespace dmfs
