// A disk with latency, errors and a volatile cache, whose sectors are numbers.
//
//     sector    kept | newer newer newer      readers see the last one
//                      `-- any of them, or `kept`, is there after a crash
//
// A flush keeps what had been written before it began; a FUA write is kept when it
// is answered. A request is carried out in two steps at different times, so a crash
// may find half of it.

#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/device.h"
#include "sim/executor.h"

namespace dmfs::sim {

// A sector's contents are its number over and over; whatever else is in memory is a fault.
inline void fill(std::byte* data, uint64_t value) {
    for (size_t i = 0; i < kSectorBytes; i += sizeof value) memcpy(data + i, &value, sizeof value);
}

inline bool is_filled(const std::byte* data) {
    return memcmp(data, data + sizeof(uint64_t), kSectorBytes - sizeof(uint64_t)) == 0;
}

inline uint64_t value_in(const std::byte* data) {
    uint64_t value = 0;
    memcpy(&value, data, sizeof value);
    if (!is_filled(data)) throw std::runtime_error("a sector is torn in memory");
    return value;
}

// Sectors of metadata have a number, too, of those that no client writes.
class OtherSectors {
  public:
    static uint64_t number_of(const std::byte* data) {
        std::string bytes(reinterpret_cast<const char*>(data), kSectorBytes);
        auto [known, added] = numbers().try_emplace(bytes, kFirst + all().size());
        if (added) all().push_back(bytes);
        return known->second;
    }
    static bool is(uint64_t number) { return number >= kFirst; }
    static const std::byte* bytes_of(uint64_t number) {
        return reinterpret_cast<const std::byte*>(all()[number - kFirst].data());
    }
    static void forget() {
        numbers().clear();
        all().clear();
    }

  private:
    static constexpr uint64_t kFirst = uint64_t{1} << 62;
    static std::map<std::string, uint64_t>& numbers() {
        static std::map<std::string, uint64_t> map;
        return map;
    }
    static std::deque<std::string>& all() {
        static std::deque<std::string> list;
        return list;
    }
};

struct Faults {
    double errors = 0;       // of requests that fail, half done or not at all
    int64_t latency_ns = 0;  // at most
    bool power = true;
    bool full = false;  // sparse disks get no room for what has none
};

class SimDisk final : public Device {
  public:
    // has_metadata: what is written may be any bytes, not only clients' sectors.
    SimDisk(SimExecutor& executor, Random& random, Faults& faults, std::string name, Sector sectors,
            bool has_metadata = false)
        : executor_(executor),
          random_(random),
          faults_(faults),
          name_(std::move(name)),
          has_metadata_(has_metadata),
          sectors_(sectors) {}

    Task<Status> io(Bio bio) override {
        if (bio.end() > sectors_.size()) throw std::runtime_error("a request beyond the end of " + name_);
        if (!faults_.power) return Task<Status>::ready(Status(EIO));
        if (random_() % 4 == 0 && !strikes() && !faults_.full) {
            takes_room(bio);
            act(bio, 0, bio.count);
            keep(bio, clock_);
            return Task<Status>::ready(kOk);
        }
        return io_later(bio);
    }

    // It has room only where it was written, or room was reserved; `space` says how that is done,
    // unless it cannot be reserved here.
    void make_sparse(Space space, bool can_reserve) {
        has_room_.assign(sectors_.size(), false);
        space_ = space;
        can_reserve_ = can_reserve;
    }
    void make_sparse() {
        if (!has_room_.empty()) has_room_.assign(sectors_.size(), false);
    }
    Space space() const override { return space_; }
    Task<Status> reserve(Sector start, Sector length) override {
        if (start + length > sectors_.size()) throw std::runtime_error("room beyond the end of " + name_);
        if (!can_reserve_) return Task<Status>::ready(Status(EOPNOTSUPP));
        return reserve_later(start, length);
    }

    Sector size() const override { return sectors_.size(); }
    Limits limits() const override {
        Limits limits;
        limits.discard_granularity = 512;
        limits.write_cache = limits.fua = true;
        return limits;
    }
    Extent extent(Sector, Look&) override { return {true, sectors_.size()}; }
    std::string name() const override { return name_; }
    std::optional<DeviceNumber> number() const override { return {}; }

    uint64_t seen(Sector at) const {
        const Contents& contents = sectors_[at];
        return contents.newer.empty() ? contents.kept : contents.newer.back().value;
    }

    // Whatever was there, it is this.
    void put(Sector at, uint64_t value) { sectors_[at] = {value, {}}; }

    // Takes a sector over, with all that it may be after a crash.
    void copy(Sector to, const SimDisk& other, Sector from) {
        Contents contents = other.sectors_[from];
        for (Written& written : contents.newer) written.when = ++clock_;
        sectors_[to] = contents;
    }

    // The power comes back after a crash: each sector is one of those it may be.
    void crash() {
        for (Contents& contents : sectors_) {
            size_t which = random_() % (contents.newer.size() + 1);
            if (which > 0) contents.kept = contents.newer[which - 1].value;
            contents.newer.clear();
        }
    }

  private:
    struct Written {
        uint64_t value;
        uint64_t when;  // on the clock that counts writes
    };
    struct Contents {
        uint64_t kept = 0;
        std::vector<Written> newer;
    };

    uint64_t number_in(const std::byte* data) const {
        return has_metadata_ && !is_filled(data) ? OtherSectors::number_of(data) : value_in(data);
    }

    bool strikes() { return static_cast<double>(random_() % 10000) < faults_.errors * 10000; }

    Task<Status> io_later(Bio bio) {
        uint64_t began = clock_;
        bool fails = strikes();
        Sector half = bio.count == 0 ? 0 : random_() % (bio.count + 1);
        for (int part = 0; part < 2; part++) {
            int64_t latency = static_cast<int64_t>(random_() % static_cast<uint64_t>(faults_.latency_ns + 1));
            Task<Status> pause = sleep_until(executor_, executor_.now_ns() + latency);
            Status slept = co_await pause;
            if (!slept) co_return slept;
            if (!faults_.power) co_return Status(EIO);
            if (fails && random_() % 2 == 0) co_return Status(EIO);
            if (!takes_room(bio)) co_return Status(ENOSPC);
            if (part == 0)
                act(bio, 0, half);
            else
                act(bio, half, bio.count);
        }
        if (fails) co_return Status(EIO);
        keep(bio, began);
        co_return kOk;
    }

    bool takes_room(const Bio& bio) {
        const bool writes = bio.op == Op::write || bio.op == Op::write_zeroes;
        return has_room_.empty() || !writes || take_room(bio.sector, bio.count);
    }
    // All of it, or none.
    bool take_room(Sector start, Sector length) {
        auto from = has_room_.begin() + static_cast<ptrdiff_t>(start),
             end = from + static_cast<ptrdiff_t>(length);
        if (faults_.full && std::find(from, end, false) != end) return false;
        std::fill(from, end, true);
        return true;
    }
    Task<Status> reserve_later(Sector start, Sector length) {
        int64_t latency = static_cast<int64_t>(random_() % static_cast<uint64_t>(faults_.latency_ns + 1));
        Task<Status> pause = sleep_until(executor_, executor_.now_ns() + latency);
        Status slept = co_await pause;
        static_cast<void>(slept);
        co_return take_room(start, length) ? kOk : Status(ENOSPC);
    }

    void act(const Bio& bio, Sector from, Sector end) {
        for (Sector s = from; s < end; s++) {
            std::byte* data = bio.has_data() ? bio.data() + bytes_of(s) : nullptr;
            uint64_t value = bio.op == Op::read ? seen(bio.sector + s)
                             : data != nullptr  ? number_in(data)
                                                : 0;
            if (bio.op != Op::read)
                sectors_[bio.sector + s].newer.push_back({value, ++clock_});
            else if (OtherSectors::is(value))
                memcpy(data, OtherSectors::bytes_of(value), kSectorBytes);
            else
                fill(data, value);
        }
    }

    void keep(const Bio& bio, uint64_t began) {
        if (bio.op == Op::flush)
            for (Contents& contents : sectors_) keep(contents, began);
        if (bio.op == Op::write && bio.fua)
            for (Sector s = 0; s < bio.count; s++) keep(sectors_[bio.sector + s], clock_);
    }

    static void keep(Contents& contents, uint64_t until) {
        size_t count = 0;
        while (count < contents.newer.size() && contents.newer[count].when <= until) count++;
        if (count == 0) return;
        contents.kept = contents.newer[count - 1].value;
        contents.newer.erase(contents.newer.begin(), contents.newer.begin() + static_cast<ptrdiff_t>(count));
    }

    inline static uint64_t clock_ = 0;  // of all disks, so that a copy stays in order

    SimExecutor& executor_;
    Random& random_;
    Faults& faults_;
    const std::string name_;
    const bool has_metadata_;
    std::vector<Contents> sectors_;
    std::vector<bool> has_room_;  // by sector; empty: it is not sparse
    Space space_;
    bool can_reserve_ = false;
};

}  // namespace dmfs::sim
