// Claim: what a row of snapshot or snapshot-merge is to others with the same COW device, and
// how the Cow is handed over from one to the next (dm-snap.c: "exception handover").
//
//     row A, live       has the Cow
//     row B, loaded     waits: it must not read the store, which A still changes
//
//     B is resumed      A's volume must be suspended; B takes the Cow, A shows nothing any more
//     A is closed       B gets the Cow, and will be resumed with it
//
// B may be the next table of A's own volume, or, for a merge, that of the origin's.
//
// Two rows in all can have the same COW device, the second to wait for the first. A COW
// device of two origins is refused, which the kernel does not see.
//
// A row that has lost the Cow to one that is gone shows nothing any more, nor does the next table in its
// place: its origin has changed unseen.
//
// All functions from any thread.

#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/refused.h"
#include "targets/snapshot/cow.h"

namespace dmfs::snapshot {

class Claim {
  public:
    Claim(Identity origin, Identity device, bool merges)
        : origin_(origin), device_(device), merges_(merges) {}
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    ~Claim();

    // When the table is loaded. EINVAL: somebody waits already, or merges; EBUSY: the COW
    // device is another origin's, or copies are still made there.
    Outcome enter();
    // Whether another row has the Cow.
    bool waits() const;
    // The row has read the store itself.
    void begin(std::shared_ptr<Cow> cow);

    // Before a resume: EINVAL, the Cow cannot change hands now; or nobody else gets it until
    // will_not_resume().
    Outcome may_resume();
    void will_not_resume();
    // At the resume: the Cow is ours now, if it was another's.
    void take_over();
    // At the end: whether a row that waited for it has the Cow now.
    bool hand_over();
    // Nobody waits, and nobody has it.
    void give_up();
    void suspended(bool is);

    // The row's own, or nullptr.
    std::shared_ptr<Cow> cow() const;
    // The row's own, or the one that it waits for.
    std::shared_ptr<Cow> cow_to_be() const;
    // cow(), for requests: it stays as long as they are inside.
    Cow* serving() const { return serving_.load(std::memory_order_acquire); }

  private:
    bool rivals(const Claim& other) const {
        return &other != this && other.device_ == device_ && other.origin_ == origin_;
    }
    Claim* source() const;  // who has the Cow that this waits for, or had it: it is lost then
    Claim* heir() const;    // who waits for this one's
    bool another_merges() const;
    static Outcome merging_already();
    void own(std::shared_ptr<Cow> cow);

    const Identity origin_, device_;
    const bool merges_;
    // Under the mutex of all claims.
    std::shared_ptr<Cow> cow_;
    bool entered_ = false;
    bool gave_up_ = false;  // its Cow went to another, or ended
    bool waits_ = false;
    bool resumed_ = false;  // it was live once
    bool suspended_ = false, resuming_ = false;

    std::atomic<Cow*> serving_{nullptr};
};

}  // namespace dmfs::snapshot
