#include "dm/names.h"

#include "base/refused.h"
#include "catch.h"

using namespace dmfs;

namespace {

int error_of(std::string_view word, Mangling mode) {
    try {
        name_from_user(word, mode);
        return 0;
    } catch (const Refused& refused) {
        return refused.error();
    }
}

}  // namespace

TEST_CASE("a plain name is its own mangled form") {
    CHECK(mangle_name("vg0-lv.1#+:=@_Z") == "vg0-lv.1#+:=@_Z");
    CHECK(unmangle_name("vg0-lv.1") == "vg0-lv.1");
}

TEST_CASE("other bytes become a backslash, an x and two digits") {
    CHECK(mangle_name("disk one") == "disk\\x20one");
    CHECK(mangle_name("a\\b") == "a\\x5cb");
    CHECK(mangle_name("\xc3\xa9") == "\\xc3\\xa9");
}

TEST_CASE("unmangling gives back every byte that mangling took") {
    std::string all;
    for (int byte = 1; byte < 256; byte++) all += static_cast<char>(byte);
    CHECK(unmangle_name(mangle_name(all)) == all);
}

TEST_CASE("what only looks like a mangled byte stays") {
    CHECK(unmangle_name("a\\x2") == "a\\x2");
    CHECK(unmangle_name("a\\xzz") == "a\\xzz");
    CHECK(unmangle_name("\\") == "\\");
}

TEST_CASE("in auto mode a name may be given raw or mangled") {
    CHECK(name_from_user("disk one", Mangling::automatic) == "disk one");
    CHECK(name_from_user("disk\\x20one", Mangling::automatic) == "disk one");
    CHECK(name_from_user("disk", Mangling::automatic) == "disk");
}

TEST_CASE("in auto mode half a mangled name is refused") {
    CHECK(error_of("a b\\x20c", Mangling::automatic) == EINVAL);
}

TEST_CASE("in hex mode a name is taken as it stands") {
    CHECK(name_from_user("disk\\x20one", Mangling::hex) == "disk\\x20one");
}

TEST_CASE("in none mode a name is what a kernel would hold, both ways") {
    CHECK(name_from_user("disk\\x20one", Mangling::none) == "disk one");
    CHECK(name_for_user("disk one", Mangling::none) == "disk\\x20one");
    CHECK(name_for_user("disk one", Mangling::automatic) == "disk one");
}

TEST_CASE("names that cannot name a file are refused") {
    for (const char* name : {"", ".", "..", ".control", "a/b"}) {
        CAPTURE(name);
        CHECK(error_of(name, Mangling::automatic) == EINVAL);
    }
    CHECK(error_of("a\\x2fb", Mangling::automatic) == EINVAL);
    CHECK(error_of("a\\x00b", Mangling::automatic) == EINVAL);
}

TEST_CASE("a name holds at most 127 bytes, counted raw") {
    CHECK(error_of(std::string(127, 'a'), Mangling::automatic) == 0);
    CHECK(error_of(std::string(128, 'a'), Mangling::automatic) == ENAMETOOLONG);
    CHECK(error_of(mangle_name(std::string(127, ' ')), Mangling::automatic) == 0);
}

TEST_CASE("a uuid holds at most 128 bytes") {
    CHECK_NOTHROW(check_uuid(std::string(128, 'u')));
    CHECK_THROWS_AS(check_uuid(std::string(129, 'u')), Refused);
    CHECK_THROWS_AS(check_uuid("a\nb"), Refused);
}

TEST_CASE("a mistyped name finds its neighbours, the nearest first") {
    std::vector<std::string> names = {"root", "swap", "home", "homes"};
    CHECK(similar_names("hone", names) == std::vector<std::string>{"home"});
    CHECK(similar_names("homer", names) == std::vector<std::string>{"home", "homes"});
    CHECK(similar_names("zzzzzz", names).empty());
    CHECK(similar_names("", names).empty());
}

TEST_CASE("an unknown mangling mode is refused") { CHECK_THROWS_AS(parse_mangling("octal"), Refused); }
