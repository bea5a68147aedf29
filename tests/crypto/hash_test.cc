#include "crypto/hash.h"

#include <string>

#include "catch.h"

namespace dmfs {

namespace {

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (std::byte byte : bytes) {
        text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
        text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
    }
    return text;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string digest(Hash& hash) {
    std::vector<std::byte> digest(hash.digest_bytes());
    hash.finish(digest.data());
    return hex(digest);
}

}  // namespace

TEST_CASE("hashes answer as their standards' examples for abc") {
    // FIPS 180-2 and 202, RFC 1320, 1321 and 7693, ISO/IEC 10118-3; checked with `openssl dgst`.
    const std::pair<std::string_view, std::string_view> examples[] = {
        {"md4", "a448017aaf21d8525fc10ae87aa6729d"},
        {"md5", "900150983cd24fb0d6963f7d28e17f72"},
        {"sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
        {"sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"sha384",
         "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
        {"sha512",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454"
         "d4423643ce80e2a9ac94fa54ca49f"},
        {"sha3-224", "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"},
        {"sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
        {"sha3-384",
         "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25"},
        {"sha3-512",
         "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e39340573"
         "40b4cf408d5a56592f8274eec53f0"},
        {"rmd160", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"},
        {"wp512",
         "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c7181eebdb6c57e277d0e34957114cbd6c79"
         "7fc9d95d8b582d225292076d4eef5"},
        {"wp384",
         "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c7181eebdb6c57e277d0e34957114cbd6"},
        {"wp256", "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c"},
        {"sm3", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"},
        {"blake2b-512",
         "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d"
         "38aa8dbf1925ab92386edd4009923"},
        {"blake2s-256", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"},
        {"blake2b-160", "384264f676f39536840523f284921cdc68b6846b"},
        {"blake2b-256", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"},
        {"blake2b-384",
         "6f56a82c8e7ef526dfe182eb5212f7db9df1317e57815dbda46083fc30f54ee6c66ba83be64b302d7cba6ce15bb556f4"},
        {"blake2s-128", "aa4938119b1dc7b87cbad0ffd200d0ae"},
        {"blake2s-160", "5ae3b99be29b01834c3b508521ede60438f8de17"},
        {"blake2s-224", "0b033fc226df7abde29f67a05d3dc62cf271ef3dfea4d387407fbd55"},
    };
    for (const auto& [name, expected] : examples) {
        INFO(name);
        const HashType* type = find_hash(name);
        REQUIRE(type != nullptr);
        std::unique_ptr<Hash> hash = type->make();
        CHECK(hash->digest_bytes() == type->digest_bytes);
        hash->update(bytes_of("abc"));
        CHECK(digest(*hash) == expected);
        hash->update(bytes_of("ab"));
        hash->update(bytes_of("c"));
        CHECK(digest(*hash) == expected);  // it began anew
    }
}

TEST_CASE("every hash goes on from a copy as from the beginning") {
    for (const HashType& type : hash_types()) {
        INFO(type.name);
        std::unique_ptr<Hash> whole = type.make();
        whole->update(bytes_of("salt and block"));
        std::string expected = digest(*whole);

        std::unique_ptr<Hash> salted = type.make();
        salted->update(bytes_of("salt "));
        std::unique_ptr<Hash> copy = salted->copy();
        copy->update(bytes_of("and block"));
        CHECK(digest(*copy) == expected);
        copy->update(bytes_of("something else"));
        copy->become(*salted);
        copy->update(bytes_of("and block"));
        CHECK(digest(*copy) == expected);
    }
}

TEST_CASE("a hash that nobody knows is not found") {
    CHECK(find_hash("sha255") == nullptr);
    CHECK(find_hash("") == nullptr);
}

}  // namespace dmfs
