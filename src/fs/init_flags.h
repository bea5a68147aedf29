// InitFlags: capabilities of FUSE that libfuse 3.14 has no room for.
//
// It carries 32 flags; the kernel's INIT has 64 since 7.36 (linux/fuse.h). So the two messages are
// met on their way: what is wanted, and offered, is put into the answer.
//
//     kernel -> INIT    [ fuse_in_header | major minor max_readahead flags flags2 ... ]
//                                                                    bit 30: there are flags2
//     kernel <- answer  [ fuse_out_header | major minor max_readahead flags ... flags2 ... ]
//
// The answer is known by the request's number. Once it is given, this does nothing any more.

#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dmfs::fs {

class InitFlags {
  public:
    // `wanted`: of flags2, so bit 4 is the kernel's bit 36.
    explicit InitFlags(uint32_t wanted) : wanted_(wanted) {}

    // What was read from the device; what is about to be written to it, which may be changed.
    void request_read(const void* message, size_t bytes) {
        if (!answered_.load(std::memory_order_acquire)) look_for_request(message, bytes);
    }
    void answer_written(const iovec* parts, int count) {
        if (!answered_.load(std::memory_order_acquire)) look_for_answer(parts, count);
    }

  private:
    void look_for_request(const void* message, size_t bytes);
    void look_for_answer(const iovec* parts, int count);

    const uint32_t wanted_;
    std::atomic<bool> answered_{false};
    std::atomic<uint64_t> unique_{0};  // of the request; 0: it has not come
    uint32_t offered_ = 0;             // written before unique_
};

}  // namespace dmfs::fs
