// Device words: what a table may write where it wants a device, and what opens then.
//
//     /abs/path, rel/path     a file or a block device; rel begins at the writer's folder
//     MNT/NAME                the volume NAME of this mount: stacked, not through FUSE
//     NAME                    a volume of this mount, else a file in the writer's folder
//     MAJ:MIN                 a volume (0:N) or a block device
//     ram:SIZE[:NAME]         memory of that size, the same for the same word while in use
//
// Refused is what would make the daemon wait for itself: a path that leads into its own mount by
// a detour, and what stands on one of its own volumes (dm/circles.h).
//
// A path is walked part by part, each opened from the one before, and what is opened in the end is
// what the walk found: whoever exchanges a part meanwhile cannot lead it elsewhere. A walk may wait
// for a server that never answers, so it is made aside (engine/errand.h).

#pragma once

#include <map>
#include <mutex>

#include "base/files.h"
#include "dm/circles.h"
#include "engine/file_device.h"
#include "engine/namespace.h"

namespace dmfs {

class DeviceWords final : public DeviceSource {
  public:
    struct Options {
        bool direct = false;  // files and block devices with O_DIRECT
        Space space = {};     // of files
    };

    // mountpoint: absolute and resolved; empty where nothing is mounted.
    DeviceWords(Namespace& volumes, std::string mountpoint, Options options);
    DeviceWords(const DeviceWords&) = delete;
    DeviceWords& operator=(const DeviceWords&) = delete;

    std::shared_ptr<Device> open_device(const std::string& word, bool writable,
                                        const std::string& folder) override;
    // A file or a block device, never a volume by its bare name.
    std::shared_ptr<Device> open_file(const std::string& word, bool writable, const std::string& folder);

  private:
    // Where a path leads: to what is open (O_PATH), or to a volume of this mount.
    struct Found {
        std::unique_ptr<OpenFile> place;
        std::string path;  // without symbolic links
        std::string volume;
        int error = 0;  // why nothing is open
    };

    std::shared_ptr<Device> open_volume(const std::string& name);
    std::shared_ptr<Device> open_numbered(const std::string& word, uint32_t major, uint32_t minor,
                                          bool writable);
    std::shared_ptr<Device> open_ram(const std::string& word);
    std::shared_ptr<Device> open_path(const std::string& path, bool writable);
    std::shared_ptr<Device> open_found(const Found& found, bool writable);
    Found walk(const std::string& path) const;
    void refuse_own(int fd, const std::string& path) const;

    Namespace& volumes_;
    const std::string mountpoint_;
    const Options options_;
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<FileDevice>> ram_;  // by their words
    const Circles circles_;
};

// The same for the table of one volume: its own name means a file, as long as it never had a table.
class DevicesOf final : public DeviceSource {
  public:
    DevicesOf(DeviceWords& words, const Volume& volume) : words_(words), name_(volume.name()) {}
    std::shared_ptr<Device> open_device(const std::string& word, bool writable,
                                        const std::string& folder) override;

  private:
    DeviceWords& words_;
    const std::string name_;
};

}  // namespace dmfs
