// The end of a run: what was dead answers, all is resumed, looked at, and removed.

#pragma once

#include "sim/control/world.h"

namespace dmfs::sim {

void end(World& world);

}  // namespace dmfs::sim
