#include "targets/snapshot/exceptions.h"

#include <random>
#include <utility>

namespace dmfs::snapshot {

namespace {

// Each process has its own: a store could be made of chunks that all have the same hash.
uint64_t seed = uint64_t{std::random_device()()} << 32 | std::random_device()();

}  // namespace

void Exceptions::fix_hash(uint64_t fixed) { seed = fixed; }

// The same for the chunks of a group (splitmix64).
uint64_t Exceptions::hash(Chunk old_chunk) {
    uint64_t x = old_chunk / kGroup + seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

// The lowest bits of the hash chose the part, the highest choose the group.
size_t Exceptions::Part::home(Chunk old_chunk) const {
    __extension__ using Wide = unsigned __int128;
    auto group = static_cast<size_t>((Wide{hash(old_chunk)} * groups.size()) >> 64);
    return group * kGroup + old_chunk % kGroup;
}

size_t Exceptions::Part::distance(size_t slot) const {
    size_t from = home(at(slot).old_chunk);
    return slot >= from ? slot - from : slot + slots() - from;
}

std::optional<size_t> Exceptions::Part::find(Chunk old_chunk) const {
    if (used == 0) return {};
    size_t slot = home(old_chunk);
    for (size_t away = 0;; away++, slot = after(slot)) {
        const Entry& entry = at(slot);
        if (entry.new_chunk == kEmpty) return {};
        if (entry.old_chunk == old_chunk) return slot;
        if (distance(slot) < away) return {};  // it would have taken this slot
    }
}

void Exceptions::Part::put(Entry entry) {
    size_t slot = home(entry.old_chunk);
    for (size_t away = 0;; away++, slot = after(slot)) {
        if (at(slot).new_chunk == kEmpty) {
            at(slot) = entry;
            return;
        }
        if (size_t theirs = distance(slot); theirs < away) {
            std::swap(at(slot), entry);
            away = theirs;
        }
    }
}

void Exceptions::Part::grow(size_t to_groups) {
    std::vector<Group> old(to_groups);
    for (Group& group : old) group.slots.fill(Entry{0, kEmpty});
    old.swap(groups);
    for (const Group& group : old)
        for (const Entry& entry : group.slots)
            if (entry.new_chunk != kEmpty) put(entry);
}

std::optional<Chunk> Exceptions::find(Chunk old_chunk) const {
    const Part& part = part_of(old_chunk);
    std::optional<size_t> slot = part.find(old_chunk);
    return slot ? std::optional(part.at(*slot).new_chunk) : std::nullopt;
}

bool Exceptions::insert(const Entry& entry) {
    Part& part = part_of(entry.old_chunk);
    if (part.find(entry.old_chunk)) return false;
    if ((part.used + 1) * 20 > part.slots() * 17) part.grow(part.groups.size() * 6 / 5 + 1);
    part.put(entry);
    part.used++;
    size_++;
    return true;
}

bool Exceptions::erase(Chunk old_chunk) {
    Part& part = part_of(old_chunk);
    std::optional<size_t> found = part.find(old_chunk);
    if (!found) return false;
    // Those after it that are not at home move up.
    size_t hole = *found;
    for (size_t next = part.after(hole); part.at(next).new_chunk != kEmpty && part.distance(next) > 0;
         next = part.after(next)) {
        part.at(hole) = part.at(next);
        hole = next;
    }
    part.at(hole) = Entry{0, kEmpty};
    part.used--;
    size_--;
    return true;
}

void Exceptions::clear() {
    for (Part& part : parts_) part = Part();
    size_ = 0;
}

void Exceptions::reserve(size_t count) {
    size_t groups = count * 5 / 4 / kParts / kGroup + 1;
    for (Part& part : parts_)
        if (groups > part.groups.size()) part.grow(groups);
}

size_t Exceptions::bytes() const {
    size_t bytes = sizeof *this;
    for (const Part& part : parts_) bytes += part.groups.capacity() * sizeof(Group);
    return bytes;
}

}  // namespace dmfs::snapshot
