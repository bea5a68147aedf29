// MD5 without its end: what loop-AES takes for its vectors.

#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace dmfs {

class Md5Blocks {
  public:
    Md5Blocks();
    // Whole blocks of 64 bytes.
    void update(std::span<const std::byte> blocks);
    // What it has come to, without the padding and the length that a digest ends with.
    std::array<std::byte, 16> state() const;

  private:
    std::array<unsigned, 4> words_;
};

}  // namespace dmfs
