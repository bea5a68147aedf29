#include "dm/config.h"

#include <random>

#include "base/refused.h"
#include "catch.h"

using namespace dmfs;

namespace {

Refused refusal_of(std::string_view text) {
    try {
        parse_config(text, "dmfs.toml");
    } catch (const Refused& refused) {
        return refused;
    }
    FAIL("accepted: " << text);
    throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("options and volumes are read in the order of the file") {
    Config config = parse_config(
        "[mount]\n"
        "backing = \"cached\"\n"
        "allow_root = true\n"
        "workers = 4\n"
        "[[volume]]\n"
        "name = \"low\"\n"
        "uuid = \"UU\"\n"
        "readonly = true\n"
        "minor = 3\n"
        "table = \"\"\"\n"
        "0 8 zero\n"
        "\"\"\"\n"
        "[[volume]]\n"
        "name = \"above\"\n"
        "suspended = true\n",
        "dmfs.toml");
    CHECK(config.options == std::vector<std::pair<std::string, std::string>>{
                                {"allow_root", "true"}, {"backing", "cached"}, {"workers", "4"}});
    REQUIRE(config.volumes.size() == 2);
    CHECK(config.volumes[0].name == "low");
    CHECK(config.volumes[0].uuid == "UU");
    CHECK(config.volumes[0].readonly);
    CHECK(config.volumes[0].minor == 3U);
    CHECK(config.volumes[0].table == "0 8 zero\n");
    CHECK(config.volumes[0].line == 6);
    CHECK(config.volumes[0].table_line == 11);
    CHECK(config.volumes[1].suspended);
    CHECK(config.volumes[1].table.empty());
}

TEST_CASE("keys are named with the files that they are in") {
    Config config = parse_config(
        "[[key]]\n"
        "description = \"safe\"\n"
        "file = \"safe.key\"\n"
        "[[key]]\n"
        "file = \"/b\"\n"
        "type = \"user\"\n"
        "description = \"other\"\n",
        "dmfs.toml");
    REQUIRE(config.keys.size() == 2);
    CHECK(config.keys[0] == Config::Key{"logon", "safe", "safe.key", 3});
    CHECK(config.keys[1] == Config::Key{"user", "other", "/b", 5});
    CHECK(refusal_of("[[key]]\nfile = \"a\"\n").reason() == "a key needs a description and a file");
    CHECK(refusal_of("[[key]]\ndescription = \"a\"\n").reason() == "a key needs a description and a file");
    CHECK(refusal_of("[[key]]\ntype = \"encrypted\"\n").remedy() == "logon or user");
    CHECK(refusal_of("[[key]]\nfiles = \"a\"\n").remedy() == "did you mean file?");
    CHECK(refusal_of("[key]\nfile = \"a\"\n").remedy() == "[[key]]");
    CHECK(refusal_of("key = [1]\n").reason() == "a key is no table");
}

TEST_CASE("volumes into which snapshots merge are made last, with what stands on them") {
    Config config;
    auto add = [&](const char* name, const char* table) {
        Config::Volume volume;
        volume.name = name;
        volume.table = table;
        config.volumes.push_back(volume);
    };
    add("real", "0 8 zero\n");
    add("disk", "# snapshot-merge\n0 8 snapshot-merge real c PO 8\n");
    config.volumes.back().minor = 7;
    add("by name", "0 8 linear disk 0\n");
    add("by path", "0 8 linear /mnt/by\\ name 0\n");
    add("by number", "0 8 linear 0:7 0\n");
    add("other", "0 8 snapshot real d PO 8 # disk\n");
    std::vector<std::string> order;
    for (const Config::Volume* volume : making_order(config)) order.push_back(volume->name);
    CHECK(order == std::vector<std::string>{"real", "other", "disk", "by name", "by path", "by number"});
}

TEST_CASE("an empty file is an empty configuration") {
    Config config = parse_config("", "dmfs.toml");
    CHECK(config.options.empty());
    CHECK(config.volumes.empty());
}

TEST_CASE("broken TOML is refused at its place") {
    Refused refused = refusal_of("[mount]\nbacking = \n");
    CHECK(refused.error() == EINVAL);
    CHECK(refused.place().file == "dmfs.toml");
    CHECK(refused.place().line == 2);
    CHECK(refused.place().source == "backing = ");
}

TEST_CASE("a header without a name is refused at its place") {
    Refused refused = refusal_of("[mount]\n[.volume]\n");
    CHECK(refused.place().line == 2);
    CHECK(refused.place().column == 1);
}

TEST_CASE("letters beyond ASCII may stand anywhere in a string or a comment") {
    Config config = parse_config(
        "# \xc3\xa9\n[[volume]]\nname = \"\xe2\x82\xac\"\ntable = '''\n0 8 linear /\xc3\xa9 0\n'''\n",
        "dmfs.toml");
    REQUIRE(config.volumes.size() == 1);
    CHECK(config.volumes[0].table == "0 8 linear /\xc3\xa9 0\n");
}

TEST_CASE("an unknown key is refused with the one that was meant") {
    Refused refused = refusal_of("[[volume]]\nname = \"v\"\nreadonyl = true\n");
    CHECK(refused.reason() == "unknown key 'readonyl'");
    CHECK(refused.remedy() == "did you mean readonly?");
    CHECK(refused.place().line == 3);
    CHECK(refused.place().column == 0);
    CHECK(refused.place().length == 8);
    CHECK(refusal_of("[[volumes]]\nname = \"v\"\n").remedy() == "did you mean volume?");
}

TEST_CASE("a value of the wrong type is refused at the value") {
    Refused refused = refusal_of("[[volume]]\nname = \"v\"\nreadonly = \"yes\"\n");
    CHECK(refused.place().line == 3);
    CHECK(refused.place().column == 11);
    CHECK(refused.place().length == 5);
    for (const char* text :
         {"[[volume]]\nname = 3\n", "[volume]\nname = \"v\"\n", "volume = [1]\n", "mount = 3\n",
          "[[volume]]\nname = \"v\"\nminor = -1\n", "[[volume]]\nname = \"v\"\nminor = 1048576\n",
          "[[volume]]\nname = \"v\"\ntable = [1]\n", "[mount]\nx = [1]\n", "[[volume]]\nreadonly = true\n"}) {
        CAPTURE(text);
        CHECK_THROWS_AS(parse_config(text, "dmfs.toml"), Refused);
    }
}

TEST_CASE("two volumes of one name, uuid or minor are refused at the second") {
    CHECK(refusal_of("[[volume]]\nname = \"v\"\n[[volume]]\nname = \"v\"\n").place().line == 4);
    CHECK(refusal_of("[[volume]]\nname = \"v\"\nuuid = \"U\"\n[[volume]]\nname = \"w\"\nuuid = \"U\"\n")
              .place()
              .line == 6);
    CHECK(refusal_of("[[volume]]\nname = \"v\"\nminor = 1\n[[volume]]\nname = \"w\"\nminor = 1\n")
              .place()
              .line == 6);
}

TEST_CASE("a name that cannot name a volume is refused at its place") {
    CHECK(refusal_of("[[volume]]\nname = \"a/b\"\n").place().line == 2);
    CHECK(refusal_of("[[volume]]\nname = \"\"\n").place().line == 2);
}

TEST_CASE("a column counts bytes where the line holds other than ASCII") {
    CHECK(refusal_of("\"\xc3\xa9\" = 1\n").place().column == 0);
    CHECK(refusal_of("mount = { \"\xc3\xa9\" = [1] }\n").place().column == 17);
}

TEST_CASE("what is formatted is parsed back") {
    Config config;
    config.options = {{"allow_root", "true"}, {"backing", "ca\"ch\\ed"}, {"odd key", "4"}};
    config.volumes.resize(3);
    config.volumes[0].name = "sp ace\n\x01";
    config.volumes[0].table = "0 8 linear /it's\\ here 0\n8 8 zero \n";
    config.volumes[1].name = "\xc3\xa9";
    config.volumes[1].uuid = "U";
    config.volumes[1].minor = 9;
    config.volumes[1].readonly = true;
    config.volumes[2].name = "c";
    config.volumes[2].suspended = true;
    config.volumes[2].table = "0 8 linear /'''\"\"\"\\\x02/x 0\n";
    Config again = parse_config(format_config(config), "dmfs.toml");
    CHECK(again.options == config.options);
    REQUIRE(again.volumes.size() == 3);
    for (size_t i = 0; i < 3; i++) {
        Config::Volume volume = again.volumes[i];
        volume.line = volume.table_line = 0;
        CHECK(volume == config.volumes[i]);
    }
}

TEST_CASE("what TOML cannot hold is refused when it is formatted") {
    Config config;
    config.volumes.resize(1);
    for (const char* name : {"\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf5\x80\x80\x80"}) {
        config.volumes[0].name = name;
        CHECK_THROWS_AS(format_config(config), Refused);
    }
}

TEST_CASE("hostile bytes are refused, never worse") {
    unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::string good =
        "[mount]\na = 1\n[[volume]]\nname = \"v\"\ntable = '''\n0 8 zero\n'''\nminor = 3\n";
    for (int i = 0; i < 3000; i++) {
        std::string text = good;
        for (unsigned left = 1 + random() % 4; left > 0; left--)
            text[random() % text.size()] = static_cast<char>(random());
        try {
            parse_config(text, "dmfs.toml");
        } catch (const Refused& refused) {
            CHECK_FALSE(refused.report("configuration").empty());
        }
    }
    CHECK_THROWS_AS(parse_config("a = " + std::string(100000, '['), "dmfs.toml"), Refused);
    CHECK_THROWS_AS(parse_config(std::string(100000, '['), "dmfs.toml"), Refused);
}
