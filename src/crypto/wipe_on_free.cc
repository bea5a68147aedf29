// Memory that is given back is wiped, all of it: a key passes through texts, words of a
// table, copies that a growing string leaves behind, and none of these is worth a type of
// its own. The kernel has this as init_on_free. A request frees some coroutine frames; to
// wipe them takes a few nanoseconds.
//
// What lives as long as it is used (keys, round keys) is in Secret. Payloads are in
// Buffers, which are reused and not wiped.

// Not under sanitizers, which watch new and delete themselves.

#include "base/sanitized.h"

#ifndef DMFS_SANITIZED

#include <malloc.h>
#include <string.h>

#include <cstdlib>
#include <new>

namespace {

void* allocate(size_t bytes, size_t alignment) {
    if (bytes == 0) bytes = 1;
    for (;;) {
        void* memory = alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__
                           ? malloc(bytes)
                           : aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
        if (memory != nullptr) return memory;
        std::new_handler handler = std::get_new_handler();
        if (handler == nullptr) throw std::bad_alloc();
        handler();
    }
}

void wipe_and_free(void* memory) noexcept {
    if (memory == nullptr) return;
    explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

}  // namespace

// The other forms of the standard library come to these.
void* operator new(size_t bytes) { return allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) {
    return allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { wipe_and_free(memory); }
void operator delete(void* memory, size_t) noexcept { wipe_and_free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { wipe_and_free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { wipe_and_free(memory); }

#endif
