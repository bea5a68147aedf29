// The rules of a row while it runs. Requests look at a list that never changes and
// take no mutex; who adds or removes a rule puts another list in its place.
//
//     current ---> [ dead | torn | slow ]        requests look here
//     add        > [ dead | torn | slow | new ]  then waits until nobody looks at the old
//
// To look takes one atomic addition and one subtraction, and waits for nothing.

#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "targets/chaos/draw.h"
#include "targets/chaos/mask.h"
#include "targets/chaos/rule.h"
#include "targets/chaos/sectors.h"

namespace dmfs::chaos {

// A rule and what has become of it.
class LiveRule {
  public:
    // `group`: of the Sleepers that it holds; another for each rule there ever was.
    LiveRule(Rule what, uint64_t its_seed, uint64_t its_group, std::shared_ptr<MaskShare> mask);

    const Rule rule;
    const uint64_t seed;
    const Draw draw;
    const uint64_t group;

    // The operation is one of its own, and a sector.
    bool may_touch(const Bio& bio) const { return (rule.ops & bit_of(bio.op)) != 0 && touches(bio); }
    // It has a say in this request.
    bool concerns(const Bio& bio) const { return may_touch(bio) && armed.load(std::memory_order_acquire); }
    // Reads of its sectors may fail now, or give something else than is there.
    bool spoils_reads() const {
        return rule.decides() && (rule.ops & bit_of(Op::read)) != 0 &&
               armed.load(std::memory_order_acquire) &&
               (rule.times == 0 || fired.load(std::memory_order_relaxed) < rule.times);
    }
    // It remembers something of what this request writes.
    bool remembers(const Bio& bio) const;

    // One more request that it concerns: its number, from 1 on.
    uint64_t look() { return looked.fetch_add(1, std::memory_order_relaxed) + 1; }
    // Whether request `number` is one for which it fires.
    bool triggered(uint64_t number, const Bio& bio) const;
    // Takes one of its times, and the chunks in its mask; false if there is none left, or
    // they are another's.
    bool take(const Bio& bio, const std::vector<Mask::Range>& ranges);

    // The sectors of the request that are its own.
    Mask::Range own(const Bio& bio) const;
    // latent: the first bad sector of the request, or its end.
    Sector first_bad(const Bio& bio) const;

    std::atomic<uint64_t> looked{0};
    std::atomic<uint64_t> fired{0};
    std::atomic<uint64_t> held{0};  // hang, slow: now
    std::atomic<bool> armed;        // its mark was made, or it waits for none
    std::atomic<bool> removed{false};
    Past past;          // stale
    Repaired repaired;  // latent

  private:
    bool touches(const Bio& bio) const {
        if (bio.op == Op::flush) return rule.everywhere && rule.mask.empty();
        return rule.everywhere || (bio.sector < rule.end && rule.from < bio.end());
    }

    std::shared_ptr<MaskShare> mask_;
};

using RuleList = std::vector<std::shared_ptr<LiveRule>>;

class Rules {
  public:
    static constexpr size_t kMostRules = 64;

    explicit Rules(uint64_t seed) : seed_(seed) {}
    Rules(const Rules&) = delete;
    Rules& operator=(const Rules&) = delete;

    // As long as it lives the list does too. Nothing in it may wait.
    class Reading {
      public:
        explicit Reading(Rules& rules) : rules_(rules) {
            rules_.readers_.fetch_add(1);
            list_ = rules_.current_.load();
        }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;
        ~Reading() { rules_.readers_.fetch_sub(1); }
        const RuleList& list() const { return *list_; }

      private:
        Rules& rules_;
        const RuleList* list_;
    };
    friend class Reading;

    // The rules there are now, in their order. The caller may wait with it.
    std::shared_ptr<const RuleList> list() const;
    uint64_t seed() const { return seed_.load(std::memory_order_relaxed); }

    // Throws Refused: the name is taken, there are too many, the mask does not fit.
    void add(Rule rule);
    // The rule that was removed; nullptr if there is none of that name.
    std::shared_ptr<LiveRule> remove(const std::string& name);
    // Those that were removed.
    std::shared_ptr<const RuleList> clear();
    // All rules anew, from another seed.
    std::shared_ptr<const RuleList> restart(uint64_t seed);

  private:
    std::shared_ptr<MaskShare> share(const Rule& rule);
    std::shared_ptr<LiveRule> make(Rule rule);
    void publish(RuleList list);

    std::atomic<uint64_t> seed_;
    std::atomic<uint64_t> readers_{0};

    mutable std::mutex mutex_;  // of those who change the list, and of the members below
    std::shared_ptr<const RuleList> kept_ = std::make_shared<const RuleList>();
    std::atomic<const RuleList*> current_{kept_.get()};
    uint64_t next_group_ = 1;
    // Kept until the row goes, also when no rule uses them any more.
    std::vector<std::shared_ptr<MaskShare>> masks_;
};

}  // namespace dmfs::chaos
