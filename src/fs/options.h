// The options of a mount: what stands after -o, and in [mount] of a dmfs.toml.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/device.h"

namespace dmfs::fs {

struct Options {
    bool direct = false;       // backing=direct: O_DIRECT below
    bool shared_mmap = false;  // cache=auto: MAP_SHARED works, where the kernel can
    std::string executor = "auto";
    unsigned threads = 0;             // FUSE threads; 0: chosen by the number of processors
    bool truncate_zeroes = true;      // truncate=zero: O_TRUNC and truncate(2) to 0 zero a volume
    bool poll = false;                // poll(2) works on `events`; slows down io_uring clients
    unsigned park_seconds = 0;        // park_timeout=: then a parked request fails with EIO; 0: never
    uint64_t space_ahead = 64 << 20;  // bytes: room that a COW file gets at a time; 0: only what it uses
    unsigned space_wait = 60;         // seconds: how long writes wait for such room
    bool allow_other = false;
    bool allow_root = false;
    bool sync = false;            // a write is answered when it is durable
    bool auto_unmount = false;    // fusermount3 unmounts what a killed daemon leaves
    std::string source = "dmfs";  // fsname=: not of the mount's texts
    bool sloppy = false;          // unknown options are passed over; none by itself

    // One option. Throws Refused, with what there is instead.
    void set(const std::string& name, const std::string& value);
    // All words of an -o argument; a backslash quotes a comma.
    void parse(std::string_view words);
    // What .control/options says: one "name = value" a line.
    std::string text() const;
    Space space() const;
};

}  // namespace dmfs::fs
