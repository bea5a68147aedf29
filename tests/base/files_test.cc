#include "base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "catch.h"

using namespace dmfs;

TEST_CASE("below a folder no link is followed, nor opened itself") {
    char name[] = "/tmp/dmfs-files-XXXXXX";
    const std::string folder = ::mkdtemp(name);
    std::filesystem::create_directory(folder + "/in");
    std::ofstream(folder + "/in/file") << "text";
    ::symlink("in", (folder + "/link").c_str());
    ::symlink("file", (folder + "/in/link").c_str());
    auto error_of = [&](const char* path, int flags) {
        OpenFile file(open_below(folder, path, flags));
        return file.good() ? 0 : errno;
    };
    for (int flags : {O_RDONLY, O_PATH}) {
        CHECK(error_of("in/file", flags) == 0);
        CHECK(error_of("in/link", flags) == ELOOP);
        CHECK(error_of("link/file", flags) == ENOTDIR);
        CHECK(error_of("in/none", flags) == ENOENT);
    }
    CHECK(error_of("link", O_PATH | O_DIRECTORY) == ENOTDIR);
    std::filesystem::remove_all(folder);
}
