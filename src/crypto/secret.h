// Secret: bytes that nobody but their user is to see. They lie in pages that are
// locked into memory where the host allows it (the log says once where it does not),
// never go into a core file, are not inherited by a fork (a child that reads them ends
// by SIGSEGV), and are wiped when they are given back. May be used by several threads.
//
// The first secret makes the whole process one without core files (PR_SET_DUMPABLE),
// since stacks and registers see keys too.

#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "base/wipe.h"

namespace dmfs {

// Zeros, aligned to 64 bytes. Throws std::bad_alloc.
void* allocate_secret(size_t bytes);
// Wipes it and gives it back.
void free_secret(void* memory, size_t bytes) noexcept;
// Before the first secret: core files and debuggers stay possible, for who looks for a bug.
void let_process_be_dumped();

class Secret {
  public:
    Secret() = default;
    explicit Secret(size_t bytes);  // of zeros
    explicit Secret(std::span<const std::byte> bytes);
    Secret(Secret&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Secret& operator=(Secret&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Secret() {
        if (memory_ != nullptr) free_secret(memory_, size_);
    }

    size_t size() const { return size_; }
    std::span<std::byte> bytes() { return {memory_, size_}; }
    std::span<const std::byte> bytes() const { return {memory_, size_}; }

  private:
    std::byte* memory_ = nullptr;
    size_t size_ = 0;
};

// An object in secret memory, as a cipher with its round keys.
struct SecretDelete {
    size_t bytes = 0;
    template <class T>
    void operator()(T* object) const noexcept {
        object->~T();
        free_secret(const_cast<std::remove_const_t<T>*>(object), bytes);
    }
};
template <class T>
using SecretPtr = std::unique_ptr<T, SecretDelete>;

// `T` has no base but the first that it is kept as, so the pointers are equal.
template <class T, class... Arguments>
SecretPtr<T> make_secret(Arguments&&... arguments) {
    static_assert(alignof(T) <= 64);
    void* memory = allocate_secret(sizeof(T));
    try {
        return SecretPtr<T>(new (memory) T(std::forward<Arguments>(arguments)...), SecretDelete{sizeof(T)});
    } catch (...) {
        free_secret(memory, sizeof(T));
        throw;
    }
}

}  // namespace dmfs
