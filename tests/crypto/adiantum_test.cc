// Adiantum's parts; its own known answers are with the other modes'.

#include "catch.h"
#include "crypto/chacha.h"
#include "crypto/nhpoly1305.h"
#include "crypto/support.h"

namespace dmfs {

using test::hex;
using test::random_bytes;
using test::unhex;

TEST_CASE("chacha answers as its RFC's example, for any number of bytes") {
    // RFC 8439, 2.4.2; the block number there begins with 1.
    std::vector<std::byte> key = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    ChachaState state = chacha_state(key.data(), unhex("01000000000000000000004a00000000").data());
    std::string_view text =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        "sunscreen would be it.";
    std::vector<std::byte> out(text.size());
    chacha_combine(state, 20, reinterpret_cast<const std::byte*>(text.data()), out.data(), text.size());
    CHECK(hex(out).substr(0, 64) == "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b");
    CHECK(hex(out).substr(128) ==
          "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e4287"
          "4d");

    std::vector<std::byte> zeros(3000), stream(3000);
    chacha_combine(state, 12, zeros.data(), stream.data(), stream.size());
    for (size_t bytes : {0, 1, 63, 64, 65, 255, 256, 257, 512, 513, 1023, 1024, 1025, 2999}) {
        INFO(bytes);
        std::vector<std::byte> part(bytes);
        chacha_combine(state, 12, part.data(), part.data(), bytes);
        CHECK(std::equal(part.begin(), part.end(), stream.begin()));
    }
}

TEST_CASE("NH is the same in both ways") {
    std::mt19937_64 random(1);
    std::vector<std::byte> key = random_bytes(random, NhPoly1305::kNhKeyBytes);
    std::vector<std::byte> in = random_bytes(random, 1025);
    for (size_t bytes = 0; bytes <= 1024; bytes += 16)
        for (size_t shift : {0, 1}) {
            INFO(bytes);
            std::vector<std::byte> out(32), expected(32);
            nh_plain(key.data(), in.data() + shift, bytes, expected.data());
            nh(key.data(), in.data() + shift, bytes, out.data());
            CHECK(out == expected);
        }
}

}  // namespace dmfs
