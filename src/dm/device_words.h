// Device words: what a table may write where it wants a device, and what opens then.
//
//     /abs/path, rel/path     a file or a block device; rel begins at the writer's folder
//     MNT/NAME                the volume NAME of this mount: stacked, not through FUSE
//     NAME                    a volume of this mount, else a file in the writer's folder
//     MAJ:MIN                 a volume (0:N) or a block device
//     ram:SIZE[:NAME]         memory of that size, the same for the same word while in use
//
// Two things are refused that would make the daemon wait for itself: a path that
// leads into its own mount by a detour, and a block device or a file system that
// stands on one of its own volumes through a loop device.

#pragma once

#include <map>
#include <mutex>

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
    ~DeviceWords() override;

    std::shared_ptr<Device> open_device(const std::string& word, bool writable,
                                        const std::string& folder) override;

  private:
    // A path without symbolic links, or the name of a volume of this mount.
    struct Resolved {
        std::string path;
        std::string volume;
    };
    struct Places {
        std::optional<uint64_t> filesystem;          // st_dev of this mount, once it stands
        std::map<std::string, std::string> own;      // where this mount shows, and what of it
        std::map<std::string, uint64_t> on_devices;  // mounts on block devices, and their numbers
    };

    std::shared_ptr<Device> open_volume(const std::string& name);
    std::shared_ptr<Device> open_numbered(const std::string& word, uint32_t major, uint32_t minor,
                                          bool writable);
    std::shared_ptr<Device> open_ram(const std::string& word);
    std::shared_ptr<Device> open_path(const std::string& path, bool writable);
    Resolved resolve(const std::string& path) const;
    void refuse_own(const FileDevice& device) const;
    std::string own_volume_below(uint64_t device_number, const Places& places, int depth) const;
    Places known_places() const;

    Namespace& volumes_;
    const std::string mountpoint_;
    const Options options_;
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<FileDevice>> ram_;  // by their words

    const int mounts_fd_;
    mutable std::mutex mounts_mutex_;
    mutable bool mounts_known_ = false;
    mutable Places places_;
};

}  // namespace dmfs
