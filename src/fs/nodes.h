// The tree of a mount, and the numbers of its inodes.
//
//     inode    [ id of a volume: 56 bits | kind of node: 8 bits ]
//
// Id 0 is the mount itself. A volume's id is never used again, so an inode number
// means one thing for as long as the mount lives and nothing has to be remembered
// for the kernel.

#pragma once

#include <sys/stat.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse.h"

namespace dmfs::fs {

enum class Kind : uint8_t {
    volume = 0,   // MNT/NAME
    root = 1,     // MNT; of a volume: .control/NAME
    control = 2,  // MNT/.control
    version,
    targets,
    log,
    error,
    create,
    options,
    graph,
    table,
    inactive,
    state,
    status,
    inactive_status,
    measure,
    info,
    message,
    uuid,
    deps,
    inactive_deps,
    events,
    stats,
    inflight,
    limits,
    explain,
    reverse,
    trace,
    keyring,
    showkeys,
    inactive_showkeys,
    volumes,  // MNT/.control/.volumes; of a volume: .control/.volumes/NAME
};

// Volumes have their controls here, whatever they are called. In .control itself they stand, too,
// but for those whose name is that of a control file, or this one.
inline constexpr std::string_view kVolumesFolder = ".volumes";

struct Node {
    uint64_t id = 0;
    Kind kind = Kind::volume;

    fuse_ino_t ino() const { return id << 8 | static_cast<uint64_t>(kind); }
    static Node of(fuse_ino_t ino) { return {ino >> 8, static_cast<Kind>(ino & 0xff)}; }
    bool is_folder() const { return kind == Kind::root || kind == Kind::control || kind == Kind::volumes; }
    // A folder with a folder for each volume.
    bool holds_volumes() const { return id == 0 && (kind == Kind::control || kind == Kind::volumes); }
    // What a volume is in this folder.
    Node child(uint64_t volume) const {
        return {volume, kind == Kind::root ? Kind::volume : kind == Kind::control ? Kind::root : kind};
    }
    // The same folder by the name it had first: one owner and one mode for both.
    Node owned() const {
        return kind == Kind::volumes ? Node{id, id != 0 ? Kind::root : Kind::control} : *this;
    }
    bool is_volume() const { return kind == Kind::volume; }
    friend auto operator<=>(const Node&, const Node&) = default;
};

static_assert(static_cast<unsigned>(Kind::root) == FUSE_ROOT_ID);

// A file of the control tree.
struct ControlNode {
    Kind kind;
    std::string_view name;
    mode_t mode;
    bool of_volume;  // stands in a volume's folder, else in .control/
};

inline const std::vector<ControlNode>& control_nodes() {
    static const std::vector<ControlNode> nodes = {
        {Kind::version, "version", 0400, false},
        {Kind::targets, "targets", 0400, false},
        {Kind::log, "log", 0400, false},
        {Kind::error, "error", 0400, false},
        {Kind::create, "create", 0200, false},
        {Kind::options, "options", 0400, false},
        {Kind::reverse, "reverse", 0600, false},
        {Kind::graph, "graph", 0400, false},
        {Kind::keyring, "keyring", 0600, false},
        {Kind::table, "table", 0600, true},
        {Kind::inactive, "inactive", 0600, true},
        {Kind::showkeys, "showkeys", 0400, true},
        {Kind::inactive_showkeys, "inactive_showkeys", 0400, true},
        {Kind::state, "state", 0600, true},
        {Kind::status, "status", 0400, true},
        {Kind::inactive_status, "inactive_status", 0400, true},
        {Kind::measure, "measure", 0400, true},
        {Kind::info, "info", 0400, true},
        {Kind::message, "message", 0600, true},
        {Kind::error, "error", 0400, true},
        {Kind::uuid, "uuid", 0600, true},
        {Kind::deps, "deps", 0400, true},
        {Kind::inactive_deps, "inactive_deps", 0400, true},
        {Kind::events, "events", 0400, true},
        {Kind::stats, "stats", 0400, true},
        {Kind::inflight, "inflight", 0400, true},
        {Kind::limits, "limits", 0400, true},
        {Kind::explain, "explain", 0600, true},
        {Kind::trace, "trace", 0400, true},
    };
    return nodes;
}

// Whether the name stands for something else than a volume in .control.
inline bool is_control_name(std::string_view name) {
    if (name == kVolumesFolder) return true;
    for (const ControlNode& each : control_nodes())
        if (!each.of_volume && each.name == name) return true;
    return false;
}

// Where a volume has its controls, for those who are told of it.
inline std::string control_folder(std::string_view volume) {
    std::string folder = ".control/";
    if (is_control_name(volume)) folder += std::string(kVolumesFolder) + "/";
    return folder += volume;
}

inline const ControlNode* control_node(Node node) {
    for (const ControlNode& each : control_nodes())
        if (each.kind == node.kind && each.of_volume == (node.id != 0)) return &each;
    return nullptr;
}

}  // namespace dmfs::fs
