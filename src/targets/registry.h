// The targets there are. A new one is a source here, or a folder, and a line in registry.cc.

#pragma once

#include "engine/target.h"

namespace dmfs {

const TargetRegistry& target_registry();

// Each is defined by its own source.
std::unique_ptr<Target> make_chaos(TargetSetup& setup);
std::unique_ptr<Target> make_crypt(TargetSetup& setup);
bool is_crypt_key(size_t index, std::string_view word);
std::unique_ptr<Target> make_delay(TargetSetup& setup);
std::unique_ptr<Target> make_dust(TargetSetup& setup);
std::unique_ptr<Target> make_ebs(TargetSetup& setup);
std::unique_ptr<Target> make_error(TargetSetup& setup);
std::unique_ptr<Target> make_flakey(TargetSetup& setup);
std::unique_ptr<Target> make_linear(TargetSetup& setup);
std::unique_ptr<Target> make_log_writes(TargetSetup& setup);
std::unique_ptr<Target> make_snapshot(TargetSetup& setup);
std::unique_ptr<Target> make_snapshot_merge(TargetSetup& setup);
std::unique_ptr<Target> make_snapshot_origin(TargetSetup& setup);
std::unique_ptr<Target> make_striped(TargetSetup& setup);
std::unique_ptr<Target> make_switch(TargetSetup& setup);
std::unique_ptr<Target> make_unstriped(TargetSetup& setup);
std::unique_ptr<Target> make_verity(TargetSetup& setup);
std::unique_ptr<Target> make_zero(TargetSetup& setup);

// For targets of which the kernel's constructor has one errno, EINVAL, even where a
// device cannot be opened.
template <class T>
std::unique_ptr<Target> make_or_einval(TargetSetup& setup) {
    try {
        return std::make_unique<T>(setup);
    } catch (const Refused& refused) {
        throw Refused(EINVAL, refused.reason(), refused.remedy()).at(refused.place());
    }
}

}  // namespace dmfs
