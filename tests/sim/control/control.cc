// Two controllers beside each other, on the same volumes, from one seed:
//
//     sim_control [--seed N] [--runs N]        prints the seed of each run that fails
//
//     up     linear            over disk
//     disk   linear, or an origin over disk-real, over base, which answers late
//     s0 s1  snapshots of disk, with COW devices that answer late; fork: a copy of up
//     lw     log-writes        with a log that answers late, a new one each time
//     over   linear            over dead, a volume that never answers before the end
//     t u    snapshots of lw's device and of base, made together with one COW device of s0 or s1
//
// Each controller makes, loads, resumes, suspends, replaces, removes, snapshots, merges, drops,
// and is killed, sooner or later: whatever it waits for it has to answer then. In every fourth run
// somebody is at work by hand, too. Clients open the volumes as programs do. In the end what was
// dead answers, all is resumed, and
//
//     nobody waits, and no volume that ever had a table is without one
//     none was suspended but those that somebody suspended, or was told about
//     none was removed while requests were inside
//     disk has what was written, unless a merge was tried
//     each log has all writes that were answered, then its end mark, and nothing behind it
//     no COW device is that of two origins; what was told to be interrupted removes nothing later
//     everything can be removed
//
// It found, in its first form: a fork looked at the table of a volume that was removed while it was
// being suspended. Then: a removal that was killed while it waited for a last close came back.
//
// That it can fail was tried by breaking what it looks at, from seed 1 on; the seeds that found it:
//
//     removal       takes neither the control lock nor the gate                  4
//                   no control lock, but for logs: it crashes                  176
//                   neither, of log-writes alone: writes behind the end mark   127
//                   the lock, but does not wait for those inside                 4
//                   by `state`, cannot be killed                                 2
//                   passes on no cancel within its errand                       68
//     going back    a swap back that does nothing                                4
//                   a resume that is refused stays suspended with the new table 13
//                   a replacement that is refused leaves the new table live      2
//                   what was put under a volume is not taken back                5
//                   a merge that is refused resumes no snapshot                  9
//                   it tries to, and does not say that this was refused         20
//     one COW       a claim does not count while it reads the store              1
//                   nor is it there before it has read it                        1
//
// Who is inside has the volume open, but for copies of a snapshot whose row never was live: they
// go on when its table is gone. So a removal that does not wait shows in COW devices alone.

#include "sim/control/end.h"
#include "sim/control/people.h"
#include "sim/runs.h"

namespace dmfs::sim {
namespace {

void simulate(uint64_t seed) {
    auto whole = new World(seed);  // one that failed is left alone
    World& world = *whole;
    world.merges = world.chance(50);
    for (const char* name : {"base", "base2", "cow0", "cow1", "flaky", "dead", "over", "disk", "lw"})
        if (Outcome outcome = finish(world, make(&world, name, nullptr)); !outcome)
            fail(outcome.why().detail());
    if (!finish(world, world.find("dead")->suspend(false, nullptr))) fail("dead does not die");
    world.may_stay.insert(world.find("dead")->id());
    if (seed % 4 == 0) {
        world.unmade.insert(world.dm->create("hand")->id());
        if (Outcome outcome = finish(world, make(&world, "late", nullptr)); !outcome)
            fail(outcome.why().detail());
        world.executor.spawn(handworker(&world));
    }
    for (int i = 0; i < 2; i++) world.executor.spawn(controller(&world));
    for (const char* name : {"disk", "disk", "disk", "lw", "lw", "s0", "up", "over"})
        world.executor.spawn(client(&world, name));
    for (uint64_t i = 0, steps = 500 + world.upto(3000); i < steps && !world.stop; i++)
        if (!world.executor.step()) fail("everybody waits" + standing(world));
    world.stop = true;
    while (world.at_work > 0)
        if (!world.executor.step()) fail("somebody can't be killed" + standing(world));
    if (!world.failure.empty()) fail(world.failure);
    end(world);
    delete whole;
}

}  // namespace
}  // namespace dmfs::sim

int main(int argc, char** argv) { return dmfs::sim::run_all(argc, argv, "sim_control", dmfs::sim::simulate); }
