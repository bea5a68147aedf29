// Who is at work in sim_control, until World::stop: each counts in World::at_work meanwhile.

#pragma once

#include "sim/control/world.h"

namespace dmfs::sim {

// Makes the volume with the table it has in the beginning; lw with a new log.
Task<Outcome> make(World* world, std::string name, Cancel* cancel);

// Any operation at any volume.
Task<Status> controller(World* world);
// Makes a snapshot of two rows, whose second is refused, and takes the COW device of the first away,
// where copies are still made that nobody waits for. Asks for a merge while another is loaded, so
// that it is refused, and the snapshot cannot go on.
Task<Status> handworker(World* world);
// Reads and writes, as a program that opens the volume.
Task<Status> client(World* world, std::string name);

}  // namespace dmfs::sim
