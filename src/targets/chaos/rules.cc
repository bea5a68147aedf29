#include "targets/chaos/rules.h"

#include <algorithm>
#include <thread>

namespace dmfs::chaos {

LiveRule::LiveRule(Rule what, uint64_t its_seed, uint64_t its_group, std::shared_ptr<MaskShare> mask)
    : rule(std::move(what)),
      seed(its_seed),
      draw(seed, rule.name),
      group(its_group),
      armed(rule.after.empty()),
      mask_(std::move(mask)) {}

bool LiveRule::remembers(const Bio& bio) const {
    if (rule.fault != Fault::stale && rule.fault != Fault::latent) return false;
    bool repairs = bio.op == Op::write || bio.op == Op::write_zeroes;
    if (!repairs && (bio.op != Op::discard || rule.fault == Fault::latent)) return false;
    // What was repaired before its mark was not bad yet.
    if (rule.fault == Fault::latent && !armed.load(std::memory_order_acquire)) return false;
    return touches(bio);
}

bool LiveRule::triggered(uint64_t number, const Bio& bio) const {
    switch (rule.fault) {
        case Fault::latent:
            return first_bad(bio) != bio.end();
        case Fault::stale: {
            Mask::Range range = own(bio);
            if (!past.has(range.from, range.end)) return false;
            break;
        }
        default:
            break;
    }
    if (number < rule.since) return false;
    if (rule.nth != 0 && number != rule.nth) return false;
    if (rule.every != 0 && number % rule.every != 0) return false;
    return draw.below(Rule::kBillion, number, 0) < rule.billionths;
}

bool LiveRule::take(const Bio& bio, const std::vector<Mask::Range>& ranges) {
    uint64_t before = fired.load(std::memory_order_relaxed);
    do {
        if (rule.times != 0 && before >= rule.times) return false;
    } while (!fired.compare_exchange_weak(before, before + 1, std::memory_order_relaxed));
    if (!mask_ || bio.op == Op::flush || mask_->claim(ranges)) return true;
    fired.fetch_sub(1, std::memory_order_relaxed);
    return false;
}

Mask::Range LiveRule::own(const Bio& bio) const {
    if (rule.everywhere) return {bio.sector, bio.end()};
    return {std::max(rule.from, bio.sector), std::min(rule.end, bio.end())};
}

// Sectors are drawn, not requests: what is bad does not depend on who reads it.
Sector LiveRule::first_bad(const Bio& bio) const {
    Mask::Range range = own(bio);
    for (Sector sector = range.from; sector < range.end; sector++)
        if (draw.below(Rule::kBillion, sector, 0) < rule.billionths && !repaired.has(sector)) return sector;
    return bio.end();
}

void Rules::add(Rule rule) {
    std::lock_guard guard(mutex_);
    for (const std::shared_ptr<LiveRule>& live : *kept_)
        if (live->rule.name == rule.name)
            throw Refused(EEXIST, "there is a rule '" + rule.name + "' already",
                          "another name, or remove it first");
    if (kept_->size() == kMostRules)
        throw Refused(ENOSPC, "there are " + std::to_string(kMostRules) + " rules already",
                      "remove one first");
    RuleList list = *kept_;
    list.push_back(make(std::move(rule)));
    publish(std::move(list));
}

std::shared_ptr<LiveRule> Rules::make(Rule rule) {
    std::shared_ptr<MaskShare> mask = rule.mask.empty() ? nullptr : share(rule);
    return std::make_shared<LiveRule>(std::move(rule), seed(), next_group_++, std::move(mask));
}

// One for the whole row: its rules do not keep one another away.
std::shared_ptr<MaskShare> Rules::share(const Rule& rule) {
    std::shared_ptr<Mask> mask = Mask::open(rule.mask, rule.mask_chunk);
    for (const std::shared_ptr<MaskShare>& known : masks_)
        if (known->name() == rule.mask) return known;
    masks_.push_back(std::make_shared<MaskShare>(std::move(mask), rule.mask));
    return masks_.back();
}

std::shared_ptr<LiveRule> Rules::remove(const std::string& name) {
    std::lock_guard guard(mutex_);
    RuleList list = *kept_;
    auto found = std::find_if(list.begin(), list.end(),
                              [&](const std::shared_ptr<LiveRule>& live) { return live->rule.name == name; });
    if (found == list.end()) return nullptr;
    std::shared_ptr<LiveRule> gone = *found;
    list.erase(found);
    publish(std::move(list));
    gone->removed.store(true);
    return gone;
}

std::shared_ptr<const RuleList> Rules::clear() {
    std::lock_guard guard(mutex_);
    std::shared_ptr<const RuleList> gone = kept_;
    publish({});
    for (const std::shared_ptr<LiveRule>& live : *gone) live->removed.store(true);
    return gone;
}

std::shared_ptr<const RuleList> Rules::restart(uint64_t seed) {
    std::lock_guard guard(mutex_);
    std::shared_ptr<const RuleList> gone = kept_;
    seed_.store(seed, std::memory_order_relaxed);
    RuleList list;
    for (const std::shared_ptr<LiveRule>& live : *gone) list.push_back(make(live->rule));
    publish(std::move(list));
    for (const std::shared_ptr<LiveRule>& live : *gone) live->removed.store(true);
    return gone;
}

// Under the mutex. Who looks at the list takes a few hundred instructions; when nobody
// does for a moment, nobody can have the old one any more.
void Rules::publish(RuleList list) {
    auto fresh = std::make_shared<const RuleList>(std::move(list));
    current_.store(fresh.get());
    while (readers_.load() != 0) std::this_thread::yield();
    kept_ = std::move(fresh);
}

std::shared_ptr<const RuleList> Rules::list() const {
    std::lock_guard guard(mutex_);
    return kept_;
}

}  // namespace dmfs::chaos
