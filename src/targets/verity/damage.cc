#include "targets/verity/damage.h"

#include "base/log.h"

namespace dmfs::verity {

namespace {
constexpr unsigned kMostLogged = 100;  // blocks, as the kernel
}

std::string Damage::name_of(BlockKind kind, uint64_t block) const {
    return (kind == BlockKind::data ? "data block " : "hash block ") + std::to_string(block) + " of " +
           (kind == BlockKind::data ? data_name_ : hash_name_);
}

bool Damage::found(BlockKind kind, uint64_t block) {
    any_.store(true, std::memory_order_relaxed);
    unsigned logged = logged_.load(std::memory_order_relaxed);
    while (logged < kMostLogged && !logged_.compare_exchange_weak(logged, logged + 1)) {
    }
    if (logged < kMostLogged)
        log_line(Severity::error, "verity: " + name_of(kind, block) + " is corrupted" +
                                      (logged + 1 == kMostLogged ? "; further ones are not logged" : ""));
    if (on_corruption_ == Mode::ignore) return false;
    if (on_corruption_ != Mode::fail) halt("corrupted");
    return true;
}

void Damage::request_failed() {
    if (on_error_ != Mode::fail) halt("not readable");
}

void Damage::halt(const char* why) {
    if (halted_.exchange(true)) return;
    log_line(Severity::error, "verity: " + data_name_ + " is " + why +
                                  ": every request fails from now on, until another table is loaded");
}

}  // namespace dmfs::verity
