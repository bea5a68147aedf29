#include "cli/bounded.h"

#include <unistd.h>

#include "catch.h"

using namespace dmfs::cli;

TEST_CASE("what answers in time is handed on whole") {
    Texts texts{"", std::string("a\0b\n", 4), std::string(300'000, 'x')};
    CHECK(in_time([&] { return texts; }) == texts);
    CHECK(in_time([] { return Texts{}; }) == Texts{});
}

TEST_CASE("what does not answer in time, or fails, is nothing") {
    auto begun = std::chrono::steady_clock::now();
    CHECK_FALSE(in_time(
        [] {
            sleep(100);
            return Texts{};
        },
        std::chrono::milliseconds(50)));
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(50));
    CHECK_FALSE(in_time([]() -> Texts { throw 1; }));
}
