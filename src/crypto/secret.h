// Secret: bytes that nobody but their user is to see. They lie in pages that are
// locked into memory where the host allows it, never go into a core file, are not
// inherited by a fork, and are wiped when they are given back.

#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>

namespace dmfs {

// Throws std::bad_alloc. Of no alignment beyond 64 bytes.
void* allocate_secret(size_t bytes);
// Wipes it and gives it back.
void free_secret(void* memory, size_t bytes) noexcept;
// Overwrites memory in a way that no compiler leaves out.
void wipe(std::span<std::byte> memory) noexcept;

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
