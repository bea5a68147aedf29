// Numbers as they lie on a disk: little-endian, at any address. A structure of them has
// no gaps, whatever the compiler; say its size with a static_assert.
//
//     struct Header { le64 magic; le32 version; };
//     static_assert(sizeof(Header) == 12);

#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace dmfs {

template <std::unsigned_integral T>
class Little {
  public:
    constexpr Little() = default;
    constexpr Little(T value) {
        for (size_t i = 0; i < sizeof(T); i++) bytes_[i] = static_cast<uint8_t>(value >> (8 * i));
    }
    constexpr operator T() const {
        T value = 0;
        for (size_t i = 0; i < sizeof(T); i++) value = static_cast<T>(value | T{bytes_[i]} << (8 * i));
        return value;
    }

  private:
    uint8_t bytes_[sizeof(T)] = {};
};

using le16 = Little<uint16_t>;
using le32 = Little<uint32_t>;
using le64 = Little<uint64_t>;

// A structure of such numbers, out of and into bytes.
template <class Structure>
Structure read_structure(const std::byte* from) {
    static_assert(std::is_trivially_copyable_v<Structure> && alignof(Structure) == 1);
    Structure structure;
    memcpy(&structure, from, sizeof structure);
    return structure;
}

template <class Structure>
void write_structure(std::byte* to, const Structure& structure) {
    static_assert(std::is_trivially_copyable_v<Structure> && alignof(Structure) == 1);
    memcpy(to, &structure, sizeof structure);
}

}  // namespace dmfs
