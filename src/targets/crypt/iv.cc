#include "targets/crypt/iv.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstring>

#include "base/endian.h"
#include "crypto/md5.h"
#include "crypto/scratch.h"

namespace dmfs::crypt {

namespace {

void combine(std::byte* into, const std::byte* with, size_t bytes) { dmfs::combine(into, with, into, bytes); }

void store_be64(std::byte* to, uint64_t value) { write_structure(to, le64(__builtin_bswap64(value))); }

// A vector that is a function of the number alone: zeros, and something in them.
class Numbered : public Iv {
  public:
    explicit Numbered(size_t bytes) : bytes_(bytes) {}
    void encrypting(const Run& run, std::byte* ivs) const final {
        memset(ivs, 0, run.count * bytes_);
        for (size_t i = 0; i < run.count; i++) set(ivs + i * bytes_, run.number(i));
    }

  protected:
    virtual void set(std::byte* iv, uint64_t number) const = 0;
    size_t bytes() const { return bytes_; }

  private:
    const size_t bytes_;
};

// null:       | 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 |
class Null final : public Numbered {
    using Numbered::Numbered;
    void set(std::byte*, uint64_t) const override {}
};

// plain:      | number (le32) | 0 ...           |     repeats after 2 TiB
class Plain final : public Numbered {
    using Numbered::Numbered;
    void set(std::byte* iv, uint64_t number) const override {
        write_structure(iv, le32(static_cast<uint32_t>(number)));
    }
};

// plain64:    | number (le64)   | 0 ...         |
class Plain64 final : public Numbered {
    using Numbered::Numbered;
    void set(std::byte* iv, uint64_t number) const override { write_structure(iv, le64(number)); }
};

// plain64be:  | 0 ...           | number (be64) |
class Plain64Be final : public Numbered {
    using Numbered::Numbered;
    void set(std::byte* iv, uint64_t number) const override { store_be64(iv + bytes() - 8, number); }
};

// benbi:      | 0 ...  | number of the block (be64), from 1 |   blocks of the cipher in 512 bytes
class Benbi final : public Numbered {
  public:
    Benbi(size_t bytes, size_t block_bytes)
        : Numbered(bytes), shift_(9 - static_cast<unsigned>(std::countr_zero(block_bytes))) {}

  private:
    void set(std::byte* iv, uint64_t number) const override {
        store_be64(iv + bytes() - 8, (number << shift_) + 1);
    }
    const unsigned shift_;
};

// eboiv:      encrypted | byte offset (le64) | 0 ... |, with the key of the data
class Eboiv : public Iv {
  public:
    Eboiv(size_t bytes, const SectorCipher& cipher) : bytes_(bytes), cipher_(cipher) {}

    void encrypting(const Run& run, std::byte* ivs) const override {
        static constexpr std::array<std::byte, Run::kMost * kMostIv> kZeros{};
        std::array<std::byte, Run::kMost * kMostIv> offsets;
        memset(offsets.data(), 0, run.count * bytes_);
        for (size_t i = 0; i < run.count; i++)
            write_structure(offsets.data() + i * bytes_, le64(run.number(i) * run.sector_bytes));
        cipher_.encrypt(kZeros.data(), ivs, bytes_, run.count, offsets.data());
    }

  private:
    const size_t bytes_;
    const SectorCipher& cipher_;
};

// elephant:   eboiv, and a diffuser around the cipher (BitLocker of Windows Vista and 7)
//
//     sector key   E(| byte offset (le64) | 0 ... |), E(the same, its last byte 0x80)
//     encrypt      plaintext ^ sector key, over and over; diffuser A, diffuser B; cipher
class Elephant final : public Eboiv {
  public:
    Elephant(size_t bytes, const SectorCipher& cipher, std::span<const std::byte> key)
        : Eboiv(bytes, cipher), aes_(find_cipher("aes")->make(key)) {}

    bool touches_data() const override { return true; }

    void encrypting(const Run& run, std::byte* ivs) const override {
        for (size_t i = 0; i < run.count; i++) {
            add_sector_key(run, i);
            each_word(run, i, [](uint32_t* words, size_t count) {
                for (int round = 0; round < 5; round++) take_a(words, count);
                for (int round = 0; round < 3; round++) take_b(words, count);
            });
        }
        Eboiv::encrypting(run, ivs);
    }
    void decrypting(const Run& run, std::byte* ivs) const override { Eboiv::encrypting(run, ivs); }
    void decrypted(const Run& run) const override {
        for (size_t i = 0; i < run.count; i++) {
            each_word(run, i, [](uint32_t* words, size_t count) {
                for (int round = 0; round < 3; round++) add_b(words, count);
                for (int round = 0; round < 5; round++) add_a(words, count);
            });
            add_sector_key(run, i);
        }
    }

  private:
    // The words of a sector are a ring of a multiple of 4; each is mixed with the second and
    // the fifth before it (A) or after it (B). Those of a group of four turn differently. The
    // two groups where the ring closes go word by word.
    template <int kTurn>
    static uint32_t mix(uint32_t near, uint32_t far) {
        return near ^ std::rotl(far, kTurn);
    }
    static size_t ring(size_t j, size_t count) { return j < count ? j : j - count; }
    static uint32_t mix_a(const uint32_t* words, size_t j, size_t count) {
        constexpr int kTurns[4] = {9, 0, 13, 0};
        return words[ring(j + count - 2, count)] ^
               std::rotl(words[ring(j + count - 5, count)], kTurns[j % 4]);
    }
    static uint32_t mix_b(const uint32_t* words, size_t j, size_t count) {
        constexpr int kTurns[4] = {0, 10, 0, 25};
        return words[ring(j + 2, count)] ^ std::rotl(words[ring(j + 5, count)], kTurns[j % 4]);
    }
    static constexpr size_t kSeam = 8;

    static void take_a(uint32_t* words, size_t count) {
        for (size_t end = count; end > kSeam; end -= 4) {
            uint32_t* w = words + end - 4;
            w[3] -= mix<0>(w[1], w[-2]);
            w[2] -= mix<13>(w[0], w[-3]);
            w[1] -= mix<0>(w[-1], w[-4]);
            w[0] -= mix<9>(w[-2], w[-5]);
        }
        for (size_t j = kSeam; j-- > 0;) words[j] -= mix_a(words, j, count);
    }
    static void take_b(uint32_t* words, size_t count) {
        for (size_t j = count; j-- > count - kSeam;) words[j] -= mix_b(words, j, count);
        for (size_t end = count - kSeam; end > 0; end -= 4) {
            uint32_t* w = words + end - 4;
            w[3] -= mix<25>(w[5], w[8]);
            w[2] -= mix<0>(w[4], w[7]);
            w[1] -= mix<10>(w[3], w[6]);
            w[0] -= mix<0>(w[2], w[5]);
        }
    }
    static void add_a(uint32_t* words, size_t count) {
        for (size_t j = 0; j < kSeam; j++) words[j] += mix_a(words, j, count);
        for (size_t at = kSeam; at < count; at += 4) {
            uint32_t* w = words + at;
            w[0] += mix<9>(w[-2], w[-5]);
            w[1] += mix<0>(w[-1], w[-4]);
            w[2] += mix<13>(w[0], w[-3]);
            w[3] += mix<0>(w[1], w[-2]);
        }
    }
    static void add_b(uint32_t* words, size_t count) {
        for (size_t at = 0; at < count - kSeam; at += 4) {
            uint32_t* w = words + at;
            w[0] += mix<0>(w[2], w[5]);
            w[1] += mix<10>(w[3], w[6]);
            w[2] += mix<0>(w[4], w[7]);
            w[3] += mix<25>(w[5], w[8]);
        }
        for (size_t j = count - kSeam; j < count; j++) words[j] += mix_b(words, j, count);
    }

    // The sector as little-endian words, and back.
    template <class Change>
    static void each_word(const Run& run, size_t index, Change change) {
        std::array<uint32_t, 4096 / 4> words;
        size_t count = run.sector_bytes / 4;
        std::byte* sector = run.sector(index);
        for (size_t i = 0; i < count; i++) words[i] = read_structure<le32>(sector + 4 * i);
        change(words.data(), count);
        for (size_t i = 0; i < count; i++) write_structure(sector + 4 * i, le32(words[i]));
    }

    void add_sector_key(const Run& run, size_t index) const {
        std::array<std::byte, 32> key{};
        write_structure(key.data(), le64(run.number(index) * run.sector_bytes));
        memcpy(key.data() + 16, key.data(), 16);
        key[31] = std::byte{0x80};
        aes_->encrypt(key.data(), key.data(), 2);
        for (size_t at = 0; at < run.sector_bytes; at += key.size())
            combine(run.sector(index) + at, key.data(), key.size());
        wipe(key);
    }

    SecretPtr<BlockCipher> aes_;
};

// lmk:        MD5's state after | seed | data but its first block | number, 56 bits | 4024 |
//
// Reading, the data are known only afterwards: the vector is 0 then, and what CBC would
// have added to the first block is added at the end.
class Lmk final : public Iv {
  public:
    // With a seed, only as much of it counts as a digest has bytes.
    Lmk(size_t bytes, std::span<const std::byte> seed) : bytes_(bytes) {
        assert(bytes <= 16);
        if (seed.empty()) return;
        seed_ = Secret(kSeedBytes);
        memcpy(seed_.bytes().data(), seed.data(), std::min<size_t>(seed.size(), 16));
    }

    bool touches_data() const override { return true; }

    void encrypting(const Run& run, std::byte* ivs) const override {
        for (size_t i = 0; i < run.count; i++) memcpy(ivs + i * bytes_, digest(run, i).data(), bytes_);
    }
    void decrypting(const Run& run, std::byte* ivs) const override { memset(ivs, 0, run.count * bytes_); }
    void decrypted(const Run& run) const override {
        for (size_t i = 0; i < run.count; i++) combine(run.sector(i), digest(run, i).data(), bytes_);
    }

  private:
    static constexpr size_t kSeedBytes = 64, kBlock = 16, kSector = 512;

    std::array<std::byte, 16> digest(const Run& run, size_t index) const {
        std::array<std::byte, kSector> text;
        memcpy(text.data(), run.sector(index) + kBlock, kSector - kBlock);
        struct {
            le32 low, high, magic{4024}, zero;
        } end;
        end.low = static_cast<uint32_t>(run.number(index));
        end.high = (static_cast<uint32_t>(run.number(index) >> 32) & 0x00ffffff) | 0x80000000;
        write_structure(text.data() + kSector - kBlock, end);
        Md5Blocks md5;
        md5.update(seed_.bytes());
        md5.update(text);
        return md5.state();
    }

    const size_t bytes_;
    Secret seed_;
};

// tcw:        | seed ^ number (le64) | seed ^ number (le64) |     TrueCrypt up to 4.0
//
// And on the ciphertext lie 8 bytes, over and over: of the whitening ^ number, twice, the
// CRCs of its four parts, the first added to the fourth and the second to the third.
class Tcw final : public Iv {
  public:
    Tcw(size_t bytes, std::span<const std::byte> extra)
        : bytes_(bytes), seed_(extra.first(bytes)), whitening_(extra.subspan(bytes, kWhitening)) {}

    bool touches_data() const override { return true; }

    void encrypting(const Run& run, std::byte* ivs) const override {
        for (size_t i = 0; i < run.count; i++) {
            memcpy(ivs + i * bytes_, seed_.bytes().data(), bytes_);
            combine_number(ivs + i * bytes_, bytes_, run.number(i));
        }
    }
    void encrypted(const Run& run) const override { whiten(run); }
    void decrypting(const Run& run, std::byte* ivs) const override {
        whiten(run);
        encrypting(run, ivs);
    }

  private:
    static constexpr size_t kWhitening = 16;

    static void combine_number(std::byte* into, size_t bytes, uint64_t number) {
        std::array<std::byte, 8> le;
        write_structure(le.data(), le64(number));
        for (size_t at = 0; at < bytes; at += 8) combine(into + at, le.data(), 8);
    }

    // As Linux' "crc32": it begins with 0, and ends as it is.
    static uint32_t crc32(uint32_t crc) {
        for (int bit = 0; bit < 32; bit++) crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
        return crc;
    }

    void whiten(const Run& run) const {
        for (size_t i = 0; i < run.count; i++) {
            std::array<std::byte, kWhitening> mask;
            memcpy(mask.data(), whitening_.bytes().data(), mask.size());
            combine_number(mask.data(), mask.size(), run.number(i));
            for (size_t at = 0; at < mask.size(); at += 4)
                write_structure(mask.data() + at, le32(crc32(read_structure<le32>(mask.data() + at))));
            combine(mask.data(), mask.data() + 12, 4);
            combine(mask.data() + 4, mask.data() + 8, 4);
            for (size_t at = 0; at < run.sector_bytes; at += 8) combine(run.sector(i) + at, mask.data(), 8);
            wipe(mask);
        }
    }

    const size_t bytes_;
    Secret seed_, whitening_;
};

}  // namespace

std::unique_ptr<Iv> make_iv(const CipherSpec& spec, std::span<const std::byte> extra,
                            const SectorCipher& cipher) {
    size_t bytes = spec.iv_bytes();
    switch (spec.iv) {
        case IvKind::none:
            return nullptr;
        case IvKind::null:
            return std::make_unique<Null>(bytes);
        case IvKind::plain:
            return std::make_unique<Plain>(bytes);
        case IvKind::plain64:
            return std::make_unique<Plain64>(bytes);
        case IvKind::plain64be:
            return std::make_unique<Plain64Be>(bytes);
        case IvKind::benbi:
            return std::make_unique<Benbi>(bytes, spec.block_bytes());
        case IvKind::lmk:
            return std::make_unique<Lmk>(bytes, extra);
        case IvKind::tcw:
            return std::make_unique<Tcw>(bytes, extra);
        case IvKind::eboiv:
            return std::make_unique<Eboiv>(bytes, cipher);
        case IvKind::elephant:
            return std::make_unique<Elephant>(bytes, cipher, extra);
    }
    return nullptr;
}

}  // namespace dmfs::crypt
