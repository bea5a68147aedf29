// Snapshots for people: what takes several steps of the device mapper, as one request that is
// done whole or not at all. Written to a volume's `state` file (dmfs-control(7)):
//
//     snapshot NAME COW [PO|P|N [CHUNK]]   a snapshot of this volume
//     fork NAME [FOLDER]                   a writable copy of it and of all it stands on
//     merge                                this snapshot goes back to its origin
//     merged                               that is done: the volume is what it was before
//     drop                                 this snapshot or copy is thrown away
//
// A volume of which there are snapshots gets another below it, which takes its table:
//
//     disk                     disk       snapshot-origin      NAME   snapshot
//       linear a.img             |   .------------------------'|
//                              disk-real  linear a.img        COW
//
// Nothing of this is a state of its own: it is found again in the tables.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/words.h"
#include "engine/volume.h"

namespace dmfs {

class DeviceMapper;

// Whether `verb` is one of these requests.
bool is_snapshot_request(const std::string& verb);
// The volume whose table a merge of this snapshot exchanges: that which shows its origin, or itself.
std::shared_ptr<Volume> merges_into(DeviceMapper* dm, const std::shared_ptr<Volume>& snapshot);
// `words`: the request, the verb first. `folder`: where relative paths begin.
Task<Outcome> snapshot_request(DeviceMapper* dm, std::shared_ptr<Volume> volume, std::vector<Word> words,
                               std::string folder, Cancel* cancel);

}  // namespace dmfs
