// delay: requests wait before they go on; reads, writes and flushes may lie on different
// devices.
//
//     delay DEVICE START MS [DEVICE START MS [DEVICE START MS]]
//
//     words   3                 6                       9
//     read    the triple        the first               the first
//     write   the same          the second              the second     (and discard, write zeroes)
//     flush   the same          the second              the third
//
//     sector s of the row   -- MS milliseconds -->   sector START + s of its class's DEVICE
//
// Each request waits for its own time and for no other, so a flush may overtake writes
// that are still held: it says nothing about them, they were not answered. What a crash
// leaves is what the devices keep; a held write was neither answered nor done. A suspend
// lets go of everything.

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "engine/sleepers.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr int64_t kNsOfMs = 1'000'000;
constexpr uint64_t kEndless = uint64_t{1} << 31;  // ms; from here on msecs_to_jiffies means for ever

class Delay final : public Target {
  public:
    explicit Delay(TargetSetup& setup)
        : executor_(setup.executor()),
          length_(setup.length()),
          triples_(setup.words() / 3),
          sleepers_(executor_) {
        for (size_t i = 0; i < 3; i++) {
            size_t at = 3 * std::min(i, triples_ - 1);
            Class& of = classes_[i];
            of.start = setup.sector(at + 1, "start");
            of.ms = setup.number(at + 2, "delay in milliseconds", 0, std::numeric_limits<uint32_t>::max());
            of.device = &setup.device(at, of.start, length_, at + 1);
        }
        setup.holds(sleepers_);
    }

    Task<Status> io(Bio bio) override {
        Class& of = class_of(bio.op);
        if (bio.op != Op::flush) bio.sector += of.start;
        if (of.ms == 0) return of.device->io(bio);
        return hold(bio, &of, of.deadline_from(executor_.now_ns()));
    }

    Flushing flushing() const override { return Flushing::itself; }

    std::string status(StatusKind kind) const override {
        std::string text;
        if (kind == StatusKind::info)
            for (const Class& of : classes_)
                text += (text.empty() ? "" : " ") + std::to_string(of.held.load(std::memory_order_relaxed));
        if (kind == StatusKind::table)
            for (size_t i = 0; i < triples_; i++) text += (text.empty() ? "" : " ") + classes_[i].triple();
        return text;
    }

    Extent extent(Sector at, Look& look) override {
        const Class& read = class_of(Op::read);
        Extent below = read.device->extent(read.start + at, look);
        return {below.data, below.end - read.start};
    }

    void ask_room(Sector at, Sector count, Room& room) const override {
        const Class& write = class_of(Op::write_zeroes);
        write.device->ask_room(write.start + at, count, room);
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        const Class& of = class_of(op);
        std::string note = of.ms == 0 ? "" : "after " + std::to_string(of.ms) + " ms";
        visit(Step{op, at, count, of.device, op == Op::flush ? 0 : of.start + at, std::move(note)});
    }

    void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const override {
        for (const Class* of : {&class_of(Op::read), &class_of(Op::write)}) {
            if (of != &classes_[0] && of->same_place(classes_[0])) continue;
            Sector from = std::max(start, of->start), end = std::min(start + count, of->start + length_);
            if (&device == of->device && from < end) visit(Run{from - of->start, end - from, from});
        }
    }

    void each_device(const DeviceVisitor& visit) const override {
        for (size_t i = 0; i < 3; i++) {
            bool again = false;
            for (size_t before = 0; before < i; before++)
                again = again || classes_[i].same_place(classes_[before]);
            if (!again) visit(*classes_[i].device, classes_[i].start, length_);
        }
    }

  private:
    struct Class {
        Device* device = nullptr;
        Sector start = 0;
        uint64_t ms = 0;
        std::atomic<uint32_t> held{0};

        int64_t deadline_from(int64_t now_ns) const {
            return ms >= kEndless ? Sleepers::kForever : now_ns + static_cast<int64_t>(ms) * kNsOfMs;
        }
        bool same_place(const Class& other) const { return device == other.device && start == other.start; }
        std::string triple() const {
            return quote_word(device->name()) + " " + std::to_string(start) + " " + std::to_string(ms);
        }
    };

    static constexpr size_t index_of(Op op) { return op == Op::read ? 0 : op == Op::flush ? 2 : 1; }
    Class& class_of(Op op) { return classes_[index_of(op)]; }
    const Class& class_of(Op op) const { return classes_[index_of(op)]; }

    Task<Status> hold(Bio bio, Class* of, int64_t deadline_ns) {
        of->held.fetch_add(1, std::memory_order_relaxed);
        Task<Status> sleeping = sleepers_.sleep(deadline_ns, bio.cancel);
        Status status = co_await sleeping;
        of->held.fetch_sub(1, std::memory_order_relaxed);
        if (!status) co_return status;
        Task<Status> passing = of->device->io(bio);
        status = co_await passing;
        co_return status;
    }

    Executor& executor_;
    const Sector length_;
    const size_t triples_;
    Class classes_[3];  // read, write, flush
    Sleepers sleepers_;
};

}  // namespace

std::unique_ptr<Target> make_delay(TargetSetup& setup) {
    constexpr std::string_view usage =
        "delay DEVICE START MS, for writes and for flushes likewise: 3, 6 or 9 arguments";
    size_t words = setup.words();
    if (words != 3 && words != 6 && words != 9)
        throw setup.refuse(
            std::min<size_t>(words / 3 * 3, 9),
            std::to_string(words) + (words == 1 ? " argument" : " arguments") + ", not 3, 6 or 9",
            std::string(usage));
    return std::make_unique<Delay>(setup);
}

}  // namespace dmfs
