#include "engine/buffer.h"

#include <sys/mman.h>

#include <array>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace dmfs {

namespace {

// Blocks of 4 KiB, 16 KiB, ... 4 MiB are kept; larger ones go back at once.
constexpr size_t kSmallest = 4096;
constexpr unsigned kClasses = 6;
constexpr unsigned kNotKept = kClasses;
constexpr unsigned kAside = kClasses + 1;
constexpr size_t kKeptHere = 4;              // of each class, by each thread
constexpr size_t kKeptBytes = 16 * 1048576;  // of each class, by all threads together

constexpr size_t class_bytes(unsigned size_class) { return kSmallest << (2 * size_class); }

std::byte* allocate(size_t bytes) {
    void* block = std::aligned_alloc(kSmallest, (bytes + kSmallest - 1) / kSmallest * kSmallest);
    if (block == nullptr) throw std::bad_alloc();
    return static_cast<std::byte*>(block);
}

// Blocks that one thread frees and another will need.
struct Shared {
    std::mutex mutex;
    std::array<std::vector<std::byte*>, kClasses> blocks;

    std::byte* take(unsigned size_class) {
        std::lock_guard guard(mutex);
        if (blocks[size_class].empty()) return nullptr;
        std::byte* block = blocks[size_class].back();
        blocks[size_class].pop_back();
        return block;
    }
    bool keep(unsigned size_class, std::byte* block) {
        std::lock_guard guard(mutex);
        if (blocks[size_class].size() * class_bytes(size_class) >= kKeptBytes) return false;
        blocks[size_class].push_back(block);
        return true;
    }
};

Shared& shared() {
    static Shared* const pool = new Shared;  // outlives every thread's blocks
    return *pool;
}

struct Local {
    std::array<std::array<std::byte*, kKeptHere>, kClasses> blocks;
    std::array<size_t, kClasses> count{};

    ~Local() {
        for (unsigned c = 0; c < kClasses; c++)
            while (count[c] > 0) {
                std::byte* block = blocks[c][--count[c]];
                if (!shared().keep(c, block)) std::free(block);
            }
    }
};

thread_local Local local;

thread_local Memory* borrowed_here = nullptr;

}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
    while (size_class_ < kClasses && class_bytes(size_class_) < bytes) size_class_++;
    if (size_class_ == kNotKept) {
        data_ = allocate(bytes);
    } else if (size_t& count = local.count[size_class_]; count > 0) {
        data_ = local.blocks[size_class_][--count];
    } else if (data_ = shared().take(size_class_); data_ == nullptr) {
        data_ = allocate(class_bytes(size_class_));
    }
}

Buffer Buffer::aside(const std::byte* data, size_t bytes) {
    Buffer buffer;
    void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        buffer = Buffer(bytes);
        memcpy(buffer.data_, data, bytes);
        return buffer;
    }
    munlock(block, bytes);
    memcpy(block, data, bytes);
    // Where memory is shared this forgets the mapping, not the data.
    madvise(block, bytes, MADV_DONTNEED);
    buffer.data_ = static_cast<std::byte*>(block);
    buffer.size_class_ = kAside;
    buffer.bytes_ = bytes;
    return buffer;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_class_(other.size_class_), bytes_(other.bytes_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_class_, other.size_class_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Buffer::~Buffer() {
    if (data_ == nullptr) return;
    if (size_class_ == kAside) {
        munmap(data_, bytes_);
        return;
    }
    if (size_class_ != kNotKept) {
        if (size_t& count = local.count[size_class_]; count < kKeptHere) {
            local.blocks[size_class_][count++] = data_;
            return;
        }
        if (shared().keep(size_class_, data_)) return;
    }
    std::free(data_);
}

std::atomic<size_t> Memory::settled_{0};

Memory::Memory(const void* data, size_t bytes)
    : data_(static_cast<std::byte*>(const_cast<void*>(data))), bytes_(bytes), borrowed_(true) {
    assert(borrowed_here == nullptr);
    borrowed_here = this;
}

Memory::Memory(Memory&& other) noexcept
    : own_(std::move(other.own_)),
      held_(std::move(other.held_)),
      data_(other.data_),
      bytes_(other.bytes_),
      borrowed_(std::exchange(other.borrowed_, false)),
      lent_(other.lent_),
      counted_(std::exchange(other.counted_, 0)) {
    if (borrowed_) borrowed_here = this;
}

Memory::~Memory() {
    if (borrowed_) borrowed_here = nullptr;
    if (counted_ > 0) settled_.fetch_sub(counted_, std::memory_order_relaxed);
}

void Memory::settle() {
    if (!borrowed_) return;
    if (settled_.fetch_add(bytes_, std::memory_order_relaxed) < kSettledHere) {
        own_ = Buffer(bytes_);
        memcpy(own_.data(), data_, bytes_);
    } else {
        own_ = Buffer::aside(data_, bytes_);
    }
    counted_ = bytes_;
    data_ = own_.data();
    borrowed_ = false;
    borrowed_here = nullptr;
}

std::shared_ptr<void> Memory::hold() {
    static std::mutex mutex;  // seldom: an operation was given up
    std::lock_guard guard(mutex);
    assert(!borrowed_ && !lent_);
    if (!held_) held_ = std::make_shared<Buffer>(std::move(own_));
    return held_;
}

void Memory::settle_borrowed() {
    if (borrowed_here != nullptr) borrowed_here->settle();
}

}  // namespace dmfs
