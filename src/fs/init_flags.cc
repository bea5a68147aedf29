#include "fs/init_flags.h"

#include <linux/fuse.h>

#include <cstring>

namespace dmfs::fs {

namespace {

constexpr uint32_t kFirstOfThisLength = 23, kFirstWithSecondFlags = 36;  // 7.23, 7.36

}  // namespace

void InitFlags::look_for_request(const void* message, size_t bytes) {
    fuse_in_header header;
    fuse_init_in init{};
    if (bytes < sizeof header + sizeof init) return;  // an older kernel's is shorter
    memcpy(&header, message, sizeof header);
    if (header.opcode != FUSE_INIT) return;
    memcpy(&init, static_cast<const char*>(message) + sizeof header, sizeof init);
    bool has_second = init.major == FUSE_KERNEL_VERSION && init.minor >= kFirstWithSecondFlags &&
                      (init.flags & FUSE_INIT_EXT) != 0;
    offered_ = has_second ? init.flags2 & wanted_ : 0;
    unique_.store(header.unique, std::memory_order_release);
}

void InitFlags::look_for_answer(const iovec* parts, int count) {
    if (count < 1 || parts[0].iov_len < sizeof(fuse_out_header)) return;
    fuse_out_header header;
    memcpy(&header, parts[0].iov_base, sizeof header);
    uint64_t unique = unique_.load(std::memory_order_acquire);
    if (unique == 0 || header.unique != unique) return;
    answered_.store(true, std::memory_order_release);
    fuse_init_out init;
    if (header.error != 0 || count != 2 || parts[1].iov_len < sizeof init) return;
    memcpy(&init, parts[1].iov_base, sizeof init);
    // libfuse may say an older minor version: 3.14 says 31. Linux does not ask for it here.
    if (init.major != FUSE_KERNEL_VERSION || init.minor < kFirstOfThisLength || offered_ == 0) return;
    init.flags |= FUSE_INIT_EXT;
    init.flags2 |= offered_;
    memcpy(parts[1].iov_base, &init, sizeof init);
}

}  // namespace dmfs::fs
