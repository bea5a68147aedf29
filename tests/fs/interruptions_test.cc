#include "fs/interruptions.h"

#include <atomic>

#include "catch.h"

using namespace dmfs::fs;
using namespace std::chrono_literals;

namespace {

template <class Predicate>
bool comes_true(Predicate predicate) {
    for (int i = 0; i < 3000 && !predicate(); i++) std::this_thread::sleep_for(10ms);
    return predicate();
}

}  // namespace

TEST_CASE("who was interrupted is looked at until its wait has ended, and then no more") {
    Interruptions interruptions(1ms);
    std::atomic<int> looked = 0, other = 0;
    std::atomic<bool> killed = false;
    int who = 0, someone = 0;
    interruptions.add(&who, [&] { return ++looked, killed.load(); });
    interruptions.add(&someone, [&] { return ++other, false; });
    CHECK(comes_true([&] { return looked > 3; }));
    killed = true;
    int now = looked;
    CHECK(comes_true([&, before = other.load()] { return other > before + 3; }));
    CHECK(looked <= now + 2);
    interruptions.remove(&someone);
    int last = other;
    std::this_thread::sleep_for(20ms);
    CHECK(other == last);
    interruptions.remove(&who);
}
