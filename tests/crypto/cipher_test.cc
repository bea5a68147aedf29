#include "crypto/cipher.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "catch.h"
#include "crypto/block_ciphers.h"
#include "crypto/support.h"

namespace dmfs {

namespace {

using test::hex;
using test::random_bytes;
using test::unhex;

std::string encrypt_blocks(std::string_view cipher, std::string_view key, std::string_view plaintext) {
    SecretPtr<BlockCipher> made = find_cipher(cipher)->make(unhex(key));
    std::vector<std::byte> bytes = unhex(plaintext);
    made->encrypt(bytes.data(), bytes.data(), bytes.size() / made->block_bytes());
    return hex(bytes);
}

// As long a key as this cipher takes, made of the lengths that all modes can use.
size_t some_key_bytes(const ModeType& mode, const CipherType& cipher) {
    for (size_t bytes = 128; bytes > 0; bytes--)
        if (mode.takes_key(cipher, bytes)) return bytes;
    return 0;
}

template <class Use>
void for_each_pair(Use use) {
    for (const CipherType& cipher : cipher_types())
        for (const ModeType& mode : mode_types())
            if (mode.takes_cipher(cipher)) use(cipher, mode);
}

}  // namespace

TEST_CASE("block ciphers answer as their standards' examples") {
    // FIPS 197, C.1 to C.3
    std::string_view text = "00112233445566778899aabbccddeeff";
    std::string_view key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    CHECK(encrypt_blocks("aes", key.substr(0, 32), text) == "69c4e0d86a7b0430d8cdb78070b4c55a");
    CHECK(encrypt_blocks("aes", key.substr(0, 48), text) == "dda97ca4864cdfe06eaf70a0ec0d7191");
    CHECK(encrypt_blocks("aes", key, text) == "8ea2b7ca516745bfeafc49904b496089");
    // RFC 2144, B.1
    CHECK(encrypt_blocks("cast5", "0123456712345678234567893456789a", "0123456789abcdef") ==
          "238b4fe5847e44b2");
    CHECK(encrypt_blocks("cast5", "01234567123456782345", "0123456789abcdef") == "eb6a711a2c02271b");
    CHECK(encrypt_blocks("cast5", "0123456712", "0123456789abcdef") == "7ac816d16e9b302e");
    // RFC 2612, A
    std::string_view zeros = "00000000000000000000000000000000";
    CHECK(encrypt_blocks("cast6", "2342bb9efa38542c0af75647f29f615d", zeros) ==
          "c842a08972b43d20836c91d1b7530f6b");
    CHECK(encrypt_blocks("cast6", "2342bb9efa38542cbed0ac83940ac298bac77a7717942863", zeros) ==
          "1b386c0210dcadcbdd0e41aa08a7a7e8");
    // RFC 3713, A
    std::string_view same = "0123456789abcdeffedcba9876543210";
    CHECK(encrypt_blocks("camellia", same, same) == "67673138549669730857065648eabe43");
    CHECK(encrypt_blocks("camellia", "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff",
                         same) == "9acc237dff16d76c20ef7c919e3a7509");
    // GB/T 32907, A.1
    CHECK(encrypt_blocks("sm4", same, same) == "681edf34d206965e86b3e94f536e4246");
    // RFC 4269, B.1
    CHECK(encrypt_blocks("seed", zeros, "000102030405060708090a0b0c0d0e0f") ==
          "5ebac6e0054e166819aff1cc6d346cdb");
    CHECK(encrypt_blocks("cipher_null", "", "0123") == "0123");
}

TEST_CASE("ciphers and modes answer as the known answers say") {
    std::ifstream file(DMFS_VECTORS "/ciphers.txt");
    REQUIRE(file.is_open());
    std::set<std::string> seen;
    std::string line;
    while (std::getline(file, line)) {
        if (line.empty() || line[0] == '#') continue;
        std::istringstream words(line);
        std::string name, key_word, iv_word, plaintext_word, ciphertext_word;
        words >> name >> key_word >> iv_word >> plaintext_word >> ciphertext_word;
        INFO(name << " with a key " << key_word << " on " << plaintext_word.size() / 2 << " bytes");
        seen.insert(name);
        size_t open = name.find('(');
        const CipherType* cipher = find_cipher(name.substr(open + 1, name.size() - open - 2));
        const ModeType* mode = find_mode(name.substr(0, open));
        std::vector<std::byte> key = unhex(key_word == "-" ? "" : key_word);
        REQUIRE(cipher != nullptr);
        REQUIRE(mode != nullptr);
        REQUIRE(mode->takes_cipher(*cipher));
        REQUIRE(mode->takes_key(*cipher, key.size()));

        SecretPtr<SectorCipher> made = mode->make(*cipher, key);
        std::vector<std::byte> iv = unhex(iv_word == "-" ? "" : iv_word), bytes = unhex(plaintext_word);
        REQUIRE(made->iv_bytes() == iv.size());
        REQUIRE(mode->iv_bytes(*cipher) == iv.size());
        made->encrypt(bytes.data(), bytes.data(), bytes.size(), 1, iv.data());
        CHECK(hex(bytes) == ciphertext_word);
        made->decrypt(bytes.data(), bytes.data(), bytes.size(), 1, iv.data());
        CHECK(hex(bytes) == plaintext_word);
    }
    CHECK(seen.size() >= 37);
}

TEST_CASE("many blocks at once, aligned or not, in place or not, are as one by one") {
    std::mt19937_64 random(GENERATE(1, 2, 3));
    for (const CipherType& type : cipher_types()) {
        if (type.make == nullptr) continue;
        INFO(type.name);
        SecretPtr<BlockCipher> cipher = type.make(random_bytes(random, type.most_key_bytes));
        size_t block = cipher->block_bytes();
        REQUIRE(block == type.block_bytes);
        for (size_t blocks : {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 255}) {
            INFO(blocks << " blocks");
            size_t shift = random() % 64;
            std::vector<std::byte> in = random_bytes(random, shift + blocks * block);
            std::vector<std::byte> mask = random_bytes(random, shift + blocks * block);
            std::vector<std::byte> expected(blocks * block), expected_masked, out(shift + blocks * block);
            for (size_t i = 0; i < blocks; i++)
                cipher->encrypt(in.data() + shift + i * block, expected.data() + i * block, 1);
            expected_masked = expected;
            for (size_t i = 0; i < expected.size(); i++) expected_masked[i] ^= mask[shift + i];
            auto result = [&] {
                return std::vector<std::byte>(out.begin() + static_cast<long>(shift), out.end());
            };

            cipher->encrypt(in.data() + shift, out.data() + shift, blocks);
            CHECK(result() == expected);
            cipher->encrypt(in.data() + shift, mask.data() + shift, out.data() + shift, blocks);
            CHECK(result() == expected_masked);
            out = mask;  // the mask is where the result goes
            cipher->encrypt(in.data() + shift, out.data() + shift, out.data() + shift, blocks);
            CHECK(result() == expected_masked);
            out = in;
            cipher->encrypt(out.data() + shift, out.data() + shift, blocks);
            CHECK(result() == expected);
            cipher->decrypt(out.data() + shift, out.data() + shift, blocks);
            CHECK(out == in);
            std::vector<std::byte> back(blocks * block);
            for (size_t i = 0; i < blocks; i++)
                cipher->decrypt(expected.data() + i * block, back.data() + i * block, 1);
            CHECK(back == std::vector<std::byte>(in.begin() + static_cast<long>(shift), in.end()));
            cipher->decrypt(expected.data(), mask.data() + shift, out.data() + shift, blocks);
            for (size_t i = shift; i < out.size(); i++) out[i] ^= mask[i];
            CHECK(result() == back);
        }
    }
}

TEST_CASE("a request of many sectors is as its sectors one by one") {
    std::mt19937_64 random(GENERATE(1, 2));
    for_each_pair([&](const CipherType& cipher, const ModeType& mode) {
        INFO(mode.name << " of " << cipher.name);
        SecretPtr<SectorCipher> made = mode.make(cipher, random_bytes(random, some_key_bytes(mode, cipher)));
        size_t iv_bytes = made->iv_bytes();
        for (size_t sector_bytes : {16, 48, 512, 1024, 2048, 4096, 8192})
            for (size_t sectors : {1, 2, 3, 16, 70}) {
                size_t shift = random() % 16, total = sector_bytes * sectors;
                if (total > 100'000) continue;
                INFO(sectors << " sectors of " << sector_bytes);
                std::vector<std::byte> in = random_bytes(random, shift + total);
                std::vector<std::byte> ivs = random_bytes(random, sectors * iv_bytes + 1);
                std::vector<std::byte> expected(total), out(shift + total);
                for (size_t i = 0; i < sectors; i++)
                    made->encrypt(in.data() + shift + i * sector_bytes, expected.data() + i * sector_bytes,
                                  sector_bytes, 1, ivs.data() + i * iv_bytes);
                auto result = [&] {
                    return std::vector<std::byte>(out.begin() + static_cast<long>(shift), out.end());
                };
                made->encrypt(in.data() + shift, out.data() + shift, sector_bytes, sectors, ivs.data());
                CHECK(result() == expected);
                out = in;
                made->encrypt(out.data() + shift, out.data() + shift, sector_bytes, sectors, ivs.data());
                CHECK(result() == expected);
                made->decrypt(out.data() + shift, out.data() + shift, sector_bytes, sectors, ivs.data());
                CHECK(out == in);
                std::ranges::fill(out, std::byte{0});
                made->decrypt(expected.data(), out.data() + shift, sector_bytes, sectors, ivs.data());
                CHECK(std::equal(out.begin() + static_cast<long>(shift), out.end(),
                                 in.begin() + static_cast<long>(shift)));
            }
    });
}

TEST_CASE("several threads may use one cipher") {
    for_each_pair([&](const CipherType& cipher, const ModeType& mode) {
        INFO(mode.name << " of " << cipher.name);
        std::mt19937_64 random(1);
        SecretPtr<SectorCipher> made = mode.make(cipher, random_bytes(random, some_key_bytes(mode, cipher)));
        constexpr size_t kSectors = 16;
        std::vector<std::byte> in = random_bytes(random, kSectors * 512), expected(in.size());
        std::vector<std::byte> ivs = random_bytes(random, kSectors * made->iv_bytes() + 1);
        made->encrypt(in.data(), expected.data(), 512, kSectors, ivs.data());
        std::atomic<int> wrong = 0;
        auto work = [&] {
            std::vector<std::byte> out(in.size());
            for (int i = 0; i < 20; i++) {
                made->encrypt(in.data(), out.data(), 512, kSectors, ivs.data());
                if (out != expected) wrong++;
                made->decrypt(out.data(), out.data(), 512, kSectors, ivs.data());
                if (out != in) wrong++;
            }
        };
        std::vector<std::jthread> threads;
        for (int i = 0; i < 10; i++) threads.emplace_back(work);
        threads.clear();
        CHECK(wrong == 0);
    });
}

TEST_CASE("keys are of the lengths that Linux takes") {
    auto lengths = [](std::string_view mode, std::string_view cipher) {
        std::string text;
        for (size_t bytes = 0; bytes <= 128; bytes++)
            if (find_mode(mode)->takes_key(*find_cipher(cipher), bytes)) text += " " + std::to_string(bytes);
        return text;
    };
    CHECK(lengths("cbc", "aes") == " 16 24 32");
    CHECK(lengths("xts", "aes") == " 32 48 64");
    CHECK(lengths("lrw", "aes") == " 32 40 48");
    CHECK(lengths("cbc", "cast6") == " 16 20 24 28 32");
    CHECK(lengths("cbc", "des3_ede") == " 24");
    CHECK(lengths("ecb", "cipher_null") == " 0");
    CHECK(find_cipher("serpent")->takes_key(0));
    CHECK(find_cipher("serpent")->takes_key(32));
    CHECK_FALSE(find_cipher("serpent")->takes_key(33));
    CHECK(find_cipher("blowfish")->takes_key(56));
    CHECK_FALSE(find_cipher("blowfish")->takes_key(3));
    CHECK(find_cipher("kuznyechik") == nullptr);
    CHECK(find_mode("gcm") == nullptr);
    CHECK_FALSE(find_mode("xts")->takes_cipher(*find_cipher("blowfish")));
    CHECK_FALSE(find_mode("cbc")->takes_cipher(*find_cipher("cipher_null")));
}

}  // namespace dmfs
