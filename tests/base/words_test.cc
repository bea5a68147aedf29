#include "base/words.h"

#include <random>

#include "catch.h"

using namespace dmfs;

namespace {

std::vector<std::string> texts(std::string_view line) {
    std::vector<std::string> out;
    for (const Word& word : split_words(line)) out.push_back(word.text);
    return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("words are split at blanks of every kind") {
    CHECK(texts("") == Texts{});
    CHECK(texts(" \t\v\f\r\n") == Texts{});
    CHECK(texts("a") == Texts{"a"});
    CHECK(texts("  a \t bc\vd ") == Texts{"a", "bc", "d"});
}

TEST_CASE("a backslash quotes the character behind it") {
    CHECK(texts("a\\ b c") == Texts{"a b", "c"});
    CHECK(texts("\\\\ x") == Texts{"\\", "x"});
    CHECK(texts("\\a") == Texts{"a"});
    CHECK(texts("a\\") == Texts{"a\\"});
    CHECK(texts("\\ ") == Texts{" "});
}

TEST_CASE("a word knows where it stood") {
    std::vector<Word> words = split_words("  ab  c\\ d");
    REQUIRE(words.size() == 2);
    CHECK(words[0].column == 2);
    CHECK(words[0].length == 2);
    CHECK(words[1].column == 6);
    CHECK(words[1].length == 4);
}

TEST_CASE("a quoted word comes back as it was, with others around it") {
    std::mt19937 random(1);
    for (int round = 0; round < 2000; round++) {
        std::string text(1 + random() % 8, ' ');
        for (char& c : text) c = " \\#\t\nab/\x7f\xff\v"[random() % 11];
        CHECK(texts("x " + quote_word(text) + " y") == Texts{"x", text, "y"});
    }
}

TEST_CASE("decimal numbers are digits and nothing else") {
    CHECK(parse_decimal("0") == 0);
    CHECK(parse_decimal("007") == 7);
    CHECK(parse_decimal("18446744073709551615") == UINT64_MAX);
    for (const char* text : {"", "+1", "-1", "1x", "x1", " 1", "1 ", "0x1", "1.0", "18446744073709551616"})
        CHECK_FALSE(parse_decimal(text));
}

TEST_CASE("sizes have a unit of 1024s") {
    CHECK(parse_size("512") == 512);
    CHECK(parse_size("64K") == 65536);
    CHECK(parse_size("64k") == 65536);
    CHECK(parse_size("1M") == 1048576);
    CHECK(parse_size("1MiB") == 1048576);
    CHECK(parse_size("2GB") == uint64_t{2} << 30);
    CHECK(parse_size("1T") == uint64_t{1} << 40);
    CHECK(parse_size("15E") == uint64_t{15} << 60);
    for (const char* text :
         {"", "K", "1X", "1KB2", "1 K", "-1K", "1Kb", "16E", "1.5M", "99999999999999999999"})
        CHECK_FALSE(parse_size(text));
}
