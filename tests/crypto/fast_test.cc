// Every fast way against the slow and obvious one.

#include <algorithm>

#include "catch.h"
#include "crypto/aes_fast.h"
#include "crypto/block_ciphers.h"
#include "crypto/modes.h"
#include "crypto/naive.h"
#include "crypto/support.h"

namespace dmfs {

namespace {

using test::Bytes;
using test::random_bytes;

constexpr AesWay kWays[] = {AesWay::one_block, AesWay::two_blocks, AesWay::four_blocks};

Bytes part(const Bytes& bytes, size_t from, size_t count) {
    return {bytes.begin() + static_cast<long>(from), bytes.begin() + static_cast<long>(from + count)};
}

// Encrypts and decrypts at some alignment, in place or not.
void check_sectors(const SectorCipher& cipher, const Bytes& plain, const Bytes& expected, size_t sector_bytes,
                   const Bytes& ivs, std::mt19937_64& random) {
    size_t sectors = plain.size() / sector_bytes, shift = random() % 64, other = random() % 64;
    INFO(sectors << " sectors of " << sector_bytes << " at " << shift << " and " << other);
    Bytes guard(64, std::byte{0x5a});
    auto around = [&](size_t at, const Bytes& bytes) {
        Bytes memory(at, std::byte{0x5a});
        memory.insert(memory.end(), bytes.begin(), bytes.end());
        memory.insert(memory.end(), guard.begin(), guard.end());
        return memory;
    };
    Bytes zeros(plain.size());
    Bytes in = around(shift, plain), out = around(other, zeros);
    cipher.encrypt(in.data() + shift, out.data() + other, sector_bytes, sectors, ivs.data());
    CHECK(out == around(other, expected));
    CHECK(in == around(shift, plain));
    cipher.encrypt(in.data() + shift, in.data() + shift, sector_bytes, sectors, ivs.data());
    CHECK(in == around(shift, expected));
    out = around(other, zeros);
    cipher.decrypt(in.data() + shift, out.data() + other, sector_bytes, sectors, ivs.data());
    CHECK(out == around(other, plain));
    cipher.decrypt(in.data() + shift, in.data() + shift, sector_bytes, sectors, ivs.data());
    CHECK(in == around(shift, plain));
}

}  // namespace

TEST_CASE("modes are as their definitions, a block at a time") {
    unsigned seed = GENERATE(1U, 2U, 3U, 4U);
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (const char* name : {"aes", "serpent", "camellia", "blowfish", "sm4"})
        for (const ModeType& mode : mode_types()) {
            const CipherType& type = *find_cipher(name);
            if (!mode.takes_cipher(type)) continue;
            INFO(mode.name << " of " << name);
            size_t key_bytes = type.most_key_bytes;
            Bytes key = random_bytes(random, key_bytes * 2);
            if (mode.name == "lrw") key.resize(key_bytes + 16);
            if (mode.name != "xts" && mode.name != "lrw") key.resize(key_bytes);
            SecretPtr<BlockCipher> cipher = type.make(part(key, 0, key_bytes)), second;
            if (mode.name == "xts") second = type.make(part(key, key_bytes, key_bytes));
            Bytes tweak_key = part(key, key_bytes, key.size() - key_bytes);
            SecretPtr<SectorCipher> fast = mode.make(type, key);

            for (int i = 0; i < 6; i++) {
                size_t sector_bytes = i == 0 ? 512 : i == 1 ? 4096 : type.block_bytes * (1 + random() % 300);
                size_t sectors = 1 + random() % (i == 0 ? 40 : 3);
                size_t iv_bytes = fast->iv_bytes();
                Bytes plain = random_bytes(random, sector_bytes * sectors), expected, back;
                Bytes ivs = random_bytes(random, sectors * iv_bytes + 1);
                if (i % 2 == 0)  // counters that carry over all their bytes
                    std::ranges::fill(ivs, std::byte{0xff});
                for (size_t at = 0; at < sectors; at++) {
                    Bytes iv = part(ivs, at * iv_bytes, iv_bytes);
                    Bytes sector = test::naive(mode.name, true, *cipher, second.get(), tweak_key, iv,
                                               part(plain, at * sector_bytes, sector_bytes));
                    expected.insert(expected.end(), sector.begin(), sector.end());
                    sector = test::naive(mode.name, false, *cipher, second.get(), tweak_key, iv, sector);
                    back.insert(back.end(), sector.begin(), sector.end());
                }
                REQUIRE(back == plain);
                check_sectors(*fast, plain, expected, sector_bytes, ivs, random);
            }
        }
}

TEST_CASE("AES is the same in every way this processor has") {
    unsigned seed = GENERATE(1U, 2U, 3U);
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (AesWay way : kWays)
        for (size_t key_bytes : {16, 24, 32}) {
            if (!has_way(way)) continue;
            INFO("way " << static_cast<int>(way) << ", key " << key_bytes);
            Bytes key = random_bytes(random, key_bytes);
            SecretPtr<BlockCipher> fast = make_fast_aes(way, key), slow = make_cryptopp_aes(key);
            for (size_t blocks = 1; blocks <= 70; blocks++) {
                INFO(blocks << " blocks");
                size_t shift = random() % 64;
                Bytes in = random_bytes(random, shift + blocks * 16),
                      mask = random_bytes(random, blocks * 16);
                Bytes expected(blocks * 16), out(blocks * 16 + 1, std::byte{0x5a});
                slow->encrypt(in.data() + shift, mask.data(), expected.data(), blocks);
                fast->encrypt(in.data() + shift, mask.data(), out.data(), blocks);
                CHECK(std::ranges::equal(std::span(out).first(blocks * 16), expected));
                slow->decrypt(in.data() + shift, nullptr, expected.data(), blocks);
                fast->decrypt(in.data() + shift, nullptr, out.data(), blocks);
                CHECK(std::ranges::equal(std::span(out).first(blocks * 16), expected));
                CHECK(out.back() == std::byte{0x5a});
            }
        }
}

TEST_CASE("XTS is the same in every way this processor has") {
    unsigned seed = GENERATE(1U, 2U, 3U);
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (AesWay way : kWays)
        for (size_t key_bytes : {32, 48, 64}) {
            if (!has_way(way)) continue;
            INFO("way " << static_cast<int>(way) << ", key " << key_bytes);
            Bytes key = random_bytes(random, key_bytes);
            size_t half = key_bytes / 2;
            SecretPtr<SectorCipher> fast = make_fast_aes_xts(way, key);
            SecretPtr<SectorCipher> slow =
                make_xts(make_cryptopp_aes(part(key, 0, half)), make_cryptopp_aes(part(key, half, half)));
            for (int i = 0; i < 12; i++) {
                size_t sector_bytes = i < 4 ? 512UL << i : 16 * (1 + random() % 400);
                size_t sectors = 1 + random() % 70;
                Bytes plain = random_bytes(random, sector_bytes * sectors), expected(plain.size());
                Bytes ivs = random_bytes(random, sectors * 16);
                slow->encrypt(plain.data(), expected.data(), sector_bytes, sectors, ivs.data());
                check_sectors(*fast, plain, expected, sector_bytes, ivs, random);
            }
        }
}

}  // namespace dmfs
