// The modes, over any block cipher:
//
//     ecb    C[i] = E(P[i])
//     cbc    C[i] = E(P[i] ^ C[i-1]), C[-1] = IV
//     ctr    C[i] = P[i] ^ E(IV + i), a big-endian number
//     xts    C[i] = E(P[i] ^ T[i]) ^ T[i], T[i] = E'(IV) * x^i      two keys
//     lrw    the same,                     T[i] = K' * (IV + i)     a key and a block
//     adiantum has a file of its own
//
// A block cipher is several times as fast with many blocks in one call. So each mode
// first writes what it combines with the data (tweaks, counters, the ciphertext before
// each block) for as many blocks as fit Scratch, over the bounds of sectors, and
// then makes one call. CBC's encryption waits for the block before: there the blocks of
// one call are of different sectors.

#include "crypto/modes.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "crypto/adiantum.h"
#include "crypto/aes_fast.h"
#include "crypto/gf128.h"
#include "crypto/scratch.h"

namespace dmfs {

namespace {

constexpr size_t kBlock = 16;
constexpr size_t kPiece = 4096;  // bytes of data that are in flight, a part of the first cache

class Ecb final : public SectorCipher {
  public:
    explicit Ecb(SecretPtr<BlockCipher> cipher) : cipher_(std::move(cipher)) {}

    size_t iv_bytes() const override { return 0; }
    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte*) const override {
        cipher_->encrypt(in, out, sector_bytes * sectors / cipher_->block_bytes());
    }
    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte*) const override {
        cipher_->decrypt(in, out, sector_bytes * sectors / cipher_->block_bytes());
    }

  private:
    SecretPtr<BlockCipher> cipher_;
};

class Cbc final : public SectorCipher {
  public:
    explicit Cbc(SecretPtr<BlockCipher> cipher)
        : cipher_(std::move(cipher)), block_(cipher_->block_bytes()) {}

    size_t iv_bytes() const override { return block_; }

    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        while (sectors > 0) {
            size_t lanes = std::min(sectors, kLanes);
            encrypt_abreast(in, out, sector_bytes, lanes, ivs);
            in += lanes * sector_bytes;
            out += lanes * sector_bytes;
            ivs += lanes * block_;
            sectors -= lanes;
        }
    }

    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        Scratch<kPiece> before;  // the ciphertext before each block, since `out` may be `in`
        std::byte last[kBlock];
        size_t total = sector_bytes * sectors;
        size_t in_sector = 0;
        while (total > 0) {
            size_t piece = std::min(total, kPiece);
            std::byte* at = before.to(piece);
            for (size_t filled = 0; filled < piece;) {
                size_t part = std::min(piece - filled, sector_bytes - in_sector);
                memcpy(at + filled, in_sector == 0 ? ivs : filled == 0 ? last : in + filled - block_, block_);
                memcpy(at + filled + block_, in + filled, part - block_);
                filled += part;
                in_sector += part;
                if (in_sector < sector_bytes) continue;
                in_sector = 0;
                ivs += block_;
            }
            memcpy(last, in + piece - block_, block_);
            cipher_->decrypt(in, at, out, piece / block_);
            in += piece;
            out += piece;
            total -= piece;
        }
    }

  private:
    static constexpr size_t kLanes = 16;

    // One block of each sector in each call.
    void encrypt_abreast(const std::byte* in, std::byte* out, size_t sector_bytes, size_t lanes,
                         const std::byte* ivs) const {
        Scratch<kLanes * kBlock> chain;
        std::byte* blocks = chain.to(lanes * block_);
        memcpy(blocks, ivs, lanes * block_);
        for (size_t at = 0; at < sector_bytes; at += block_) {
            for (size_t lane = 0; lane < lanes; lane++)
                combine(blocks + lane * block_, in + lane * sector_bytes + at, blocks + lane * block_,
                        block_);
            cipher_->encrypt(blocks, blocks, lanes);
            for (size_t lane = 0; lane < lanes; lane++)
                memcpy(out + lane * sector_bytes + at, blocks + lane * block_, block_);
        }
    }

    SecretPtr<BlockCipher> cipher_;
    size_t block_;
};

class Ctr final : public SectorCipher {
  public:
    explicit Ctr(SecretPtr<BlockCipher> cipher)
        : cipher_(std::move(cipher)), block_(cipher_->block_bytes()) {}

    size_t iv_bytes() const override { return block_; }

    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        Scratch<kPiece> counters;
        Counter counter;
        size_t total = sector_bytes * sectors;
        size_t left = 0;  // of the sector
        while (total > 0) {
            size_t piece = std::min(total, kPiece);
            std::byte* at = counters.to(piece);
            for (size_t filled = 0; filled < piece;) {
                if (left == 0) {
                    counter = load(ivs);
                    ivs += block_;
                    left = sector_bytes;
                }
                size_t part = std::min(piece - filled, left);
                fill(counter, at + filled, part);
                filled += part;
                left -= part;
            }
            cipher_->encrypt(at, in, out, piece / block_);
            in += piece;
            out += piece;
            total -= piece;
        }
    }
    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        encrypt(in, out, sector_bytes, sectors, ivs);
    }

  private:
    struct Counter {
        uint64_t high = 0, low = 0;
    };
    Counter load(const std::byte* bytes) const {
        Counter counter;
        if (block_ == kBlock) counter.high = load_be64(bytes);
        counter.low = load_be64(bytes + block_ - 8);
        return counter;
    }
    void fill(Counter& counter, std::byte* to, size_t bytes) const {
        if (block_ != kBlock) {
            for (size_t at = 0; at < bytes; at += 8) store_be64(counter.low++, to + at);
            return;
        }
        for (size_t at = 0; at < bytes; at += kBlock) {
            store_block(Block128{__builtin_bswap64(counter.high), __builtin_bswap64(counter.low)}, to + at);
            if (++counter.low == 0) counter.high++;
        }
    }

    SecretPtr<BlockCipher> cipher_;
    size_t block_;
};

// T[i] = E'(IV) * x^i
class XtsStarts {
  public:
    static constexpr size_t kMostStarts = 64;  // sectors whose first tweaks are encrypted in one call

    explicit XtsStarts(SecretPtr<BlockCipher> cipher) : cipher_(std::move(cipher)) {}

    void begin(const std::byte* ivs, size_t sectors, std::byte* starts) const {
        cipher_->encrypt(ivs, starts, sectors);
    }
    void fill(std::byte* start, std::byte* to, size_t blocks) const { XtsTweaks::fill(start, to, blocks); }

  private:
    SecretPtr<BlockCipher> cipher_;
};

// T[i] = K' * (IV + i)
class LrwStarts {
  public:
    static constexpr size_t kMostStarts = 64;

    explicit LrwStarts(std::span<const std::byte> key) : times_key_(make_secret<LrwTable>(key)) {}

    // A start is the number itself.
    void begin(const std::byte* ivs, size_t sectors, std::byte* starts) const {
        memcpy(starts, ivs, sectors * kBlock);
    }

    void fill(std::byte* start, std::byte* to, size_t blocks) const { times_key_->count(start, to, blocks); }

  private:
    SecretPtr<LrwTable> times_key_;
};

// C = E(P ^ T) ^ T
template <class Starts>
class Whitened final : public SectorCipher {
  public:
    Whitened(SecretPtr<BlockCipher> cipher, Starts starts)
        : cipher_(std::move(cipher)), starts_(std::move(starts)) {}

    size_t iv_bytes() const override { return kBlock; }
    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        run<true>(in, out, sector_bytes, sectors, ivs);
    }
    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        run<false>(in, out, sector_bytes, sectors, ivs);
    }

  private:
    template <bool kEncrypt>
    void run(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
             const std::byte* ivs) const {
        Scratch<Starts::kMostStarts * kBlock> starts;
        Scratch<kPiece> tweaks;
        size_t filled = 0;
        auto flush = [&] {
            combine(in, tweaks.bytes, out, filled);
            if (kEncrypt)
                cipher_->encrypt(out, tweaks.bytes, out, filled / kBlock);
            else
                cipher_->decrypt(out, tweaks.bytes, out, filled / kBlock);
            in += filled;
            out += filled;
            filled = 0;
        };
        while (sectors > 0) {
            size_t batch = std::min(sectors, Starts::kMostStarts);
            std::byte* start = starts.to(batch * kBlock);
            starts_.begin(ivs, batch, start);
            for (size_t sector = 0; sector < batch; sector++, start += kBlock)
                for (size_t left = sector_bytes; left > 0;) {
                    size_t part = std::min(left, kPiece - filled);
                    starts_.fill(start, tweaks.to(filled + part) + filled, part / kBlock);
                    filled += part;
                    left -= part;
                    if (filled == kPiece) flush();
                }
            ivs += batch * kBlock;
            sectors -= batch;
        }
        flush();
    }

    SecretPtr<BlockCipher> cipher_;
    Starts starts_;
};

bool has_blocks_of_16(const CipherType& cipher) {
    return cipher.make != nullptr && cipher.block_bytes == kBlock;
}
bool has_blocks(const CipherType& cipher) { return cipher.make != nullptr && cipher.block_bytes >= 8; }
bool is_block_cipher(const CipherType& cipher) { return cipher.make != nullptr; }

size_t iv_of_a_block(const CipherType& cipher) { return cipher.block_bytes; }
size_t no_iv(const CipherType&) { return 0; }

bool takes_cipher_key(const CipherType& cipher, size_t bytes) { return cipher.takes_key(bytes); }
bool takes_two_keys(const CipherType& cipher, size_t bytes) {
    return bytes % 2 == 0 && cipher.takes_key(bytes / 2);
}
bool takes_key_and_block(const CipherType& cipher, size_t bytes) {
    return bytes >= kBlock && cipher.takes_key(bytes - kBlock);
}

template <class Mode>
SecretPtr<SectorCipher> make(const CipherType& cipher, std::span<const std::byte> key) {
    return make_secret<Mode>(cipher.make(key));
}

SecretPtr<SectorCipher> make_xts_of(const CipherType& cipher, std::span<const std::byte> key) {
    if (AesWay way = best_aes_way(); cipher.name == "aes" && way != AesWay::none)
        return make_fast_aes_xts(way, key);
    return make_xts(cipher.make(key.first(key.size() / 2)), cipher.make(key.subspan(key.size() / 2)));
}

SecretPtr<SectorCipher> make_lrw(const CipherType& cipher, std::span<const std::byte> key) {
    SecretPtr<SectorCipher> made = make_secret<Whitened<LrwStarts>>(
        cipher.make(key.first(key.size() - kBlock)), LrwStarts(key.last(kBlock)));
    wipe_stack();
    return made;
}

bool is_adiantum(const CipherType& cipher) { return cipher.name.starts_with("xchacha"); }
size_t iv_of_adiantum(const CipherType&) { return 32; }

SecretPtr<SectorCipher> make_adiantum_of(const CipherType& cipher, std::span<const std::byte> key) {
    return make_adiantum(cipher.name.starts_with("xchacha12") ? 12 : 20, key);
}

}  // namespace

SecretPtr<SectorCipher> make_xts(SecretPtr<BlockCipher> data, SecretPtr<BlockCipher> tweaks) {
    return make_secret<Whitened<XtsStarts>>(std::move(data), XtsStarts(std::move(tweaks)));
}

const std::vector<ModeType>& mode_types() {
    static const std::vector<ModeType> types = {
        {"xts", iv_of_a_block, has_blocks_of_16, takes_two_keys, make_xts_of},
        {"cbc", iv_of_a_block, has_blocks, takes_cipher_key, make<Cbc>},
        {"ecb", no_iv, is_block_cipher, takes_cipher_key, make<Ecb>},
        {"ctr", iv_of_a_block, has_blocks, takes_cipher_key, make<Ctr>},
        {"lrw", iv_of_a_block, has_blocks_of_16, takes_key_and_block, make_lrw},
        {"adiantum", iv_of_adiantum, is_adiantum, takes_cipher_key, make_adiantum_of},
    };
    return types;
}

const ModeType* find_mode(std::string_view name) {
    auto at = std::ranges::find(mode_types(), name, &ModeType::name);
    return at == mode_types().end() ? nullptr : &*at;
}

}  // namespace dmfs
