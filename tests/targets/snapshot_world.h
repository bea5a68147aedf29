// What the tests of snapshots stand on: devices that record, hang and fail, and volumes over them.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "catch.h"
#include "engine/support.h"

namespace dmfs::test {

// An origin of 64 sectors, and volumes over it.
struct SnapshotWorld {
    Running executor;
    Namespace space{*executor};
    FakeSource source{*executor, &space};
    FakeDevice& origin = source.add("o", 64, 1);
    FakeDevice& cow = source.add("c", 256, 0);

    SnapshotWorld() { empty(cow); }
    static void empty(FakeDevice& device) { memset(device.at(0), 0, bytes_of(device.size())); }

    std::shared_ptr<Volume> volume(const std::string& name, const std::string& row) {
        std::shared_ptr<Volume> volume = space.create(name);
        if (Outcome outcome = replace(*volume, row); !outcome) throw outcome.why();
        return volume;
    }
    Outcome replace(Volume& volume, const std::string& row) {
        try {
            return run(*executor, volume.replace(table(volume, row), nullptr));
        } catch (const Refused& refused) {
            return refused;
        }
    }
    std::shared_ptr<Table> table(Volume& volume, const std::string& row) {
        return source.table("0 " + row, [weak = volume.weak_from_this()] {
            if (std::shared_ptr<Volume> alive = weak.lock()) alive->raise_event();
        });
    }
    Outcome suspend(Volume& volume) { return run(*executor, volume.suspend(false, nullptr)); }
    Outcome resume(Volume& volume) { return run(*executor, volume.resume(false, nullptr)); }

    Status write(Volume& volume, Sector sector, Sector count, uint64_t tag) {
        Memory memory = stamped_memory(sector, count, tag);
        return run(*executor, volume.io(bio_of(Op::write, sector, count, &memory)));
    }
    static Memory stamped_memory(Sector sector, Sector count, uint64_t tag) {
        Memory memory(bytes_of(count));
        for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), tag, sector + s);
        return memory;
    }
    // The tag of each sector; 0 where a read fails.
    std::vector<uint64_t> tags(Volume& volume, Sector sector, Sector count) {
        std::vector<uint64_t> tags;
        for (Sector s = sector; s < sector + count; s++) {
            Memory memory(kSectorBytes);
            uint64_t tag = 0;
            if (run(*executor, volume.io(bio_of(Op::read, s, 1, &memory)))) {
                memcpy(&tag, memory.data(), sizeof tag);
                CHECK(stamped(memory.data(), tag, s));
            }
            tags.push_back(tag);
        }
        return tags;
    }
    // `volume` is removed; answers when its table is closed.
    Pending<Outcome> begin_removing(std::shared_ptr<Volume>& volume) {
        Volume& removed = *volume;  // which keeps itself alive
        Pending<Outcome> removing = begin(*executor, removed.remove({}, nullptr));
        volume.reset();
        return removing;
    }
    static std::string status(const Volume& volume) {
        return volume.live()->rows().front().target->status(StatusKind::info);
    }
};

inline std::vector<uint64_t> all_of(uint64_t tag, size_t count) { return std::vector<uint64_t>(count, tag); }

}  // namespace dmfs::test
