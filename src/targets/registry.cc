#include "targets/registry.h"

namespace dmfs {

// Versions as Linux 6.12 counts them; in the order `dmsetup targets` prints.
const TargetRegistry& target_registry() {
    static const std::vector<TargetType> types = {
        {"zero", {1, 2, 0}, make_zero},     {"striped", {1, 6, 0}, make_striped},
        {"linear", {1, 4, 0}, make_linear}, {"error", {1, 7, 0}, make_error},
        {"chaos", {1, 0, 0}, make_chaos},  // ours: no kernel has it
    };
    static const TargetRegistry registry{types};
    return registry;
}

}  // namespace dmfs
