// striped: chunks dealt out to several devices in turn (RAID 0).
//
//     striped STRIPES CHUNK (DEVICE START){STRIPES}
//
//     chunk of the row     0  1  2 | 3  4  5 | 6  7  8      STRIPES = 3
//     leg 0                0         3         6
//     leg 1                   1         4         7
//     leg 2                      2         5         8
//
// Sector s lies in chunk c = s / CHUNK; that is on leg c mod STRIPES, there in the
// leg's chunk c / STRIPES. CHUNK counts sectors and need not be a power of two.
//
// A leg on which a request failed is marked D in the status for as long as the table
// lives, with all others on the same device, and the first failures raise an event. The
// request fails, the leg is used again for the next one.

#include <algorithm>
#include <atomic>
#include <limits>

#include "parts/plus.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr unsigned kEventsOfALeg = 14;  // DM_IO_ERROR_THRESHOLD less one

class Striped final : public Target {
  public:
    explicit Striped(TargetSetup& setup) : raise_event_(setup.raise_event()), length_(setup.length()) {
        constexpr std::string_view usage = "striped STRIPES CHUNK, then DEVICE START for each stripe";
        setup.need_at_least(2, usage);
        uint64_t stripes =
            plus_number(setup, 0, "the number of stripes", 1, std::numeric_limits<uint32_t>::max());
        chunk_ = plus_number(setup, 1, "chunk size", 1, std::numeric_limits<uint32_t>::max());
        if (length_ % stripes != 0)
            throw setup.refuse(0,
                               std::to_string(stripes) + " stripes do not divide the row's " +
                                   std::to_string(length_) + " sectors",
                               "a divisor of " + std::to_string(length_));
        leg_length_ = length_ / stripes;
        if (leg_length_ % chunk_ != 0)
            throw setup.refuse(1,
                               "chunk size " + std::to_string(chunk_) + " does not divide the stripe's " +
                                   std::to_string(leg_length_) + " sectors",
                               "a divisor of " + std::to_string(leg_length_) + divisors_near());
        if (setup.words() != 2 + 2 * stripes)
            throw setup.refuse(
                setup.words() > 2 + 2 * stripes ? 2 + 2 * stripes : setup.words(),
                std::to_string(stripes) + (stripes == 1 ? " stripe wants " : " stripes want ") +
                    std::to_string(2 + 2 * stripes) + " arguments, not " + std::to_string(setup.words()),
                std::string(usage));
        legs_ = std::vector<Leg>(stripes);
        for (size_t i = 0; i < stripes; i++) {
            size_t at = 2 + 2 * i;
            legs_[i].start = setup.sector(at + 1, "start");
            legs_[i].device = &setup.device(at, legs_[i].start, leg_length_, at + 1);
        }
    }

    Task<Status> io(Bio bio) override {
        if (!bio.has_data()) return deal_out(bio);
        Place place = place_of(bio.sector);
        bio.sector = legs_[place.leg].start + place.sector;
        return watched(legs_[place.leg].device->io(bio), place.leg);
    }

    Sector chunk() const override { return chunk_; }

    void adjust(Limits& limits) const override {
        uint64_t bytes = bytes_of(chunk_);
        if (bytes * legs_.size() > std::numeric_limits<uint32_t>::max()) return;
        limits.io_min = static_cast<uint32_t>(bytes);
        limits.io_opt = static_cast<uint32_t>(bytes * legs_.size());
    }

    std::string status(StatusKind kind) const override {
        std::string text = std::to_string(legs_.size());
        if (kind == StatusKind::info) {
            for (const Leg& leg : legs_) text += " " + quote_word(leg.device->name());
            return text + " 1 " + letters();
        }
        if (kind == StatusKind::table) {
            text += " " + std::to_string(chunk_);
            for (const Leg& leg : legs_)
                text += " " + quote_word(leg.device->name()) + " " + std::to_string(leg.start);
            return text;
        }
        text = "stripes=" + text + ",chunk_size=" + std::to_string(chunk_);
        for (size_t i = 0; i < legs_.size(); i++) {
            std::string stripe = ",stripe_" + std::to_string(i);
            text += stripe + "_device_name=" + quote_word(legs_[i].device->name());
            text += stripe + "_physical_start=" + std::to_string(legs_[i].start);
            text += stripe + "_status=" + letters()[i];
        }
        return text + ";";
    }

    // A run goes on over chunks as long as every leg goes on in kind.
    Extent extent(Sector at, Look& look) override {
        Place place = place_of(at);
        // Asked once: what lies below may change between two looks.
        Extent here = legs_[place.leg].device->extent(legs_[place.leg].start + place.sector, look);
        bool data = here.data;
        Sector end = length_;
        for (size_t i = 0; i < legs_.size(); i++) {
            Sector next = share_before(at, i);
            if (next >= leg_length_) continue;
            Extent below = i == place.leg ? here : legs_[i].device->extent(legs_[i].start + next, look);
            if (below.data == data) next = std::min(below.end - legs_[i].start, leg_length_);
            end = std::min(end, sector_of(i, next));
        }
        return {data, end};
    }

    void ask_room(Sector at, Sector count, Room& room) const override {
        for (size_t i = 0; i < legs_.size(); i++) {
            Sector from = share_before(at, i), end = share_before(at + count, i);
            if (from < end) legs_[i].device->ask_room(legs_[i].start + from, end - from, room);
        }
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op == Op::flush)
            for (const Leg& leg : legs_) visit(Step{op, 0, 0, leg.device, 0, {}});
        for (Sector end = at + count; at < end;) {
            Place place = place_of(at);
            Sector piece = std::min(end - at, chunk_ - at % chunk_);
            visit(Step{op, at, piece, legs_[place.leg].device, legs_[place.leg].start + place.sector,
                       "chunk " + std::to_string(at / chunk_) + ", stripe " + std::to_string(place.leg)});
            at += piece;
        }
    }

    void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const override {
        for (size_t i = 0; i < legs_.size(); i++) {
            if (legs_[i].device != &device) continue;
            Sector from = std::max(start, legs_[i].start);
            Sector end = std::min(start + count, legs_[i].start + leg_length_);
            while (from < end) {
                Sector at = from - legs_[i].start;
                Sector piece = std::min(end - from, chunk_ - at % chunk_);
                visit(Run{sector_of(i, at), piece, from});
                from += piece;
            }
        }
    }

    void each_device(const DeviceVisitor& visit) const override {
        for (const Leg& leg : legs_) visit(*leg.device, leg.start, leg_length_);
    }

  private:
    struct Leg {
        Device* device = nullptr;
        Sector start = 0;
        std::atomic<unsigned> failures{0};

        Leg() = default;
        Leg(const Leg& other) : device(other.device), start(other.start) {}
    };
    struct Place {
        size_t leg;
        Sector sector;  // of the leg, from its start
    };

    Place place_of(Sector sector) const {
        Sector chunk = sector / chunk_;
        return {static_cast<size_t>(chunk % legs_.size()), chunk / legs_.size() * chunk_ + sector % chunk_};
    }

    // place_of() backwards.
    Sector sector_of(size_t leg, Sector sector) const {
        return (sector / chunk_ * legs_.size() + leg) * chunk_ + sector % chunk_;
    }

    // How many sectors of leg `leg` lie in front of sector `sector` of the row.
    Sector share_before(Sector sector, size_t leg) const {
        Sector chunk = sector / chunk_;
        Sector whole = chunk / legs_.size() * chunk_;
        size_t last = static_cast<size_t>(chunk % legs_.size());
        if (leg < last) return whole + chunk_;
        if (leg == last) return whole + sector % chunk_;
        return whole;
    }

    // A discard or a zeroing of any length: one request for each leg's share.
    Task<Status> deal_out(Bio bio) {
        std::vector<Task<Status>> shares;
        for (size_t leg = 0; leg < legs_.size(); leg++) {
            Sector from = share_before(bio.sector, leg), end = share_before(bio.end(), leg);
            if (from == end) continue;
            Bio share = bio;
            share.sector = legs_[leg].start + from;
            share.count = end - from;
            share.one_of_many = true;
            shares.push_back(watched(legs_[leg].device->io(share), leg));
        }
        return all(std::move(shares));
    }

    // The same answer, and a failure of the leg noted.
    Task<Status> watched(Task<Status> task, size_t leg) {
        if (!task.is_ready()) return watch(std::move(task), leg);
        Status status = std::move(task).value();
        note(status, leg);
        return Task<Status>::ready(status);
    }
    Task<Status> watch(Task<Status> task, size_t leg) {
        Status status = co_await task;
        note(status, leg);
        co_return status;
    }
    void note(Status status, size_t leg) {
        if (status || status.error() == EOPNOTSUPP || status.error() == EINTR) return;
        const Identity device = legs_[leg].device->identity();
        bool tell = false;
        for (Leg& each : legs_)
            if (each.device->identity() == device)
                tell |= each.failures.fetch_add(1, std::memory_order_relaxed) < kEventsOfALeg;
        if (tell) raise_event_();
    }

    std::string letters() const {
        std::string letters;
        for (const Leg& leg : legs_) letters += leg.failures.load(std::memory_order_relaxed) == 0 ? 'A' : 'D';
        return letters;
    }

    // ", such as 96 or 128": the nearest that would do.
    std::string divisors_near() const {
        std::string near;
        for (Sector smaller = std::min(chunk_, leg_length_), tried = 0; smaller > 0 && tried < 4096;
             smaller--, tried++)
            if (leg_length_ % smaller == 0) {
                near = ", such as " + std::to_string(smaller);
                break;
            }
        for (Sector larger = chunk_ + 1, tried = 0; !near.empty() && larger <= leg_length_ && tried < 4096;
             larger++, tried++)
            if (leg_length_ % larger == 0) return near + " or " + std::to_string(larger);
        return near;
    }

    std::function<void()> raise_event_;
    Sector length_;
    Sector chunk_ = 0;
    Sector leg_length_ = 0;
    std::vector<Leg> legs_;
};

}  // namespace

std::unique_ptr<Target> make_striped(TargetSetup& setup) { return std::make_unique<Striped>(setup); }

}  // namespace dmfs
