// What the views of a mount share (explain, graph): kinds of devices, their JSON.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "engine/device.h"

namespace dmfs {

// In JSON by these names.
enum class DeviceKind { nothing, volume, file, block, memory };

DeviceKind kind_of(const Device* device);  // nullptr: nothing
std::string_view name_of(DeviceKind kind);

// One line. JSON is UTF-8 and names are bytes: what is no UTF-8 becomes U+FFFD.
std::string text_of(const nlohmann::ordered_json& json);

// Thrown by whoever visits the steps of a target and has seen enough of them: one that
// deals out a terabyte in chunks would not end.
struct Enough {};

}  // namespace dmfs
