// Forward error correction: blocks of a verity volume that are corrupted or cannot be
// read are computed from the others and from parity. As drivers/md/dm-verity-fec.c.
//
//     covered       data blocks, then blocks of the hash device from the tree's start on,
//                   `blocks` of them; after them, up to rounds * n blocks, zeros
//                   n = 255 - roots, rounds = blocks / n, rounded up
//
//     block         0        1       ...  rounds-1
//                   rounds   rounds+1     2*rounds-1        the n blocks of a column are
//                   ...                                     siblings; the k-th bytes of all
//                   (n-1)*rounds ...      n*rounds-1        of them make a codeword
//
//     parity        column 0: `roots` bytes for each byte of a block; column 1; ...
//
// So up to roots / 2 siblings may be wrong, or `roots` if it is known which. That is known of
// data blocks, which have digests; so what fails at first is tried again with that. What
// comes out is believed if its digest is right.

#pragma once

#include "targets/verity/hash_cache.h"
#include "targets/verity/reed_solomon.h"
#include "targets/verity/settings.h"

namespace dmfs::verity {

class Fec final : public Repairer {
  public:
    // `zero_digest`: of blocks that are zeros without being read; empty: none are.
    Fec(Executor& executor, const Settings& settings, const Tree& tree, const Hasher& hasher,
        HashCache& hashes, const std::vector<std::byte>& zero_digest);

    Task<Status> repair(BlockKind kind, uint64_t block, const std::byte* digest, std::byte* to,
                        Cancel* cancel) override;

    void each_device(const Target::DeviceVisitor& visit) const;

  private:
    // The siblings of one block, one after the other, and the parity of their column.
    struct Column {
        explicit Column(const Fec& fec, uint64_t block);

        uint64_t round;   // which column
        unsigned wanted;  // which sibling
        Memory siblings;  // zeros where one is not there, or not readable
        Memory parity;
        Memory repaired;
        std::vector<uint8_t> unreadable, known_zero;  // by sibling
        std::vector<uint8_t> erased;                  // places of siblings known to be wrong
        unsigned corrected = 0;                       // bytes
    };
    // A sibling: what is there, if anything is.
    struct Place {
        Device* device = nullptr;
        uint64_t block = 0;
        bool data = false;
    };

    Task<Status> read(Column* column, Cancel* cancel);
    Task<Status> find_erased(Column* column);
    Task<Status> expected(uint64_t data_block, std::byte* digest);
    bool decode(Column& column) const;
    Place place_of(uint64_t covered) const;
    uint64_t covered(const Column& column, unsigned sibling) const {
        return column.round + sibling * rounds_;
    }
    std::byte* sibling(const Column& column, unsigned which) const {
        return column.siblings.data() + which * block_;
    }
    Bio bio_of(uint64_t block, Memory* memory, size_t offset, size_t bytes, Cancel* cancel) const;

    Executor& executor_;
    const Settings& settings_;
    const Tree& tree_;
    const Hasher& hasher_;
    HashCache& hashes_;
    const std::vector<std::byte>& zero_digest_;
    const FecSettings shape_;
    const ReedSolomon code_;
    const size_t block_;  // bytes, of all devices
    const unsigned siblings_;
    const uint64_t rounds_;
    Lock one_at_a_time_;  // a column takes a megabyte
};

}  // namespace dmfs::verity
