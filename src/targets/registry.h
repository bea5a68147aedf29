// The targets there are. A new one is a source here, or a folder, and a line in registry.cc.

#pragma once

#include "engine/target.h"

namespace dmfs {

const TargetRegistry& target_registry();

// Each is defined by its own source.
std::unique_ptr<Target> make_chaos(TargetSetup& setup);
std::unique_ptr<Target> make_error(TargetSetup& setup);
std::unique_ptr<Target> make_linear(TargetSetup& setup);
std::unique_ptr<Target> make_striped(TargetSetup& setup);
std::unique_ptr<Target> make_zero(TargetSetup& setup);

}  // namespace dmfs
