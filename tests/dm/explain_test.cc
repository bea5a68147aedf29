// Where requests would go, and back.

#include "dm/explain.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dm/device_mapper.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;
using Json = nlohmann::json;

namespace {

// A mount without a filesystem, and a folder with files for its tables.
class Bench {
  public:
    Bench() {
        char name[] = "/tmp/dmfs-explain-XXXXXX";
        folder = ::mkdtemp(name);
    }
    ~Bench() { std::filesystem::remove_all(folder); }

    std::string file(const std::string& name, Sector sectors) {
        std::string path = folder + "/" + name;
        int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        REQUIRE(::ftruncate(fd, static_cast<off_t>(bytes_of(sectors))) == 0);
        ::close(fd);
        return path;
    }
    std::shared_ptr<Volume> volume(const std::string& name, const std::string& table) {
        std::shared_ptr<Volume> made = dm.create(name);
        Outcome outcome = run_now(*executor, made->replace(dm.build(*made, table, folder), nullptr));
        REQUIRE(outcome);
        return made;
    }

    // Throws Refused.
    std::string reverse(const std::string& text, const std::string& from) {
        std::string answer;
        if (Outcome outcome = run_now(*executor, dm.reverse(text, from, &answer, nullptr)); !outcome)
            throw outcome.why();
        return answer;
    }

    Running executor;
    std::string folder;
    DeviceMapper dm{*executor, "", {}};
};

std::string path(const Volume& volume, Op op, Sector sector, Sector count, size_t most = 100) {
    return path_of(explain(*volume.live(), op, sector, count, most));
}

}  // namespace

TEST_CASE("a request is followed through every volume down to files") {
    Bench bench;
    std::string a = bench.file("a", 4096), b = bench.file("b c", 4096);
    auto low = bench.volume("low", "0 2048 linear a 100");
    auto top =
        bench.volume("top", "0 1024 linear low 64\n1024 1024 striped 2 64 low 1088 b\\ c 0\n2048 64 zero");
    CHECK(path(*top, Op::read, 5, 1) == "low:69+1>" + a + ":169+1");
    CHECK(path(*top, Op::write, 1000, 100) ==
          "low:1064+24>" + a + ":1164+24,low:1088+64>" + a + ":1188+64," + bench.folder + "/b\\ c:0+12");
    CHECK(path(*top, Op::read, 2040, 16) == bench.folder + "/b\\ c:504+8,zero");
    CHECK(path(*top, Op::flush, 0, 0) == "low>" + a + "," + bench.folder + "/b\\ c");
    CHECK(path(*top, Op::read, 1000, 100, 2) == "low:1064+24>" + a + ":1164+24,...");
}

TEST_CASE("an explanation is JSON, with the bytes of files") {
    Bench bench;
    bench.file("a", 4096);
    auto low = bench.volume("low", "0 2048 linear a 100");
    auto top = bench.volume("top", "0 1024 linear low 64");
    Json answer = Json::parse(explain_request(*top, "5+3 write\n"));
    CHECK(answer["operation"] == "write");
    CHECK(answer["steps"][0]["device"] == "low");
    CHECK(answer["steps"][0]["steps"][0]["offset"] == 169 * 512);
    CHECK(answer["steps"][0]["steps"][0]["kind"] == "file");
    CHECK(answer["cut_short"] == false);
    CHECK(!answer.contains("aligned_sector"));
}

TEST_CASE("a range of any length is explained at once: what is too much is cut short") {
    Bench bench;
    bench.volume("low", "0 1099511627776 zero");
    auto top = bench.volume("top", "0 1099511627776 striped 1 8 low 0");
    Json answer = Json::parse(explain_request(*top, "0+1099511627776"));
    CHECK(answer["cut_short"] == true);
    CHECK(answer["steps"].size() == 2048);  // each with one of its own below
    CHECK(Json::parse(bench.reverse("low 0+562949953421312", "/"))["seen"].size() == 4096);
    CHECK_THROWS_AS(bench.reverse("low 562949953421312", "/"), Refused);
}

TEST_CASE("questions that can't be answered are refused at the word") {
    Bench bench;
    bench.file("a", 4096);
    auto low = bench.volume("low", "0 2048 linear a 100");
    auto refusal = [&](const std::string& text) {
        try {
            explain_request(*low, text);
        } catch (const Refused& refused) {
            return std::to_string(refused.place().column) + " " + refused.reason();
        }
        return std::string("none");
    };
    CHECK(refusal("") == "0 no request to explain");
    CHECK(refusal("x") == "0 no range of sectors");
    CHECK(refusal("1+0") == "0 no range of sectors");
    CHECK(refusal("18446744073709551615+2") == "0 no range of sectors");
    CHECK(refusal("2047+2") == "0 the volume has 2048 sectors");
    CHECK(refusal("2048") == "0 the volume has 2048 sectors");
    CHECK(refusal("0 trim") == "2 no operation 'trim'");
    CHECK(refusal("0 read read") == "0 no request to explain");
    CHECK(refusal("2047") == "none");
}

TEST_CASE("a place of a file is found in every volume that shows it") {
    Bench bench;
    std::string a = bench.file("a", 4096);
    bench.volume("low", "0 2048 linear a 100");
    bench.volume("top", "0 1024 linear low 64\n1024 1024 linear a 0");
    std::filesystem::create_symlink(a, bench.folder + "/link");
    Json answer = Json::parse(bench.reverse("link 84992+1024", bench.folder));
    std::vector<std::string> seen;
    for (const Json& each : answer["seen"])
        seen.push_back(each["volume"].get<std::string>() + " " + each["sector"].dump() + "+" +
                       each["count"].dump() + " " + each["offset"].dump() + " " + each["through"].dump());
    CHECK(seen ==
          std::vector<std::string>{"low 66+2 84992 []", "top 2+2 84992 [\"low\"]", "top 1190+2 84992 []"});
    CHECK(Json::parse(bench.reverse("a 2096640", bench.folder))["seen"].empty());
    CHECK_THROWS_AS(bench.reverse("nothing 0", bench.folder), Refused);
    CHECK_THROWS_AS(bench.reverse("a x", bench.folder), Refused);
    CHECK_THROWS_AS(bench.reverse("a", bench.folder), Refused);
}
