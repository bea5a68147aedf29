#include "targets/registry.h"

namespace dmfs {

// Versions as Linux 6.12 counts them; in the order `dmsetup targets` prints.
const TargetRegistry& target_registry() {
    // One a line, which tests/complete reads.
    // clang-format off
    static const std::vector<TargetType> types = {
        {"dust", {1, 0, 0}, make_dust},
        {"ebs", {1, 0, 1}, make_ebs},
        {"switch", {1, 1, 0}, make_switch},
        {"verity", {1, 10, 0}, make_verity, {.singleton = true, .immutable = true}},
        {"unstriped", {1, 1, 0}, make_unstriped},
        {"zero", {1, 2, 0}, make_zero},
        {"striped", {1, 6, 0}, make_striped},
        {"linear", {1, 4, 0}, make_linear},
        {"flakey", {1, 5, 0}, make_flakey},
        {"error", {1, 7, 0}, make_error, {.wildcard = true}},
        {"log-writes", {1, 1, 0}, make_log_writes},
        {"snapshot-merge", {1, 5, 0}, make_snapshot_merge},
        {"snapshot-origin", {1, 9, 0}, make_snapshot_origin},
        {"snapshot", {1, 16, 0}, make_snapshot},
        {"delay", {1, 4, 0}, make_delay},
        {"crypt", {1, 28, 0}, make_crypt, {}, is_crypt_key},
        {"chaos", {1, 0, 0}, make_chaos},  // ours: no kernel has it
    };
    // clang-format on
    static const TargetRegistry registry{types};
    return registry;
}

}  // namespace dmfs
