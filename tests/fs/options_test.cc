#include "fs/options.h"

#include "base/refused.h"
#include "catch.h"

using namespace dmfs;
using namespace dmfs::fs;

TEST_CASE("words of -o are separated by commas, and a backslash quotes one") {
    Options options;
    options.parse("backing=direct,cache=auto,threads=3,,park_timeout=9,poll,truncate=refuse");
    CHECK(options.direct);
    CHECK(options.shared_mmap);
    CHECK(options.threads == 3);
    CHECK(options.park_seconds == 9);
    CHECK(options.poll);
    CHECK_FALSE(options.truncate_zeroes);
    CHECK(Options().truncate_zeroes);
    options.parse("x-systemd.requires=/a\\,b,noauto,nofail,_netdev,rw,user");
    CHECK(options.threads == 3);
}

TEST_CASE("what mount(8)'s users expect is taken") {
    Options options;
    options.parse("dirsync,lazytime,silent,strictatime,noatime,owner");
    CHECK_FALSE(options.sync);
    CHECK(options.source == "dmfs");
    options.parse("sync,fsname=/etc/a\\,b.toml,auto_unmount");
    CHECK(options.sync);
    CHECK(options.auto_unmount);
    CHECK(options.source == "/etc/a,b.toml");
    options.parse("async");
    CHECK_FALSE(options.sync);
    CHECK_THROWS_AS(options.parse("fsname="), Refused);
    CHECK_THROWS_AS(options.parse("nosuch"), Refused);
    options.sloppy = true;  // mount -s
    options.parse("nosuch,threads=3");
    CHECK(options.threads == 3);
    CHECK_THROWS_AS(options.parse("threads=x"), Refused);
}

TEST_CASE("an option that is not there is refused with what there is") {
    Options options;
    for (const char* words :
         {"nosuch", "backing=ram", "cache=", "executor=fast", "threads=x", "threads=65", "threads=-1",
          "park_timeout=1s", "space_ahead=much", "space_ahead=2T", "space_wait=1m", "truncate=no",
          "allow_other=maybe", "ro", "allow_other,allow_root"}) {
        INFO(words);
        Options fresh;
        CHECK_THROWS_AS(fresh.parse(words), Refused);
    }
    try {
        options.parse("backng=direct");
        FAIL("taken");
    } catch (const Refused& refused) {
        CHECK(refused.error() == EINVAL);
        CHECK(refused.reason().find("backng") != std::string::npos);
        CHECK(refused.remedy() == "'backing'?");
    }
}

TEST_CASE("the text of options gives the same options back") {
    Options options;
    options.parse(
        "backing=direct,executor=threads,threads=5,allow_root,park_timeout=7,space_ahead=1M,space_wait=3,"
        "truncate=refuse");
    Options again;
    std::string text = options.text();
    for (size_t at = 0; at < text.size();) {
        size_t end = text.find('\n', at);
        std::string line = text.substr(at, end - at);
        size_t equals = line.find(" = ");
        REQUIRE(equals != std::string::npos);
        again.set(line.substr(0, equals), line.substr(equals + 3));
        at = end + 1;
    }
    CHECK(again.text() == text);
    CHECK(again.direct);
    CHECK(again.allow_root);
}
