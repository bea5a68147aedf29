#include "base/mounts.h"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "catch.h"

using namespace dmfs;

TEST_CASE("a line of mountinfo has a mount's id, source and options, whatever characters are in them") {
    char name[] = "/tmp/dmfs-mounts-XXXXXX";
    ::close(::mkstemp(name));
    std::ofstream(name)
        << "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
           "41 36 0:52 / /ov rw - overlay over\\134lay rw,lowerdir=/a\\054b:/c,upperdir=x/up\n"
           "no mount\n";
    std::vector<MountEntry> entries = mount_entries(name);
    ::unlink(name);
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].id == 36);
    CHECK(entries[0].device == makedev(98, 0));
    CHECK(entries[0].root == "/mnt1");
    CHECK(entries[0].where == "/mnt 2");
    CHECK(entries[0].type == "ext3");
    CHECK(entries[0].source == "/dev/root");
    CHECK(entries[1].source == "over\\lay");
    CHECK(entries[1].options == std::vector<std::string>{"rw", "lowerdir=/a,b:/c", "upperdir=x/up"});
}
