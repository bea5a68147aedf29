#include "dm/splitname.h"

#include "catch.h"

using namespace dmfs;

namespace {

std::string joined(std::string_view name) {
    SplitName parts = split_name(name, "LVM");
    return parts.group + "|" + parts.volume + "|" + parts.layer;
}

}  // namespace

// Every answer here is dmsetup's own.
TEST_CASE("an LVM name is split at single hyphens") {
    CHECK(joined("vg0-lv--x-real") == "vg0|lv-x|real");
    CHECK(joined("vg-lv") == "vg|lv|");
    CHECK(joined("vg-lv_tmeta") == "vg|lv_tmeta|");
    CHECK(joined("vg-lvol0-_tmeta") == "vg|lvol0|_tmeta");
    CHECK(joined("a-b-c-d") == "a|b|c");
    CHECK(joined("a") == "a||");
}

TEST_CASE("doubled hyphens belong to a part") {
    CHECK(joined("a--b") == "a-b||");
    CHECK(joined("a----b-c") == "a--b|c|");
    CHECK(joined("xvg--lv---x") == "xvg-lv-|x|");
}

TEST_CASE("a hyphen at the very end belongs to its part") {
    CHECK(joined("xa-") == "xa-||");
    CHECK(joined("xa--") == "xa-||");
    CHECK(joined("xa---") == "xa--||");
    CHECK(joined("xa-b--") == "xa|b-|");
}

TEST_CASE("names of another subsystem have no parts") {
    SplitName parts = split_name("vg-lv", "CRYPT");
    CHECK(parts.group.empty());
    CHECK(parts.volume.empty());
}

TEST_CASE("a uuid's beginning names its subsystem") {
    CHECK(subsystem_of("LVM-abc") == "LVM");
    CHECK(subsystem_of("CRYPT-LUKS2-abc") == "CRYPT");
    CHECK(subsystem_of("abc").empty());
    CHECK(subsystem_of("").empty());
}
