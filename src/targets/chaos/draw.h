// Random numbers without a state: the number for request n of a rule is a function of
// the seed, the rule's name and n. So the same requests in the same order meet the
// same faults, whatever threads serve them and whatever other rules there are.

#pragma once

#include <cstdint>
#include <string_view>

namespace dmfs::chaos {

class Draw {
  public:
    Draw(uint64_t seed, std::string_view name) : key_(seed) {
        uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
        for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        key_ = mixed(mixed(seed) ^ hash);
    }

    // Number `index` of the numbers for request `n`: all 64 bits.
    uint64_t operator()(uint64_t n, uint64_t index) const {
        return mixed(mixed(key_ + n * kStep) + (index + 1) * kStep);
    }
    // The same, within [0, end).
    uint64_t below(uint64_t end, uint64_t n, uint64_t index) const { return (*this)(n, index) % end; }

  private:
    static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

    static uint64_t mixed(uint64_t x) {  // SplitMix64's
        x += kStep;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
        x = (x ^ x >> 27) * 0x94d049bb133111eb;
        return x ^ x >> 31;
    }

    uint64_t key_;
};

}  // namespace dmfs::chaos
