// Bio: one request to a device, a small value. Positions are sectors of the
// device that receives it; who forwards a Bio rewrites them.

#pragma once

#include <array>
#include <string_view>
#include <type_traits>

#include "base/units.h"
#include "engine/buffer.h"

namespace dmfs {

class Cancel;

enum class Op : uint8_t { read, write, flush, discard, write_zeroes };

// By Op.
inline constexpr std::array<std::string_view, 5> kOpNames{"read", "write", "flush", "discard",
                                                          "write_zeroes"};
constexpr std::string_view name_of(Op op) { return kOpNames[static_cast<size_t>(op)]; }

struct Bio {
    Op op = Op::read;
    bool fua = false;          // write: durable before it is answered
    bool unmap = false;        // write_zeroes: what is zeroed need not keep its room
    bool one_of_many = false;  // a piece of a request whose pieces should run side by side
    Sector sector = 0;
    Sector count = 0;          // 0 for a flush
    Memory* memory = nullptr;  // read, write: where the data is (see Memory) ...
    size_t offset = 0;         // ... from this byte on
    uint64_t generation = 0;   // the Volume::generation() it is meant for; 0: any
    Cancel* cancel = nullptr;  // who may interrupt it while it is parked; or nobody

    static Bio flush(Cancel* cancel = nullptr) {
        Bio bio;
        bio.op = Op::flush;
        bio.cancel = cancel;
        return bio;
    }

    Sector end() const { return sector + count; }
    std::byte* data() const { return memory->data() + offset; }
    size_t bytes() const { return bytes_of(count); }
    bool has_data() const { return op == Op::read || op == Op::write; }

    // `length` sectors of it, from `from` sectors after its start.
    Bio part(Sector from, Sector length) const {
        Bio bio = *this;
        bio.sector += from;
        bio.count = length;
        if (has_data()) bio.offset += bytes_of(from);
        return bio;
    }
};

static_assert(std::is_trivially_copyable_v<Bio>);

}  // namespace dmfs
