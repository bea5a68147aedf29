#include "targets/verity/tree.h"

#include <bit>
#include <cassert>
#include <stdexcept>

namespace dmfs::verity {

Tree::Tree(const Shape& shape)
    : shape_(shape),
      bits_(static_cast<unsigned>(std::bit_width(shape.hash_block / shape.digest_bytes)) - 1),
      slot_bytes_(shape.version == 0 ? shape.digest_bytes : shape.hash_block >> bits_),
      end_(shape.hash_start) {
    assert(bits_ > 0);
    // From the bottom up to a level of one block; then their places from the top down.
    std::vector<uint64_t> sizes;
    for (uint64_t below = shape.data_blocks; below > 1; below = sizes.back())
        sizes.push_back(((below - 1) >> bits_) + 1);
    level_start_.resize(sizes.size());
    for (size_t level = sizes.size(); level-- > 0;) {
        level_start_[level] = end_;
        if (__builtin_add_overflow(end_, sizes[level], &end_))
            throw std::overflow_error("the hash tree ends beyond block 2^64");
    }
}

uint64_t Tree::blocks_in(unsigned level) const {
    return (level == 0 ? end_ : level_start_[level - 1]) - level_start_[level];
}

Node Tree::above(unsigned level, uint64_t data_block) const {
    unsigned shift = bits_ * (level + 1);
    return {level, shift < 64 ? data_block >> shift : 0};
}

uint64_t Tree::first_data_block(Node node) const {
    unsigned shift = bits_ * (node.level + 1);
    return shift < 64 ? node.index << shift : 0;
}

uint64_t Tree::end_data_block(Node node) const {
    if (node.index + 1 == blocks_in(node.level)) return shape_.data_blocks;
    return first_data_block({node.level, node.index + 1});
}

}  // namespace dmfs::verity
