// flakey: a device that works for some seconds and then fails for some, in turn.
//
//     flakey DEVICE START UP DOWN [COUNT FEATURE...]
//
//     seconds since the table was made     0        UP     UP+DOWN
//                                          |-- up --|-down-|-- up --|-down-| ...
//
//     sector s of the row   ->   sector START + s of DEVICE
//
//     while down            reads                 writes, discards      flushes
//       (no feature)        fail                  fail                  fail
//       error_reads         fail                  pass                  pass
//       error_writes        pass                  fail                  fail
//       drop_writes         pass                  vanish                vanish
//       corrupt_bio_byte r  one byte differs      pass                  pass
//       corrupt_bio_byte w  pass                  one byte differs      pass
//       random_..._corrupt  the same, with a probability, at a random byte
//
// Up, it is linear: nothing is kept and nothing reordered. A write that vanishes was
// answered, and so was a flush after it: what a crash leaves is what a disk leaves
// that lies. Corrupted writes are copies; the caller's memory stays as it is.

#include <strings.h>

#include <cstring>
#include <limits>
#include <random>

#include "parts/feature_words.h"
#include "parts/one_device.h"
#include "parts/pieces.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr int64_t kNsOfSecond = 1'000'000'000;
constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
constexpr uint32_t kCertain = 1'000'000'000;  // a probability of 1
constexpr uint64_t kMostFeatureWords = 11;
constexpr Sector kZeroPiece = 2048;  // sectors of zeros in one write, as the block layer cuts them

struct Settings {
    uint32_t up_s = 0, down_s = 0;
    bool error_reads = false, error_writes = false, drop_writes = false;
    uint32_t byte = 0;  // which byte of a request is replaced, from 1; 0: none
    Op byte_of = Op::read;
    uint8_t value = 0;
    uint32_t flags = 0;  // only of requests that carry all of these
    uint32_t random_reads = 0, random_writes = 0;

    bool corrupts(Op op) const {
        return (byte != 0 && byte_of == op) || (op == Op::read ? random_reads : random_writes) != 0;
    }
    bool nothing() const {
        return !error_reads && !error_writes && !drop_writes && byte == 0 && random_reads == 0 &&
               random_writes == 0;
    }
    std::string words() const {
        int count = error_reads + error_writes + drop_writes + (byte != 0 ? 5 : 0) +
                    (random_reads != 0 ? 2 : 0) + (random_writes != 0 ? 2 : 0);
        std::string text = std::to_string(up_s) + " " + std::to_string(down_s) + " " + std::to_string(count);
        if (error_reads) text += " error_reads";
        if (drop_writes) text += " drop_writes";
        if (error_writes) text += " error_writes";
        if (byte != 0)
            text += " corrupt_bio_byte " + std::to_string(byte) + (byte_of == Op::read ? " r " : " w ") +
                    std::to_string(value) + " " + std::to_string(flags);
        if (random_reads != 0) text += " random_read_corrupt " + std::to_string(random_reads);
        if (random_writes != 0) text += " random_write_corrupt " + std::to_string(random_writes);
        return text;
    }
};

// The kernel's bi_opf of a request, as far as there is such a thing here: that it is a
// write, and that it is to be durable.
uint32_t kernel_flags(const Bio& bio) {
    constexpr uint32_t kWrite = 1, kFua = 1 << 17;  // REQ_OP_WRITE, REQ_FUA
    return (bio.op == Op::write ? kWrite : 0) | (bio.fua ? kFua : 0);
}

std::mt19937_64& dice() {
    thread_local std::mt19937_64 random{std::random_device{}()};
    return random;
}
// True with the probability chance / 10^9.
bool happens(uint32_t chance) { return chance != 0 && dice()() % kCertain < chance; }

class Flakey final : public OneDevice {
  public:
    Flakey(TargetSetup& setup, const Settings& settings)
        : OneDevice(setup, 0),
          executor_(setup.executor()),
          made_ns_(executor_.now_ns()),
          settings_(settings) {}

    Task<Status> io(Bio bio) override {
        bio = below(bio);
        if (!down()) return device().io(bio);
        return bio.op == Op::read ? read_while_down(bio) : change_while_down(bio);
    }

    Flushing flushing() const override {
        return settings_.down_s == 0 ? Flushing::devices : Flushing::itself;
    }

    std::string status(StatusKind kind) const override {
        return kind == StatusKind::table ? place() + " " + settings_.words() : std::string();
    }

    // Also while it is up: it may be down when what is asked for now is read.
    bool differs() const override {
        return settings_.down_s != 0 && (settings_.error_reads || settings_.corrupts(Op::read));
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        bool is_read = op == Op::read;
        bool fails = is_read ? settings_.error_reads : settings_.error_writes;
        if (down() && (fails || (!is_read && settings_.drop_writes))) {
            visit(Step{op, at, count, nullptr, 0, fails ? "down: fails with EIO" : "down: dropped"});
            return;
        }
        bool corrupts = (op == Op::read || op == Op::write) && settings_.corrupts(op);
        visit(Step{op, at, count, &device(), op == Op::flush ? 0 : start() + at,
                   !down()    ? "up"
                   : corrupts ? "down: may be corrupted"
                              : "down"});
    }

  private:
    bool down() const {
        if (settings_.down_s == 0) return false;
        auto seconds = static_cast<uint64_t>((executor_.now_ns() - made_ns_) / kNsOfSecond);
        return seconds % (uint64_t{settings_.up_s} + settings_.down_s) >= settings_.up_s;
    }

    Task<Status> read_while_down(Bio bio) {
        if (settings_.error_reads) return Task<Status>::ready(Status(EIO));
        Task<Status> reading = device().io(bio);
        if (!settings_.corrupts(Op::read)) return reading;
        return read_corrupted(std::move(reading), bio);
    }

    Task<Status> read_corrupted(Task<Status> reading, Bio bio) {
        Status status = co_await reading;
        if (status) corrupt(bio, matches(bio), happens(settings_.random_reads));
        co_return status;
    }

    // Everything that is no read: as the kernel's bio_data_dir() has it, a flush, too.
    Task<Status> change_while_down(Bio bio) {
        if (settings_.drop_writes) return Task<Status>::ready(kOk);
        if (settings_.error_writes) return Task<Status>::ready(Status(EIO));
        // The kernel's flakey takes no zeroing: zeros come as writes, and are corrupted as such.
        if (bio.op == Op::write_zeroes && settings_.corrupts(Op::write))
            return as_writes(this, &Flakey::change_while_down, bio, kZeroPiece, &executor_);
        if (bio.op != Op::write) return device().io(bio);
        bool fixed = matches(bio), random = happens(settings_.random_writes);
        return fixed || random ? write_corrupted(bio, fixed, random) : device().io(bio);
    }

    Task<Status> write_corrupted(Bio bio, bool fixed, bool random) {
        Memory copy(bio.bytes());
        memcpy(copy.data(), bio.data(), bio.bytes());
        bio.memory = &copy;
        bio.offset = 0;
        corrupt(bio, fixed, random);
        Task<Status> writing = device().io(bio);
        Status status = co_await writing;
        co_return status;
    }

    bool matches(const Bio& bio) const {
        return settings_.byte != 0 && settings_.byte_of == bio.op &&
               (kernel_flags(bio) & settings_.flags) == settings_.flags;
    }

    // A byte beyond the end of the request is in no request.
    void corrupt(const Bio& bio, bool fixed, bool random) const {
        if (fixed && settings_.byte <= bio.bytes())
            bio.data()[settings_.byte - 1] = static_cast<std::byte>(settings_.value);
        if (random) bio.data()[dice()() % bio.bytes()] = static_cast<std::byte>(dice()() & 0xff);
    }

    Executor& executor_;
    const int64_t made_ns_;
    const Settings settings_;
};

class Features {
  public:
    Features(TargetSetup& setup, Settings& settings)
        : setup_(setup), settings_(settings), words_(setup, 4, "feature words", kMostFeatureWords) {
        while (words_.next()) feature();
        check_conflicts();
    }

  private:
    void feature() {
        if (words_.is("error_reads")) return set(settings_.error_reads);
        if (words_.is("drop_writes")) return set(settings_.drop_writes);
        if (words_.is("error_writes")) return set(settings_.error_writes);
        if (words_.is("corrupt_bio_byte")) return corrupt_bio_byte();
        if (words_.is("random_read_corrupt")) return chance(settings_.random_reads);
        if (words_.is("random_write_corrupt")) return chance(settings_.random_writes);
        throw words_.unknown(
            "one of error_reads, drop_writes, error_writes, corrupt_bio_byte, "
            "random_read_corrupt, random_write_corrupt");
    }

    void set(bool& feature) {
        if (feature) throw words_.refuse("feature " + words_.name() + " is given twice", "once");
        feature = true;
        if (settings_.drop_writes && settings_.error_writes)
            throw words_.refuse("a write can't both vanish and fail", "one of drop_writes, error_writes");
    }

    void corrupt_bio_byte() {
        constexpr std::string_view usage = "corrupt_bio_byte BYTE r|w VALUE FLAGS, 5 of the feature words";
        words_.need(4, usage);
        settings_.byte = number("byte", 1, kMost);
        direction_ = words_.argument(usage);
        const std::string& direction = setup_.word(direction_);
        const bool writes = strcasecmp(direction.c_str(), "w") == 0;
        if (!writes && strcasecmp(direction.c_str(), "r") != 0)
            throw setup_.refuse(direction_, "'" + direction + "' is no direction", "r or w");
        settings_.byte_of = writes ? Op::write : Op::read;
        settings_.value = static_cast<uint8_t>(number("value of the byte", 0, 255));
        settings_.flags = number("bio flags", 0, kMost);
    }

    void chance(uint32_t& chance) {
        words_.need(1, "a probability, counted in billionths");
        chance = number("probability in billionths", 0, kCertain);
    }

    uint32_t number(const char* what, uint64_t least, uint64_t most) {
        return static_cast<uint32_t>(words_.number(what, least, most));
    }

    void check_conflicts() const {
        bool no_writes = settings_.drop_writes || settings_.error_writes;
        if (no_writes && settings_.byte_of == Op::write)
            throw setup_.refuse(direction_,
                                std::string("no write is left to corrupt beside ") +
                                    (settings_.drop_writes ? "drop_writes" : "error_writes"),
                                "r, or one of the two features");
    }

    TargetSetup& setup_;
    Settings& settings_;
    FeatureWords words_;
    size_t direction_ = 0;  // where corrupt_bio_byte has its r or w
};

}  // namespace

// Words after those announced are passed over, as the kernel does.
std::unique_ptr<Target> make_flakey(TargetSetup& setup) {
    setup.need_at_least(4, "flakey DEVICE START UP DOWN, then the number of feature words and they");
    Settings settings;
    settings.up_s = static_cast<uint32_t>(setup.number(2, "up interval in seconds", 0, kMost));
    settings.down_s = static_cast<uint32_t>(setup.number(3, "down interval in seconds", 0, kMost));
    if (settings.up_s == 0 && settings.down_s == 0)
        throw setup.refuse(2, "both intervals are 0", "an up interval of at least 1 is always up");
    if (settings.down_s > kMost - settings.up_s)
        throw setup.refuse(3, "up and down come to more than " + std::to_string(kMost) + " seconds",
                           "at most " + std::to_string(kMost - settings.up_s));
    Features(setup, settings);
    if (settings.nothing()) settings.error_reads = settings.error_writes = true;
    return std::make_unique<Flakey>(setup, settings);
}

}  // namespace dmfs
