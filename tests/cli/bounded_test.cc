#include "cli/bounded.h"

#include <unistd.h>

#include "catch.h"

using namespace dmfs::cli;

TEST_CASE("what answers in time is handed on whole") {
    Texts texts{"", std::string("a\0b\n", 4), std::string(300'000, 'x')};
    // A process that a sanitizer watches takes long to copy itself.
    constexpr std::chrono::seconds kPatience{60};
    CHECK(in_time([&] { return texts; }, kPatience) == texts);
    CHECK(in_time([] { return Texts{}; }, kPatience) == Texts{});
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
