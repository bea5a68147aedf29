// A volume of verity on devices of the tests, and its tree and parity made the naive way.

#pragma once

#include <algorithm>
#include <random>

#include "crypto/hash.h"
#include "engine/support.h"

namespace dmfs::test {

using Bytes = std::vector<std::byte>;

inline std::string hex(const Bytes& bytes) {
    std::string text;
    for (std::byte byte : bytes) {
        char digits[3];
        snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(byte));
        text += digits;
    }
    return text;
}

// A hash tree, made the simplest way: level by level, in memory of its own.
struct Naive {
    unsigned version = 1;
    std::string algorithm = "sha256";
    Bytes salt;
    size_t data_block = 4096, hash_block = 4096;
    Bytes root;
    std::vector<Bytes> levels;  // [0] just above the data

    Bytes digest(const std::byte* data, size_t bytes) const {
        std::unique_ptr<Hash> hash = find_hash(algorithm)->make();
        if (version == 1) hash->update(salt);
        hash->update({data, bytes});
        if (version == 0) hash->update(salt);
        Bytes digest(hash->digest_bytes());
        hash->finish(digest.data());
        return digest;
    }
    size_t per_block() const {
        size_t count = 1, digest_bytes = find_hash(algorithm)->digest_bytes;
        while (count * 2 * digest_bytes <= hash_block) count *= 2;
        return count;
    }
    void build(const std::byte* data, size_t blocks) {
        std::vector<Bytes> digests;
        for (size_t i = 0; i < blocks; i++) digests.push_back(digest(data + i * data_block, data_block));
        while (digests.size() > 1) {
            Bytes level;
            std::vector<Bytes> above;
            for (size_t at = 0; at < digests.size(); at += per_block()) {
                Bytes block;
                for (size_t i = at; i < std::min(at + per_block(), digests.size()); i++) {
                    block.insert(block.end(), digests[i].begin(), digests[i].end());
                    if (version == 1) block.resize((i - at + 1) * (hash_block / per_block()));
                }
                block.resize(hash_block);
                above.push_back(digest(block.data(), hash_block));
                level.insert(level.end(), block.begin(), block.end());
            }
            levels.push_back(level);
            digests = above;
        }
        root = digests.at(0);
    }
    Bytes stored() const {  // the top first
        Bytes all;
        for (size_t i = levels.size(); i-- > 0;) all.insert(all.end(), levels[i].begin(), levels[i].end());
        return all;
    }
};

inline constexpr size_t kHashStart = 3;  // blocks

struct Verified {
    Running executor;
    FakeSource source{*executor};
    Naive naive;
    Sector sectors;
    FakeDevice& data;
    FakeDevice& hash;
    std::shared_ptr<Table> table;

    explicit Verified(Sector length, const Naive& shape = {})
        : naive(shape), sectors(length), data(source.add("a", length, 1)), hash(source.add("h", 4096, 2)) {
        executor->employ(2);
        naive.build(data.at(0), bytes_of(length) / naive.data_block);
        Bytes stored = naive.stored();
        std::ranges::copy(stored, hash.at(0) + kHashStart * naive.hash_block);
    }
    std::string words() const {
        return std::to_string(naive.version) + " a h " + std::to_string(naive.data_block) + " " +
               std::to_string(naive.hash_block) + " " + std::to_string(bytes_of(sectors) / naive.data_block) +
               " " + std::to_string(kHashStart) + " " + naive.algorithm + " " + hex(naive.root) + " " +
               (naive.salt.empty() ? "-" : hex(naive.salt));
    }
    std::shared_ptr<Table> build(const std::string& text) {
        return Table::build(text, TableSource{*executor, target_registry(), source, "/", false, [] {}});
    }
    void open(const std::string& features = "") {
        table = build("0 " + std::to_string(sectors) + " verity " + words() + " " + features);
    }
    Status read(Sector at, Sector count, Memory& memory) {
        return run(*executor, table->io(bio_of(Op::read, at, count, &memory)));
    }
    Status read(Sector at, Sector count) {
        Memory memory(bytes_of(count));
        return read(at, count, memory);
    }
    // Whether [at, at + count) reads as the data is.
    bool same(Sector at, Sector count) {
        Memory memory(bytes_of(count));
        return read(at, count, memory) == kOk && memcmp(memory.data(), data.at(at), bytes_of(count)) == 0;
    }
    Target& target() const { return *table->rows()[0].target; }
    std::string status() const { return target().status(StatusKind::info); }
    std::byte* hash_byte(size_t block, size_t byte) { return hash.at(0) + block * naive.hash_block + byte; }
};

inline void flip(std::byte* byte) { *byte ^= std::byte{1}; }

inline Naive shaped(unsigned version, const char* algorithm, size_t salt, size_t data_block,
                    size_t hash_block) {
    Naive naive;
    naive.version = version;
    naive.algorithm = algorithm;
    for (size_t i = 0; i < salt; i++) naive.salt.push_back(static_cast<std::byte>(i * 7));
    naive.data_block = data_block;
    naive.hash_block = hash_block;
    return naive;
}

// Multiplied bit by bit, in the field of the parity.
inline uint8_t multiply(unsigned a, unsigned b) {
    unsigned product = 0;
    for (; b != 0; b >>= 1, a = a << 1 ^ (a & 0x80 ? 0x11d : 0))
        if ((b & 1) != 0) product ^= a;
    return static_cast<uint8_t>(product);
}

// A word of 255 bytes with its parity in the last `roots`: the remainder of long division
// by (x - 1)(x - 2)(x - 4)...
inline std::vector<uint8_t> encoded(std::vector<uint8_t> word, unsigned roots) {
    std::vector<uint8_t> generator{1};  // the highest power first
    uint8_t root = 1;
    for (unsigned i = 0; i < roots; i++, root = multiply(root, 2)) {
        generator.push_back(0);
        for (size_t k = generator.size() - 1; k > 0; k--) generator[k] ^= multiply(generator[k - 1], root);
    }
    std::fill(word.end() - roots, word.end(), uint8_t{0});
    std::vector<uint8_t> rest = word;
    for (size_t at = 0; at + roots < rest.size(); at++) {
        uint8_t factor = rest[at];
        for (size_t k = 0; k < generator.size(); k++) rest[at + k] ^= multiply(generator[k], factor);
    }
    std::copy(rest.end() - roots, rest.end(), word.end() - roots);
    return word;
}

}  // namespace dmfs::test
