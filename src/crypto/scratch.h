// Tweaks, key streams and plaintext on the stack, wiped as far as they were used. A call
// for one small sector must not pay for 4 KiB.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "crypto/secret.h"

namespace dmfs {

template <size_t kBytes>
struct Scratch {
    Scratch() {}  // not zeroed
    ~Scratch() { wipe({bytes, used}); }
    Scratch(const Scratch&) = delete;
    // The beginning, of which this much will be used.
    std::byte* to(size_t end) {
        used = std::max(used, end);
        return bytes;
    }
    size_t used = 0;
    alignas(64) std::byte bytes[kBytes];
};

// a ^ b. `out` may be one of them.
inline void combine(const std::byte* a, const std::byte* b, std::byte* out, size_t bytes) {
    using Vector [[gnu::vector_size(16)]] = uint64_t;
    size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
        Vector x, y;
        memcpy(&x, a + i, 16);
        memcpy(&y, b + i, 16);
        x ^= y;
        memcpy(out + i, &x, 16);
    }
    for (; i < bytes; i++) out[i] = a[i] ^ b[i];
}

}  // namespace dmfs
