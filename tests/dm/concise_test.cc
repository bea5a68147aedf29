#include "dm/concise.h"

#include <random>

#include "base/refused.h"
#include "catch.h"

using namespace dmfs;

namespace {

Refused refusal_of(std::string_view text) {
    try {
        parse_concise(text);
    } catch (const Refused& refused) {
        return refused;
    }
    FAIL("accepted: " << text);
    throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("a volume is its five fields, the last of which repeats") {
    auto volumes = parse_concise("a,UU-1,7,ro,0 8 error,8 8 zero");
    REQUIRE(volumes.size() == 1);
    CHECK(volumes[0] == ConciseVolume{"a", "UU-1", 7, true, "0 8 error\n8 8 zero\n"});
}

TEST_CASE("uuid, minor and flags may be empty") {
    auto volumes = parse_concise("a,,,,0 8 zero");
    REQUIRE(volumes.size() == 1);
    CHECK(volumes[0] == ConciseVolume{"a", "", std::nullopt, false, "0 8 zero\n"});
}

TEST_CASE("semicolons and newlines separate volumes, and may follow the last one") {
    CHECK(parse_concise("a,,,,0 8 zero;b,,,,0 8 zero").size() == 2);
    CHECK(parse_concise("a,,,,0 8 zero;\n").size() == 1);
    CHECK(parse_concise("a,,,,0 8 zero\nb,,,,0 8 zero\n").size() == 2);
    CHECK(parse_concise("a,,,,0 8 zero,\n8 8 zero\n").size() == 1);
    CHECK(parse_concise(" \n;; ").empty());
    CHECK(parse_concise("").empty());
}

TEST_CASE("a volume without a table ends behind its flags") {
    auto volumes = parse_concise("a,,,rw;b,,3,ro");
    REQUIRE(volumes.size() == 2);
    CHECK(volumes[0].table.empty());
    CHECK(volumes[1].readonly);
}

TEST_CASE("blanks around a name and a uuid belong to them, around the rest they do not count") {
    auto volumes = parse_concise(" a , UU , 3 , rw , 0 8 zero , 8 8 zero ");
    REQUIRE(volumes.size() == 1);
    CHECK(volumes[0] == ConciseVolume{" a ", " UU ", 3, false, "0 8 zero\n8 8 zero\n"});
}

TEST_CASE("a backslash quotes what would end a field") {
    auto volumes = parse_concise("a\\,b\\;c,,,,0 8 linear /x\\,y\\\\ z 0");
    REQUIRE(volumes.size() == 1);
    CHECK(volumes[0].name == "a,b;c");
    CHECK(volumes[0].table == "0 8 linear /x,y\\ z 0\n");
}

TEST_CASE("a refusal points at the field that is wrong") {
    Refused refused = refusal_of("a,,,,0 8 zero;b,,,xx,0 8 zero");
    CHECK(refused.error() == EINVAL);
    CHECK(refused.place().line == 1);
    CHECK(refused.place().column == 18);
    CHECK(refused.place().length == 2);
    CHECK(refusal_of("a,,,,0 8 zero\nb,,q,,0 8 zero").place().line == 2);
    CHECK(refusal_of("a,,q,,0 8 zero").place().column == 3);
}

TEST_CASE("too few fields, an empty table line and impossible names are refused") {
    for (const char* text :
         {"a", "a,b", "a,b,3", ",,,,0 8 zero", "a,,,,", "a,,,,0 8 zero,", "a/b,,,,0 8 zero",
          "a,,1048576,,0 8 zero", "a,,-2,,0 8 zero", "a,,,,0 8 zero\\\n8 8 zero"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(parse_concise(text), Refused);
    }
    CHECK_THROWS_AS(parse_concise(std::string_view("a,,,,0 8 \0 zero", 15)), Refused);
}

TEST_CASE("as dmsetup: empty lines before the last are passed over, a minor of -1 is none") {
    CHECK(parse_concise("a,,-1,rw,,0 8 zero, ,8 8 zero") ==
          std::vector{ConciseVolume{"a", "", std::nullopt, false, "0 8 zero\n8 8 zero\n"}});
}

TEST_CASE("a volume without a table is one only where that is allowed") {
    CHECK(parse_concise("a,,3,ro") == std::vector{ConciseVolume{"a", "", 3, true, ""}});
    CHECK_THROWS_AS(parse_concise("a,,3,ro", "concise", true), Refused);
    CHECK_THROWS_AS(parse_concise("a,,,,0 8 zero;b,,,", "concise", true), Refused);
}

TEST_CASE("what is formatted is parsed back, whatever bytes it holds") {
    unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    constexpr std::string_view kBytes = "ab ,;\\\n\t\"'#\x01\xff";
    auto word = [&](size_t length, bool newlines) {
        std::string out;
        while (out.size() < length) {
            char c = kBytes[random() % kBytes.size()];
            if (newlines || c != '\n') out += c;
        }
        return out;
    };
    for (int i = 0; i < 2000; i++) {
        std::string text;
        std::vector<ConciseVolume> volumes(1 + random() % 3);
        for (ConciseVolume& volume : volumes) {
            volume.name = word(1 + random() % 10, true);
            for (size_t left = random() % 5; left > 0; left--) volume.uuid += "ab,;\\"[random() % 5];
            if (random() % 2 == 0) volume.minor = random() % 1000;
            volume.readonly = random() % 2 == 0;
            for (size_t rows = random() % 3; rows > 0; rows--)
                volume.table += "0 8 " + word(random() % 10, false) + "x\n";
            text += (text.empty() ? "" : ";") + format_concise(volume);
        }
        CAPTURE(text);
        REQUIRE(parse_concise(text) == volumes);
    }
}
