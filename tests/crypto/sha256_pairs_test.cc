// Two digests at a time against one at a time.

#include "crypto/sha256_pairs.h"

#include <cstring>
#include <random>

#include "catch.h"
#include "crypto/hash.h"

using namespace dmfs;

TEST_CASE("two digests at once are those that come one by one") {
    if (!Sha256Pairs::possible()) return;
    const unsigned seed = 4;
    std::mt19937 random(seed);
    std::vector<std::byte> data(20000);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    auto part = [&](size_t at, size_t bytes) { return std::span<const std::byte>(data).subspan(at, bytes); };
    for (int round = 0; round < 3000; round++) {
        size_t before = round % 3 == 0 ? 0 : random() % 200, behind = round % 2 == 0 ? 0 : random() % 300;
        size_t bytes = round < 2000 ? random() % 300 : random() % 5000;
        size_t a = random() % 9000, b = random() % 9000;
        INFO("seed " << seed << ": " << before << ", " << bytes << ", " << behind);
        Sha256Pairs pairs(part(1, before), part(3, behind));
        std::byte first[32], second[32];
        const std::byte* messages[2] = {data.data() + a, data.data() + b};
        std::byte* digests[2] = {first, second};
        pairs.digest(messages, bytes, digests);
        auto check = [&](const std::byte* digest, size_t at) {
            std::unique_ptr<Hash> hash = find_hash("sha256")->make();
            std::byte wanted[32];
            hash->update(part(1, before));
            hash->update(part(at, bytes));
            hash->update(part(3, behind));
            hash->finish(wanted);
            REQUIRE(memcmp(wanted, digest, sizeof wanted) == 0);
        };
        check(first, a);
        check(second, b);
    }
}
