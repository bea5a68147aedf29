// Overwriting what nobody is to find in memory: keys, and the digits in which they come.

#pragma once

#include <cstddef>
#include <span>

namespace dmfs {

// Overwrites memory in a way that no compiler leaves out.
void wipe(std::span<std::byte> memory) noexcept;
// Overwrites what functions that have returned left on the stack and in vector registers, as
// copies of keys. A new thread begins with the registers of its maker.
void wipe_stack() noexcept;

}  // namespace dmfs
