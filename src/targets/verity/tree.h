// The hash tree of a verity volume: which hash block holds the digest of what. As the
// kernel has it (drivers/md/dm-verity-target.c) and veritysetup makes it.
//
//     hash device         | ... | level 2 | level 1 ...... | level 0 ............... |
//                         ^ hash start: the top, one block; the levels follow downwards
//
//     root digest         in the table
//        |
//     level 2  [ D0 D1 .. .. ]                            D0: digest of block 0 of level 1
//                 |   `-------------------.
//     level 1  [ D0 .. Dn ]            [ D0 .. Dn ]
//                 |
//     level 0  [ D0 .. Dn ] [ ... ]                       D0: digest of data block 0
//                 |
//     data     [ block 0 ] [ block 1 ] ...
//
// A hash block has room for `per_block` digests, a power of two. In version 1 each stands
// in a slot of its own, padded to a power of two; in version 0 they stand side by side:
//
//     version 1   | D0 ... 0 | D1 ... 0 | ...        version 0   | D0 D1 D2 ...       |
//
// One data block has no tree: its digest is the root digest.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dmfs::verity {

// A block of the tree, by its place in it.
struct Node {
    unsigned level = 0;  // 0: just above the data
    uint64_t index = 0;  // within its level
};

// Where a digest stands: in which block of the tree, from which byte on.
struct Slot {
    Node node;
    size_t byte = 0;
};

class Tree {
  public:
    struct Shape {
        unsigned version = 1;  // 0 or 1
        size_t hash_block = 4096;
        uint64_t data_blocks = 0;
        uint64_t hash_start = 0;  // a block of the hash device
        size_t digest_bytes = 0;  // at most half a hash block
    };

    // Lays the levels out. Throws std::overflow_error where they end beyond 64 bits.
    explicit Tree(const Shape& shape);

    const Shape& shape() const { return shape_; }
    unsigned levels() const { return static_cast<unsigned>(level_start_.size()); }
    uint64_t per_block() const { return uint64_t{1} << bits_; }
    uint64_t end() const { return end_; }  // the first block of the hash device after it

    // The block of level 0 that has the digest of a data block.
    Slot leaf(uint64_t data_block) const { return slot(0, data_block); }
    bool is_top(Node node) const { return node.level + 1 == levels(); }
    // What has the digest of a node that is not the top.
    Slot parent(Node node) const { return slot(node.level + 1, node.index); }

    uint64_t first_child(Node node) const { return node.index << bits_; }  // of level > 0
    // The node of a level that is above a data block.
    Node above(unsigned level, uint64_t data_block) const;

    // Its number on the hash device.
    uint64_t block_of(Node node) const { return level_start_[node.level] + node.index; }
    // How many blocks the level has.
    uint64_t blocks_in(unsigned level) const;
    // [first, end) of the data blocks below a node.
    uint64_t first_data_block(Node node) const;
    uint64_t end_data_block(Node node) const;

  private:
    Slot slot(unsigned level, uint64_t index) const {
        return {{level, index >> bits_}, (index & (per_block() - 1)) * slot_bytes_};
    }

    Shape shape_;
    unsigned bits_;      // per_block is 2^bits
    size_t slot_bytes_;  // from one digest to the next
    std::vector<uint64_t> level_start_;
    uint64_t end_;
};

}  // namespace dmfs::verity
