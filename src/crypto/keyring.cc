#include "crypto/keyring.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dmfs {

namespace {

constexpr size_t kMostBytes = 32767;       // of a key, as in the kernel
constexpr size_t kMostDescription = 4096;  // likewise
constexpr const char* kTypes = "logon or user";

std::string how_to_add(const std::string& type, const std::string& description) {
    return "`dmfs key add " + type + " " + description + "` puts it into the mount's own keyring";
}

Refused unreadable(const std::string& type, const std::string& description, int error) {
    bool missing = error == ENOKEY || error == ENOSYS || error == EPERM;  // a container may forbid all of it
    std::string name = "the key " + type + ":" + description;
    return Refused(missing ? ENOKEY : error,
                   missing ? name + " is in no keyring that can be searched" : name + ": " + strerror(error),
                   how_to_add(type, description));
}

Secret find_in_kernel(const std::string& type, const std::string& description) {
    long id = syscall(SYS_request_key, type.c_str(), description.c_str(), nullptr, 0);
    if (id < 0) throw unreadable(type, description, errno);
    Secret key(kMostBytes);
    long bytes = syscall(SYS_keyctl, KEYCTL_READ, id, key.bytes().data(), key.size());
    if (bytes < 0) throw unreadable(type, description, errno);
    if (static_cast<size_t>(bytes) > kMostBytes) throw unreadable(type, description, E2BIG);
    return Secret(std::span<const std::byte>(key.bytes().first(static_cast<size_t>(bytes))));
}

}  // namespace

void Keyring::add(const std::string& type, const std::string& description, Secret key) {
    if (type != "logon" && type != "user") throw Refused(EINVAL, "no type of keys '" + type + "'", kTypes);
    if (description.empty() || description.size() >= kMostDescription ||
        description.find_first_of(std::string_view(" \t\n\v\f\r\0", 7)) != std::string::npos)
        throw Refused(EINVAL, "this can't be the description of a key", "some letters without a blank");
    if (key.size() == 0 || key.size() > kMostBytes)
        throw Refused(EINVAL, "a key of " + std::to_string(key.size()) + " bytes",
                      "1 to " + std::to_string(kMostBytes));
    std::lock_guard guard(mutex_);
    keys_.insert_or_assign({type, description}, std::move(key));
}

Secret read_key_file(const std::string& path) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw Refused(errno, "cannot open the key file " + path);
    Secret read_so_far(kMostBytes + 1);
    std::span<std::byte> space = read_so_far.bytes();
    size_t size = 0;
    ssize_t got = 1;
    while (size < space.size() && got != 0) {
        got = ::read(fd, space.data() + size, space.size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        size += static_cast<size_t>(got);
    }
    int error = got < 0 ? errno : 0;
    close(fd);
    if (error != 0) throw Refused(error, "cannot read the key file " + path);
    return Secret(std::span<const std::byte>(space.first(size)));
}

void Keyring::remove(const std::string& type, const std::string& description) {
    std::lock_guard guard(mutex_);
    if (keys_.erase({type, description}) == 0)
        throw Refused(ENOKEY, "no key " + type + ":" + description + " in the mount's keyring");
}

std::vector<Keyring::Entry> Keyring::list() const {
    std::lock_guard guard(mutex_);
    std::vector<Entry> entries;
    for (const auto& [name, key] : keys_) entries.push_back({name.first, name.second, key.size()});
    return entries;
}

bool Keyring::find(const std::string& type, const std::string& description, Secret* found) const {
    std::lock_guard guard(mutex_);
    auto at = keys_.find({type, description});
    if (at == keys_.end()) return false;
    *found = Secret(at->second.bytes());
    return true;
}

Keyring& own_keyring() {
    static Keyring keyring;
    return keyring;
}

Secret find_key(const std::string& type, const std::string& description) {
    Secret key;
    if (own_keyring().find(type, description, &key)) return key;
    if (type == "logon")
        throw Refused(ENOKEY,
                      "the mount's keyring has no logon key " + description +
                          ", and those of the kernel no process can read",
                      how_to_add(type, description));
    return find_in_kernel(type, description);
}

}  // namespace dmfs
