// A sector is a left part and 16 bytes on the right. To encrypt:
//
//        left                            right
//         |----------- H(iv, left) -------> +
//         |                                 E      one block of AES
//         ^ <--- XChaCha of the block ------|
//         |----------- H(iv, left) -------> -
//        left                            right
//
// H is a sum of two hashes: of the length and the iv by Poly1305, of the part by
// NHPoly1305. + and - are of little-endian numbers of 128 bits. To decrypt, the same from
// below. All keys are made from the one by XChaCha. (Crowley and Biggers, "Adiantum:
// length-preserving encryption for entry-level processors", 2018.)

#include "crypto/adiantum.h"

#include <cstring>

#include "crypto/chacha.h"
#include "crypto/nhpoly1305.h"
#include "crypto/scratch.h"

namespace dmfs {

namespace {

constexpr size_t kBlock = 16, kIvBytes = 32, kKeyBytes = 32;

Uint128 load128(const std::byte* bytes) {
    Uint128 number;
    memcpy(&number, bytes, 16);
    return number;
}

// What one key becomes.
struct Keys {
    Keys(int rounds, std::span<const std::byte> key) : bytes(kKeyBytes + 16 + NhPoly1305::kKeyBytes) {
        std::byte nonce[24] = {std::byte{1}};
        ChachaState state = xchacha_state(key.data(), nonce, rounds);
        chacha_combine(state, rounds, bytes.bytes().data(), bytes.bytes().data(), bytes.size());
        wipe(std::as_writable_bytes(std::span(state)));
    }
    std::span<const std::byte> block_cipher() const { return bytes.bytes().first(kKeyBytes); }
    const std::byte* header() const { return bytes.bytes().data() + kKeyBytes; }
    const std::byte* part() const { return header() + 16; }

    Secret bytes;  // zeros, and so the stream itself
};

class Adiantum final : public SectorCipher {
  public:
    Adiantum(int rounds, std::span<const std::byte> key, const Keys& keys)
        : rounds_(rounds),
          cipher_(find_cipher("aes")->make(keys.block_cipher())),
          of_header_(keys.header()),
          of_part_(keys.part()) {
        memcpy(key_, key.data(), kKeyBytes);
    }

    size_t iv_bytes() const override { return kIvBytes; }

    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        run<true>(in, out, sector_bytes, sectors, ivs);
    }
    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        run<false>(in, out, sector_bytes, sectors, ivs);
    }

  private:
    static constexpr size_t kBatch = 8;  // sectors whose blocks the cipher gets in one call

    template <bool kEncrypt>
    void run(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
             const std::byte* ivs) const {
        size_t left = sector_bytes - kBlock;
        Scratch<kBatch * kBlock> before, after;
        Uint128 headers[kBatch];
        while (sectors > 0) {
            size_t batch = std::min(sectors, kBatch);
            std::byte *first = before.to(batch * kBlock), *second = after.to(batch * kBlock);
            for (size_t i = 0; i < batch; i++) {
                const std::byte* sector = in + i * sector_bytes;
                headers[i] = hash_header(left, ivs + i * kIvBytes);
                Uint128 sum = load128(sector + left) + headers[i] + of_part_.hash(sector, left);
                memcpy(first + i * kBlock, &sum, kBlock);
            }
            if (kEncrypt)
                cipher_->encrypt(first, second, batch);
            else
                cipher_->decrypt(first, second, batch);
            for (size_t i = 0; i < batch; i++) {
                std::byte* sector = out + i * sector_bytes;
                stream((kEncrypt ? second : first) + i * kBlock, in + i * sector_bytes, sector, left);
                Uint128 rest = load128(second + i * kBlock) - headers[i] - of_part_.hash(sector, left);
                memcpy(sector + left, &rest, kBlock);
            }
            in += batch * sector_bytes;
            out += batch * sector_bytes;
            ivs += batch * kIvBytes;
            sectors -= batch;
        }
    }

    Uint128 hash_header(size_t left, const std::byte* iv) const {
        std::byte header[kBlock + kIvBytes] = {};
        uint64_t bits = uint64_t{left} * 8;
        memcpy(header, &bits, 8);
        memcpy(header + kBlock, iv, kIvBytes);
        Poly1305::Sum sum;
        of_header_.add(sum, header, sizeof header / kBlock);
        return Poly1305::finish(sum);
    }

    // The nonce is the block, a one and zeros.
    void stream(const std::byte* block, const std::byte* in, std::byte* out, size_t bytes) const {
        std::byte nonce[24] = {};
        memcpy(nonce, block, kBlock);
        nonce[kBlock] = std::byte{1};
        ChachaState state = xchacha_state(key_, nonce, rounds_);
        chacha_combine(state, rounds_, in, out, bytes);
        wipe(std::as_writable_bytes(std::span(state)));
    }

    int rounds_;
    SecretPtr<BlockCipher> cipher_;
    Poly1305 of_header_;
    NhPoly1305 of_part_;
    std::byte key_[kKeyBytes];
};

}  // namespace

SecretPtr<SectorCipher> make_adiantum(int rounds, std::span<const std::byte> key) {
    SecretPtr<SectorCipher> cipher = make_secret<Adiantum>(rounds, key, Keys(rounds, key));
    wipe_stack();
    return cipher;
}

}  // namespace dmfs
