// Device: whatever serves Bios: a file, a block device, a volume. The engine's one
// verb is io(). Targets hold devices, volumes are devices: so they stack.

#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/bio.h"
#include "engine/limits.h"
#include "engine/task.h"

namespace dmfs {

// A run of sectors that are alike: data, or a hole that reads as zeros.
struct Extent {
    bool data = true;
    Sector end = 0;  // where the run ends (half-open)
};

class Look;
class Room;

struct DeviceNumber {
    uint32_t major = 0;  // 0: a volume of this mount
    uint32_t minor = 0;
    friend bool operator==(const DeviceNumber&, const DeviceNumber&) = default;
};

// What two devices have in common that are one: the same inode, block device or volume, by
// whichever names, however often opened.
struct Identity {
    uint64_t kind = 0;  // 0: an object of this process
    uint64_t where = 0;
    uint64_t number = 0;
    friend auto operator<=>(const Identity&, const Identity&) = default;
};

// How room is taken for the holes of a file: see Device::reserve().
struct Space {
    Sector ahead = 0;     // so much at a time, before it is needed; 0: it comes with the writes
    int64_t wait_ns = 0;  // how long writes may wait for room where there is none
};

class Device {
  public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    // Serves one request within the device, of any length, aligned to
    // limits().logical_block. A request beyond the end: EIO.
    virtual Task<Status> io(Bio bio) = 0;

    virtual Sector size() const = 0;  // of a volume: that of its live table
    virtual Limits limits() const = 0;
    // The run that begins at `at` < size(): a hole only where every read gives zeros. May do
    // a short blocking call. When the look has ended: data.
    virtual Extent extent(Sector at, Look& look) = 0;

    // About how many of these sectors take room below (st_blocks): 0 only where every read
    // gives zeros. Cheap: no walk over extents, which costs milliseconds on some filesystems.
    virtual Sector allocated(Sector /*start*/, Sector length, Look&) { return length; }

    // What zeroing these sectors would take of stores that can be full, and what refuses it.
    virtual void ask_room(Sector /*start*/, Sector /*count*/, Room&) {}

    // Takes room for these sectors from the file system, so that no write there fails for want
    // of it; what they hold stays. ENOSPC, EDQUOT: there is none now; EFBIG: there would be none
    // if all else were deleted; EOPNOTSUPP: it comes with the writes.
    virtual Task<Status> reserve(Sector /*start*/, Sector /*length*/) {
        return Task<Status>::ready(Status(EOPNOTSUPP));
    }
    virtual Space space() const { return {}; }
    // Who has waited longer than this for what is below gets EIO, and what goes on without them
    // may change no newer data. For a device that may not answer; others do nothing.
    virtual void give_up(int64_t /*longer_than_ns*/) {}

    // As a table prints it (before quoting): an absolute path, a volume's name, a
    // ram: word. Fed back, it means the same device.
    virtual std::string name() const = 0;
    // What the kernel would call it; nothing for a file.
    virtual std::optional<DeviceNumber> number() const = 0;
    virtual Identity identity() const { return {0, 0, reinterpret_cast<uintptr_t>(this)}; }
};

// Where tables get their devices from.
class DeviceSource {
  public:
    virtual ~DeviceSource() = default;
    // The device that `word` of a table names (dmfs-targets(7), "Devices"). It
    // stays open as long as the pointer lives. `folder`: where relative paths
    // begin. Throws Refused.
    virtual std::shared_ptr<Device> open_device(const std::string& word, bool writable,
                                                const std::string& folder) = 0;
};

}  // namespace dmfs
