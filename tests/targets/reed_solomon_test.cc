#include "targets/verity/reed_solomon.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "targets/verity_support.h"

using namespace dmfs::verity;
using dmfs::test::encoded;

namespace {

struct Words {
    std::mt19937 random;
    explicit Words(unsigned seed) : random(seed) {}

    std::vector<uint8_t> word(unsigned roots) {
        std::vector<uint8_t> word(kCodewordBytes);
        for (uint8_t& byte : word) byte = static_cast<uint8_t>(random());
        return encoded(word, roots);
    }
    // Different places of a word.
    std::vector<uint8_t> places(size_t count) {
        std::vector<uint8_t> all(kCodewordBytes);
        std::iota(all.begin(), all.end(), uint8_t{0});
        std::shuffle(all.begin(), all.end(), random);
        all.resize(count);
        return all;
    }
    void damage(std::vector<uint8_t>& word, std::span<const uint8_t> places) {
        for (uint8_t place : places) word[place] ^= static_cast<uint8_t>(1 + random() % 255);
    }
};

std::span<uint8_t, kCodewordBytes> whole(std::vector<uint8_t>& word) {
    return std::span<uint8_t, kCodewordBytes>(word);
}

}  // namespace

TEST_CASE("a codeword that is right is left alone") {
    Words words(1);
    for (unsigned roots = 2; roots <= kMostRoots; roots++) {
        std::vector<uint8_t> word = words.word(roots), damaged = word;
        CHECK(ReedSolomon(roots).correct(whole(damaged)) == 0);
        CHECK(damaged == word);
    }
}

TEST_CASE("e erased and n other bytes are put right while e + 2n is not more than the roots") {
    const unsigned seed = 7;
    INFO("seed " << seed);
    Words words(seed);
    for (unsigned roots = 2; roots <= kMostRoots; roots++)
        for (unsigned erased = 0; erased <= roots; erased++)
            for (unsigned others = 0; erased + 2 * others <= roots; others++) {
                INFO(roots << " roots, " << erased << " erased, " << others << " others");
                std::vector<uint8_t> word = words.word(roots), damaged = word;
                std::vector<uint8_t> places = words.places(erased + others);
                words.damage(damaged, places);
                auto known = std::span(places).first(erased);
                REQUIRE(ReedSolomon(roots).correct(whole(damaged), known) == erased + others);
                REQUIRE(damaged == word);
            }
}

TEST_CASE("an erased byte that is right does no harm") {
    Words words(9);
    for (int round = 0; round < 200; round++) {
        std::vector<uint8_t> word = words.word(8), damaged = word, places = words.places(8);
        words.damage(damaged, std::span(places).first(3));
        REQUIRE(ReedSolomon(8).correct(whole(damaged), places) == 3);
        REQUIRE(damaged == word);
    }
}

TEST_CASE("what is beyond the roots is refused, or becomes another codeword; never something else") {
    const unsigned seed = 3;
    INFO("seed " << seed);
    Words words(seed);
    unsigned refused = 0;
    for (int round = 0; round < 2000; round++) {
        unsigned roots = 2 + static_cast<unsigned>(words.random()) % 7;
        std::vector<uint8_t> damaged = words.word(roots);
        words.damage(damaged, words.places(roots / 2 + 1 + words.random() % 20));
        std::vector<uint8_t> before = damaged;
        if (ReedSolomon(roots).correct(whole(damaged))) {
            REQUIRE(encoded(damaged, roots) == damaged);
        } else {
            refused++;
            REQUIRE(damaged == before);
        }
    }
    CHECK(refused > 100);
    std::vector<uint8_t> word = words.word(2), places = words.places(3);
    CHECK(!ReedSolomon(2).correct(whole(word), places));
}

TEST_CASE("with few roots every pair of erasures is what trying all bytes finds") {
    Words words(5);
    for (int round = 0; round < 20; round++) {
        std::vector<uint8_t> word = words.word(2), damaged = word, places = words.places(1);
        words.damage(damaged, places);
        // The only codeword that differs in one byte.
        std::vector<std::vector<uint8_t>> found;
        for (unsigned place = 0; place < kCodewordBytes; place++)
            for (unsigned value = 0; value < 256; value += 51) {
                std::vector<uint8_t> tried = damaged;
                tried[place] = static_cast<uint8_t>(value == 0 ? word[place] : value);
                if (encoded(tried, 2) == tried) found.push_back(tried);
            }
        REQUIRE(!found.empty());
        for (const std::vector<uint8_t>& each : found) REQUIRE(each == word);
        REQUIRE(ReedSolomon(2).correct(whole(damaged)) == 1);
        REQUIRE(damaged == word);
    }
}
