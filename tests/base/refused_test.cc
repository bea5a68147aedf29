#include "base/refused.h"

#include "catch.h"

using namespace dmfs;

TEST_CASE("a refusal shows the place, the reason and the way out") {
    Refused refused(EINVAL, "chunk size 100 does not divide", "such as 96");
    CHECK(refused.detail() == "chunk size 100 does not divide\n  such as 96");
    Refused placed = refused.at({"table", 2, "0 6144 striped 3 100 a 0", 17, 3});
    CHECK(placed.detail() ==
          "table:2: chunk size 100 does not divide\n"
          "  0 6144 striped 3 100 a 0\n"
          "                   ^~~ such as 96");
    CHECK(placed.report("table") == "table refused: Invalid argument\n" + placed.detail());
    CHECK(placed.error() == EINVAL);
}

TEST_CASE("the first place of a refusal stays") {
    Refused refused = Refused(EINVAL, "r").at({"one", 1, {}, 0, 0}).at({"two", 2, {}, 0, 0});
    CHECK(refused.place().file == "one");
}

TEST_CASE("the marker stands below its word, also of a long line and at its ends") {
    for (size_t length : {1, 20, 99, 100, 101, 150, 1000})
        for (size_t column = 0; column < length; column += 7)
            for (size_t marked : {size_t{1}, size_t{3}, length - column}) {
                std::string source;
                for (size_t i = 0; i < length; i++) source += static_cast<char>('a' + i % 26);
                source[column] = '@';
                std::string detail = Refused(EINVAL, "r").at({"t", 1, source, column, marked}).detail();
                size_t second = detail.find('\n') + 1, third = detail.find('\n', second) + 1;
                size_t at = detail.find('@') - second, marker = detail.find('^', third) - third;
                REQUIRE(at == marker);
                REQUIRE(third - second < 120);
                REQUIRE(detail.size() - third < 120);
            }
}

TEST_CASE("control characters of a line are shown as blanks") {
    std::string detail = Refused(EINVAL, "r").at({"t", 1, "a\tb\033[2J", 2, 1}).detail();
    CHECK(detail.find('\t') == std::string::npos);
    CHECK(detail.find('\033') == std::string::npos);
}

TEST_CASE("a place beyond its line does no harm") {
    std::string detail = Refused(EINVAL, "r", "m").at({"t", 1, "short", 500, 500}).detail();
    CHECK(detail.find("short") != std::string::npos);
    CHECK(Refused(EINVAL, "r", "m").at({"t", 1, "", 0, 1}).detail() == "t:1: r\n  m");
}
