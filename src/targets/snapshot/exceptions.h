// Exceptions: which chunks of the origin have their contents on the COW device, and where.
// In memory, as it is asked with every request: at most 23 bytes an exception.
//
//     64 parts, by the hash of the old chunk     |0|1|2| ... |63|
//     a part: slots of 16 bytes, 71 to 85 % full    | old new | - | old new | old new | ...
//
// Open addressing with robin hood hashing: an entry that is far from home takes the slot of
// one that is near, so that a search ends early. Parts grow by a fifth, each by itself, so
// that no request waits for long, and nothing is ever twice in memory. Four chunks side by
// side are at home in one cache line.
//
// Not thread-safe.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "formats/exception_store.h"

namespace dmfs::snapshot {

using exception_store::Chunk;
using exception_store::Entry;

class Exceptions {
  public:
    // Before there are any, in a simulator: what hashes decide is to be the same in each run.
    static void fix_hash(uint64_t fixed);

    // The new chunk, if there is an exception for `old_chunk`.
    std::optional<Chunk> find(Chunk old_chunk) const;
    // False: there was one already. No chunk has the number 2^64 - 1.
    bool insert(const Entry& entry);
    // False: there was none.
    bool erase(Chunk old_chunk);
    void clear();
    // Makes room for so many at once, instead of little by little.
    void reserve(size_t count);

    bool empty() const { return size_ == 0; }
    size_t size() const { return size_; }
    size_t bytes() const;  // of memory

    template <class Visit>
    void each(Visit visit) const {
        for (const Part& part : parts_)
            for (const Group& group : part.groups)
                for (const Entry& slot : group.slots)
                    if (slot.new_chunk != kEmpty) visit(slot);
    }

  private:
    static constexpr size_t kParts = 64;
    static constexpr Chunk kEmpty = UINT64_MAX;
    static constexpr size_t kGroup = 4;
    struct alignas(kGroup * sizeof(Entry)) Group {
        std::array<Entry, kGroup> slots;
    };

    struct Part {
        std::vector<Group> groups;
        size_t used = 0;

        size_t slots() const { return groups.size() * kGroup; }
        Entry& at(size_t slot) { return groups[slot / kGroup].slots[slot % kGroup]; }
        const Entry& at(size_t slot) const { return groups[slot / kGroup].slots[slot % kGroup]; }
        size_t home(Chunk old_chunk) const;
        size_t distance(size_t slot) const;  // of an entry from its home
        size_t after(size_t slot) const { return slot + 1 == slots() ? 0 : slot + 1; }
        std::optional<size_t> find(Chunk old_chunk) const;
        void put(Entry entry);
        void grow(size_t to_groups);
    };

    static uint64_t hash(Chunk old_chunk);
    Part& part_of(Chunk old_chunk) { return parts_[hash(old_chunk) % kParts]; }
    const Part& part_of(Chunk old_chunk) const { return parts_[hash(old_chunk) % kParts]; }

    std::array<Part, kParts> parts_;
    size_t size_ = 0;
};

}  // namespace dmfs::snapshot
