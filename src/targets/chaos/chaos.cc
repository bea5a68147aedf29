// chaos: a device with faults that have names, live.
//
//     chaos DEVICE START SEED [RULE...]        the rules: rule.h
//
//     request ---> do rules fire? --no--> DEVICE, sector START + s, as linear does it
//                        |
//                       yes: hang, slow    held, and then on
//                            error         fails
//                            torn          a part is written, the rest is not
//                            lost          answered, not done
//                            misdirect     done at another place of the row
//                            stale, flip   what is read (or written) is not what is there
//                            latent        fails until the sector is written
//
// Every rule looks at every request that it concerns and counts it; whether it fires
// depends on that number and the seed alone. All that hold a request hold it, in their
// order; then the first that decides does, and those after it have only looked.
//
// Nothing is reordered. What is kept (previous contents, repaired sectors, counts, who
// owns a chunk of a mask) is in memory and gone with the table, so a crash leaves what
// was written below, whatever was answered.

#include <algorithm>
#include <cstring>
#include <set>

#include "base/log.h"
#include "engine/sleepers.h"
#include "parts/one_device.h"
#include "targets/chaos/journal.h"
#include "targets/chaos/rules.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

using namespace chaos;

// A rule that fires for a request: the `number`th that it looked at.
struct Firing {
    std::shared_ptr<LiveRule> live;
    uint64_t number = 0;

    const Rule& rule() const { return live->rule; }
};

struct Verdict {
    std::vector<Firing> holds;  // hang and slow, in their order
    Firing fault;               // what decides; none: live is null
    RuleList keepers;           // rules that remember what is written

    bool nothing() const { return holds.empty() && fault.live == nullptr && keepers.empty(); }
};

class Chaos final : public OneDevice {
  public:
    explicit Chaos(TargetSetup& setup)
        : OneDevice(setup, 0),
          executor_(setup.executor()),
          raise_event_(setup.raise_event()),
          block_(std::max<Sector>(1, device().limits().logical_block / kSectorBytes)),
          rules_(setup.number(2, "seed", 0, UINT64_MAX)),
          sleepers_(executor_) {
        setup.holds(sleepers_);
        for (size_t i = 3; i < setup.words(); i++) {
            try {
                rules_.add(parse_rule(setup.word(i), ground()));
            } catch (const Refused& refused) {
                const Place& place = refused.place();
                if (place.length == 0)
                    throw setup.refuse(i, refused.reason(), refused.remedy(), refused.error());
                throw setup.refuse_part(i, place.column, place.length, refused.reason(), refused.remedy());
            }
        }
    }

    Task<Status> io(Bio bio) override {
        Verdict verdict = judge(bio);
        if (verdict.nothing()) return device().io(below(bio));
        report(verdict, bio);
        return act(bio, std::move(verdict));
    }

    std::string status(StatusKind kind) const override;
    std::string message(const std::vector<Word>& words) override;

    // A rule may be one for flushes.
    Flushing flushing() const override { return Flushing::itself; }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        Bio bio;
        bio.op = op;
        bio.sector = at;
        bio.count = count;
        std::string names;
        for (const std::shared_ptr<LiveRule>& live : *rules_.list())
            if (live->may_touch(bio)) names += (names.empty() ? "rules: " : ", ") + live->rule.name;
        visit(Step{op, at, count, &device(), op == Op::flush ? 0 : start() + at, names});
    }

    // Whoever copies the volume shall meet what a rule does to reads.
    bool differs() const override {
        const std::shared_ptr<const RuleList> rules = rules_.list();
        return std::any_of(rules->begin(), rules->end(),
                           [](const std::shared_ptr<LiveRule>& live) { return live->spoils_reads(); });
    }
    Extent extent(Sector at, Look& look) override {
        const std::shared_ptr<const RuleList> rules = rules_.list();
        Sector clean_end = length();
        for (const std::shared_ptr<LiveRule>& live : *rules) {
            const Rule& rule = live->rule;
            if (!live->spoils_reads()) continue;
            if (rule.everywhere) return {true, length()};
            if (rule.from <= at && at < rule.end) return {true, rule.end};
            if (rule.from > at) clean_end = std::min(clean_end, rule.from);
        }
        Extent below = device().extent(start() + at, look);
        return {below.data, std::min(below.end - start(), clean_end)};
    }

  private:
    // A flush has no place.
    RuleGround ground() const { return {length(), block_}; }

    // What the rules have to say to a request. In most cases it is a few comparisons.
    Verdict judge(const Bio& bio) {
        Verdict verdict;
        Rules::Reading reading(rules_);
        for (const std::shared_ptr<LiveRule>& live : reading.list()) {
            if (live->remembers(bio)) verdict.keepers.push_back(live);
            if (!live->concerns(bio)) continue;
            Firing firing{live, live->look()};
            if (live->rule.decides() && verdict.fault.live != nullptr) continue;
            if (!live->triggered(firing.number, bio)) continue;
            std::vector<Mask::Range> ranges = hurt(firing, bio);
            if (ranges.empty() || !live->take(bio, ranges)) continue;
            if (live->rule.decides())
                verdict.fault = std::move(firing);
            else
                verdict.holds.push_back(std::move(firing));
        }
        if (verdict.fault.live != nullptr && verdict.fault.rule().fault == Fault::misdirect) {
            Bio moved = bio;
            moved.sector = astray(verdict.fault, bio);
            verdict.keepers.clear();
            for (const std::shared_ptr<LiveRule>& live : reading.list())
                if (live->remembers(moved)) verdict.keepers.push_back(live);
        }
        return verdict;
    }

    // Where the row is hurt if this fires; nowhere: it can't.
    std::vector<Mask::Range> hurt(const Firing& firing, const Bio& bio) const {
        std::vector<Mask::Range> ranges{{bio.sector, bio.end()}};
        if (firing.rule().fault == Fault::misdirect) {
            Sector to = astray(firing, bio);
            if (to == bio.sector) return {};
            ranges.push_back({to, to + bio.count});
        }
        return ranges;
    }

    Task<Status> act(Bio bio, Verdict verdict) {
        for (Firing& firing : verdict.holds) {
            Task<Status> holding = hold(firing.live, bio.cancel);
            Status status = co_await holding;
            if (!status) co_return status;
        }
        Task<Status> doing =
            verdict.fault.live == nullptr ? send(bio, verdict.keepers) : suffer(bio, verdict);
        Status status = co_await doing;
        co_return status;
    }

    Task<Status> suffer(Bio bio, const Verdict& verdict) {
        const Firing& firing = verdict.fault;
        switch (firing.rule().fault) {
            case Fault::error:
                return Task<Status>::ready(Status(firing.rule().error));
            case Fault::latent:
                return Task<Status>::ready(Status(EIO));
            case Fault::lost:
                return Task<Status>::ready(kOk);
            case Fault::torn:
                return tear(bio, firing, verdict.keepers);
            case Fault::misdirect:
                bio.sector = astray(firing, bio);
                return send(bio, verdict.keepers);
            case Fault::stale:
                return read_stale(bio, firing);
            case Fault::flip:
                return bio.op == Op::read ? read_flipped(bio, firing)
                                          : write_flipped(bio, firing, verdict.keepers);
            default:
                return send(bio, verdict.keepers);
        }
    }

    // Until its time is over, the rule is removed, the volume is suspended, or the process
    // that waits is killed.
    Task<Status> hold(std::shared_ptr<LiveRule> live, Cancel* cancel) {
        int64_t until =
            live->rule.fault == Fault::hang ? Sleepers::kForever : executor_.now_ns() + live->rule.delay_ns;
        live->held.fetch_add(1, std::memory_order_relaxed);
        Task<Status> sleeping = sleepers_.sleep(until, cancel, live->group);
        sleeping.start();
        // Who removed the rule before that did not find this one asleep.
        if (live->removed.load()) sleepers_.let_go(live->group);
        Status status = co_await sleeping;
        live->held.fetch_sub(1, std::memory_order_relaxed);
        co_return status;
    }

    // Does a request below. Rules that remember hear what it changes.
    Task<Status> send(Bio bio, const RuleList& keepers) {
        if (keepers.empty()) return device().io(below(bio));
        return send_and_remember(bio, keepers);
    }
    Task<Status> send_and_remember(Bio bio, RuleList keepers) {
        bool wanted = false;  // the previous contents
        if (bio.op == Op::write)
            for (const auto& live : keepers) wanted = wanted || live->rule.fault == Fault::stale;
        Memory old(wanted ? bio.bytes() : 0);
        if (wanted) {
            Bio read = bio;
            read.op = Op::read;
            read.fua = false;
            read.memory = &old;
            read.offset = 0;
            Task<Status> reading = device().io(below(read));
            Status status = co_await reading;
            wanted = status.good();
        }
        Task<Status> doing = device().io(below(bio));
        Status status = co_await doing;
        if (!status) co_return status;
        for (const auto& live : keepers) {
            if (!live->remembers(bio)) continue;  // torn: the rest was not written
            Mask::Range range = live->own(bio);
            if (live->rule.fault == Fault::latent)
                live->repaired.put(range.from, range.end);
            else if (wanted)
                live->past.put(range.from, range.end - range.from,
                               old.data() + bytes_of(range.from - bio.sector));
            else
                live->past.forget(range.from, range.end);
        }
        co_return status;
    }

    // torn: the sectors of the first part; at least one block, where there are two.
    Sector cut(const Firing& firing, const Bio& bio) const {
        Sector blocks = bio.count / block_;
        return blocks < 2 ? 0 : (1 + firing.live->draw.below(blocks - 1, firing.number, 1)) * block_;
    }
    Task<Status> tear(Bio bio, Firing firing, RuleList keepers) {
        Bio first = bio.part(0, cut(firing, bio));
        if (first.count > 0) {
            Task<Status> writing = send(first, keepers);
            Status status = co_await writing;
            if (!status) co_return status;
        }
        co_return firing.rule().acknowledged ? kOk : Status(EIO);
    }

    // misdirect: where the request goes; where it is, if the row has no room for it.
    Sector astray(const Firing& firing, const Bio& bio) const {
        Sector distance = firing.rule().distance;
        if (bio.end() + distance <= length()) return bio.sector + distance;
        return bio.sector >= distance ? bio.sector - distance : bio.sector;
    }

    Task<Status> read_stale(Bio bio, Firing firing) {
        Task<Status> reading = device().io(below(bio));
        Status status = co_await reading;
        if (!status) co_return status;
        Mask::Range range = firing.live->own(bio);
        firing.live->past.overlay(range.from, range.end - range.from,
                                  bio.data() + bytes_of(range.from - bio.sector));
        co_return kOk;
    }

    // flip: the bits, counted from the beginning of the request.
    std::set<uint64_t> bits(const Firing& firing, const Bio& bio) const {
        Mask::Range range = firing.live->own(bio);
        uint64_t from = bytes_of(range.from - bio.sector) * 8, count = bytes_of(range.end - range.from) * 8;
        std::set<uint64_t> bits;
        for (uint64_t index = 1; bits.size() < firing.rule().bits; index++)
            bits.insert(from + firing.live->draw.below(count, firing.number, index));
        return bits;
    }
    void flip(const Firing& firing, const Bio& bio, std::byte* data) const {
        for (uint64_t bit : bits(firing, bio)) data[bit / 8] ^= std::byte{1} << bit % 8;
    }
    Task<Status> read_flipped(Bio bio, Firing firing) {
        Task<Status> reading = device().io(below(bio));
        Status status = co_await reading;
        if (status) flip(firing, bio, bio.data());
        co_return status;
    }
    Task<Status> write_flipped(Bio bio, Firing firing, RuleList keepers) {
        Memory copy(bio.bytes());
        memcpy(copy.data(), bio.data(), bio.bytes());
        flip(firing, bio, copy.data());
        bio.memory = &copy;
        bio.offset = 0;
        Task<Status> writing = send(bio, keepers);
        Status status = co_await writing;
        co_return status;
    }

    // Telling of it.

    void report(const Verdict& verdict, const Bio& bio) {
        for (const Firing& firing : verdict.holds) report(firing, bio);
        if (verdict.fault.live != nullptr) report(verdict.fault, bio);
    }
    void report(const Firing& firing, const Bio& bio) {
        std::string text = firing.rule().name + " " + std::string(fault_name(firing.rule().fault)) + " " +
                           std::string(op_name(bio.op)) + " " + std::to_string(bio.sector) + "+" +
                           std::to_string(bio.count) + " seed=" + std::to_string(firing.live->seed) +
                           " n=" + std::to_string(firing.number) + detail(firing, bio);
        fired_.fetch_add(1, std::memory_order_relaxed);
        journal_.add(text);
        log_line(Severity::warning, "chaos on " + device().name() + ": " + text);
        raise_event_();
    }
    std::string detail(const Firing& firing, const Bio& bio) const {
        switch (firing.rule().fault) {
            case Fault::error:
                return " " + std::string(error_name(firing.rule().error));
            case Fault::torn:
                return " written=" + std::to_string(cut(firing, bio));
            case Fault::misdirect:
                return " to=" + std::to_string(astray(firing, bio));
            case Fault::latent:
                return " bad=" + std::to_string(firing.live->first_bad(bio));
            case Fault::flip: {
                std::string text;
                for (uint64_t bit : bits(firing, bio)) {
                    if (text.size() > 60) return text + ",...";
                    text += (text.empty() ? " bits=" : ",") + std::to_string(bit);
                }
                return text;
            }
            default:
                return {};
        }
    }

    std::string list() const;
    std::string mark(const std::string& name);
    void let_go(const RuleList& gone) {
        for (const std::shared_ptr<LiveRule>& live : gone) sleepers_.let_go(live->group);
    }

    Executor& executor_;
    const std::function<void()> raise_event_;
    const Sector block_;  // the device's, in sectors
    Rules rules_;
    Sleepers sleepers_;
    Journal journal_;
    std::atomic<uint64_t> fired_{0};
};

std::string Chaos::status(StatusKind kind) const {
    std::shared_ptr<const RuleList> rules = rules_.list();
    std::string text;
    switch (kind) {
        case StatusKind::info:
            text =
                std::to_string(rules->size()) + " " + std::to_string(fired_.load(std::memory_order_relaxed));
            for (const std::shared_ptr<LiveRule>& live : *rules)
                text +=
                    " " + live->rule.name + ":" + std::to_string(live->fired.load(std::memory_order_relaxed));
            return text;
        case StatusKind::table:
            text = place() + " " + std::to_string(rules_.seed());
            for (const std::shared_ptr<LiveRule>& live : *rules) text += " " + print_rule(live->rule);
            return text;
        case StatusKind::measure:
            return "device_name=" + quote_word(device().name()) + ",start=" + std::to_string(start()) +
                   ",seed=" + std::to_string(rules_.seed()) + ",rules=" + std::to_string(rules->size()) + ";";
    }
    return text;
}

std::string Chaos::list() const {
    std::string text;
    for (const std::shared_ptr<LiveRule>& live : *rules_.list()) {
        text += print_rule(live->rule) + " looked=" + std::to_string(live->looked.load()) +
                " fired=" + std::to_string(live->fired.load());
        if (!live->rule.decides()) text += " held=" + std::to_string(live->held.load());
        if (!live->armed.load()) text += " waits for mark " + live->rule.after;
        text += "\n";
    }
    return text;
}

std::string Chaos::mark(const std::string& name) {
    size_t armed = 0;
    for (const std::shared_ptr<LiveRule>& live : *rules_.list())
        if (live->rule.after == name && !live->armed.exchange(true)) armed++;
    journal_.add("mark " + name);
    return std::to_string(armed) + (armed == 1 ? " rule" : " rules") + " waited for it\n";
}

std::string Chaos::message(const std::vector<Word>& words) {
    struct Verb {
        std::string_view name, argument;
        size_t least, most;  // words after it
    };
    static constexpr Verb kVerbs[] = {{"add", "RULE", 1, 1},    {"remove", "NAME", 1, 1}, {"list", "", 0, 0},
                                      {"mark", "NAME", 1, 1},   {"clear", "", 0, 0},      {"log", "", 0, 0},
                                      {"reset", "[SEED]", 0, 1}};
    std::string usage;
    const Verb* verb = nullptr;
    for (const Verb& each : kVerbs) {
        usage += (usage.empty() ? "" : ", ") + std::string(each.name) + (each.argument.empty() ? "" : " ") +
                 std::string(each.argument);
        if (each.name == words[0].text) verb = &each;
    }
    if (verb == nullptr) throw Refused(EINVAL, "unknown message '" + words[0].text + "'", usage);
    if (words.size() - 1 < verb->least || words.size() - 1 > verb->most)
        throw Refused(EINVAL, std::to_string(words.size() - 1) + " words behind " + words[0].text,
                      std::string(verb->name) + " " + std::string(verb->argument));
    const std::string argument = words.size() > 1 ? words[1].text : "";

    if (verb->name == "add") {
        try {
            rules_.add(parse_rule(argument, ground()));
        } catch (const Refused& refused) {
            Place place{"message", 1, argument, refused.place().column, refused.place().length};
            throw Refused(refused.error(), refused.reason(), refused.remedy()).at(place);
        }
    } else if (verb->name == "remove") {
        std::shared_ptr<LiveRule> gone = rules_.remove(argument);
        if (!gone) throw Refused(ENOENT, "no rule '" + argument + "'", "the message list shows the rules");
        let_go({gone});
    } else if (verb->name == "list") {
        return list();
    } else if (verb->name == "mark") {
        if (!good_name(argument)) throw Refused(EINVAL, "'" + argument + "' is no name of a mark", "mark go");
        return mark(argument);
    } else if (verb->name == "clear") {
        let_go(*rules_.clear());
    } else if (verb->name == "log") {
        return journal_.text();
    } else {
        std::optional<uint64_t> seed = argument.empty() ? rules_.seed() : parse_decimal(argument);
        if (!seed) throw Refused(EINVAL, "'" + argument + "' is no seed", "reset, or reset NUMBER");
        let_go(*rules_.restart(*seed));
        fired_.store(0, std::memory_order_relaxed);
        journal_.clear();
    }
    return {};
}

}  // namespace

std::unique_ptr<Target> make_chaos(TargetSetup& setup) {
    setup.need_at_least(3, "chaos DEVICE START SEED [RULE...]");
    return std::make_unique<Chaos>(setup);
}

}  // namespace dmfs
