#include "crypto/md5.h"

#define CRYPTOPP_ENABLE_NAMESPACE_WEAK 1
#include <cryptopp/md5.h>

#include <cassert>

#include "base/endian.h"

namespace dmfs {

Md5Blocks::Md5Blocks() { CryptoPP::Weak::MD5::InitState(words_.data()); }

void Md5Blocks::update(std::span<const std::byte> blocks) {
    assert(blocks.size() % 64 == 0);
    for (; !blocks.empty(); blocks = blocks.subspan(64)) {
        std::array<unsigned, 16> words;
        for (size_t i = 0; i < words.size(); i++) words[i] = read_structure<le32>(blocks.data() + 4 * i);
        CryptoPP::Weak::MD5::Transform(words_.data(), words.data());
    }
}

std::array<std::byte, 16> Md5Blocks::state() const {
    std::array<std::byte, 16> bytes;
    for (size_t i = 0; i < words_.size(); i++) write_structure(bytes.data() + 4 * i, le32(words_[i]));
    return bytes;
}

}  // namespace dmfs
