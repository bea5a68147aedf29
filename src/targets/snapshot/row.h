// What snapshot and snapshot-merge have in common: their table line, their COW device, their
// texts.
//
//     snapshot ORIGIN COW P|PO|N CHUNK [COUNT discard_zeroes_cow discard_passdown_origin]
//
//     P    a persistent store: it outlives the volume       O  somebody sees to an overflow
//     N    nothing is kept
//     CHUNK   sectors; 0 with P: 32
//
// As in the kernel, sector s of the volume is sector s of the origin: a row's start is not
// subtracted.

#pragma once

#include "engine/target.h"
#include "targets/snapshot/claim.h"
#include "targets/snapshot/origin.h"

namespace dmfs::snapshot {

struct Features {
    bool discard_zeroes_cow = false;
    bool discard_passdown_origin = false;

    static Features parse(TargetSetup& setup);
};

struct StoreWords {
    bool persistent = true;
    bool overflow_is_seen_to = false;
    uint32_t chunk_sectors = 0;  // 0: the default

    static StoreWords parse(TargetSetup& setup);
};

class Row : public Target, protected Lifecycle {
  public:
    std::string status(StatusKind kind) const override;
    void adjust(Limits& limits) const override;
    Flushing flushing() const override { return Flushing::itself; }
    bool differs() const override;
    Extent extent(Sector at, Look& look) override;
    void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const override;
    void each_device(const DeviceVisitor& visit) const override;
    Lifecycle* lifecycle() override { return this; }

  protected:
    Task<Outcome> prepare(Cancel* cancel) override;
    Task<Outcome> preresume(Cancel* cancel) override;
    void preresume_undo() override { claim_.will_not_resume(); }
    void resume() override;
    void presuspend() override;
    void presuspend_undo() override;
    void postsuspend() override { claim_.suspended(true); }
    Task<Status> close() override;

    Row(TargetSetup& setup, bool merges);
    ~Row() override;
    static std::shared_ptr<Device> open_cow(TargetSetup& setup);

    Bio on_origin(Bio bio) const {
        bio.sector += start_;
        return bio;
    }
    // As the kernel has it: a zeroing comes as writes.
    static constexpr Sector kZeros = 2048;
    virtual bool merge_failed() const { return false; }
    void explain_reads(Op op, Sector at, Sector count, const StepVisitor& visit) const;

    Executor& executor_;
    const bool merges_;
    const Sector start_, length_;
    const Features features_;  // the words, in the order in which the kernel refuses them
    const std::shared_ptr<Device> origin_device_, device_;
    const StoreWords store_words_;
    const std::shared_ptr<Origin> origin_;
    Claim claim_;

  private:
    const Place device_place_, chunk_place_;
    const std::function<void()> raise_event_;
};

}  // namespace dmfs::snapshot
