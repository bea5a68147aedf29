#include "dm/view.h"

#include <nlohmann/json.hpp>

#include "engine/volume.h"

namespace dmfs {

DeviceKind kind_of(const Device* device) {
    if (device == nullptr) return DeviceKind::nothing;
    if (dynamic_cast<const Volume*>(device) != nullptr) return DeviceKind::volume;
    if (device->number()) return DeviceKind::block;
    return device->name().starts_with("ram:") ? DeviceKind::memory : DeviceKind::file;
}

std::string_view name_of(DeviceKind kind) {
    constexpr std::string_view kNames[] = {"nothing", "volume", "file", "block", "memory"};
    return kNames[static_cast<size_t>(kind)];
}

std::string text_of(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace dmfs
