// The memory of requests: page-aligned blocks, kept for the next request.
//
// A daemon that serves a disk must not wait for memory that only writing to that
// disk can free, so blocks are reused instead of returned, and those of the usual
// sizes are there after the first seconds.

#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

namespace dmfs {

// A page-aligned block of at least the bytes asked for; the contents are undefined.
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(size_t bytes);
    // A copy of `data` that is neither locked nor mapped for now: it may be swapped out, and
    // comes back when it is looked at. Where that can't be had, an ordinary block.
    static Buffer aside(const std::byte* data, size_t bytes);
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();

    std::byte* data() const { return data_; }
    explicit operator bool() const { return data_ != nullptr; }

  private:
    std::byte* data_ = nullptr;
    unsigned size_class_ = 0;
    size_t bytes_ = 0;
};

// The data of a request, as Bios refer to it.
//
// The payload of a FUSE write stands in the receive buffer and dies when the
// callback returns. Most requests are done by then, so nothing is copied in
// advance: the payload is *borrowed*, and whatever makes a coroutine wait calls
// settle() first, which copies a borrowed payload into memory of its own. Bios
// find the data through the Memory, so they follow.
class Memory {
  public:
    explicit Memory(size_t bytes) : own_(bytes), data_(own_.data()), bytes_(bytes) {}
    // Borrows `data` until settle(). One thread has one borrowed Memory at a time;
    // it is settled or destroyed before the thread leaves the callback.
    static Memory borrow(const void* data, size_t bytes) { return Memory(data, bytes); }
    // Memory that the caller keeps alive and in place for the whole request.
    static Memory lend(std::byte* data, size_t bytes) { return Memory(data, bytes, Lent{}); }

    Memory(Memory&& other) noexcept;
    Memory& operator=(Memory&&) = delete;
    ~Memory();

    std::byte* data() const { return data_; }
    size_t bytes() const { return bytes_; }
    bool is_lent() const { return lent_; }

    // Keeps the block of settled data, for an operation that outlives the request. From any
    // thread that works for the request.
    std::shared_ptr<void> hold();

    // Ends borrowing: the data moves into a page-aligned block. While requests that wait have more
    // than kSettledHere bytes in such blocks, what comes is put aside; beyond kMostSettled a write
    // that would wait for another than a healthy disk is refused (ENOMEM), by whoever lets it wait.
    static constexpr size_t kSettledHere = size_t{256} << 20;
    static constexpr size_t kMostSettled = size_t{4} << 30;
    static bool has_room() { return settled_.load(std::memory_order_relaxed) <= kMostSettled; }
    void settle();
    // settle() for what this thread has borrowed.
    static void settle_borrowed();

  private:
    struct Lent {};
    Memory(const void* data, size_t bytes);
    Memory(std::byte* data, size_t bytes, Lent) : data_(data), bytes_(bytes), lent_(true) {}

    Buffer own_;
    std::shared_ptr<Buffer> held_;  // or there
    std::byte* data_;
    size_t bytes_;
    bool borrowed_ = false;
    bool lent_ = false;
    size_t counted_ = 0;  // of its bytes in settled_
    static std::atomic<size_t> settled_;
};

}  // namespace dmfs
