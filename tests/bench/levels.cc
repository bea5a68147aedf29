// What the mapping itself costs, without FUSE and without a disk: nanoseconds of a
// request through 1 to 32 linear volumes stacked on one another, through tables of 1 to
// 100,000 rows at random sectors, and through targets whose faults do not come. The bottom is `zero`, the
// request a discard, which it answers without touching memory.
//
//     ninja -C build tests/bench/levels && build/tests/bench/levels

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>

#include "engine/namespace.h"
#include "targets/registry.h"

using namespace dmfs;

namespace {

constexpr int kRequests = 1'000'000;
constexpr int kRounds = 9;

struct Volumes final : DeviceSource {
    explicit Volumes(Namespace& in) : space(in) {}
    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        return space.open(space.by_name(word));
    }
    Namespace& space;
};

std::shared_ptr<Volume> make(Namespace& space, Volumes& source, const std::string& name,
                             const std::string& text) {
    std::shared_ptr<Volume> volume = space.create(name);
    std::shared_ptr<Table> table = Table::build(text, TableSource{.executor = space.executor(),
                                                                  .registry = target_registry(),
                                                                  .devices = source,
                                                                  .folder = "/",
                                                                  .raise_event = [] {}});
    Task<Outcome> replacing = volume->replace(table, nullptr);
    replacing.start();
    if (!replacing.is_done()) std::abort();  // nobody is inside: nothing to wait for
    return volume;
}

// The median over some rounds, in ns a request.
double cost(Volume& volume) {
    std::mt19937_64 random(1);
    std::vector<Sector> places(4096);
    for (Sector& place : places) place = random() % (volume.size() - 8);
    std::vector<double> rounds;
    for (int round = 0; round < kRounds; round++) {
        auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < kRequests; i++) {
            Bio bio;
            bio.op = Op::discard;
            bio.sector = places[static_cast<size_t>(i) % places.size()];
            bio.count = 1;
            Task<Status> task = volume.io(bio);
            if (!task.is_ready() || !std::move(task).value()) std::abort();
        }
        std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
        rounds.push_back(taken.count() / kRequests);
    }
    std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
    return rounds[kRounds / 2];
}

}  // namespace

int main() {
    std::unique_ptr<Executor> executor = make_pool_executor(1);
    Namespace space(*executor);
    Volumes source(space);
    std::printf("| volumes stacked | ns a request | ns a level |\n| ---: | ---: | ---: |\n");
    std::string below = "level0";
    double first = cost(*make(space, source, below, "0 2097152 zero"));
    for (int level = 1; level <= 32; level++) {
        std::string name = "level" + std::to_string(level);
        std::shared_ptr<Volume> volume = make(space, source, name, "0 2097152 linear " + below + " 0");
        below = name;
        if ((level & (level - 1)) != 0) continue;
        double here = cost(*volume);
        std::printf("| %d | %.0f | %.0f |\n", level, here, (here - first) / level);
    }
    std::printf("\n| rows | ns a request |\n| ---: | ---: |\n");
    for (size_t rows : {1UL, 10UL, 100UL, 1000UL, 10000UL, 100000UL}) {
        std::string text;
        for (size_t row = 0; row < rows; row++) text += std::to_string(row * 64) + " 64 zero\n";
        std::printf("| %zu | %.0f |\n", rows,
                    cost(*make(space, source, "rows" + std::to_string(rows), text)));
    }
    std::printf("\n| target | ns a request |\n| --- | ---: |\n");
    for (const char* words :
         {"linear level0 0", "delay level0 0 0", "flakey level0 0 60 0", "flakey level0 0 4000000000 1"})
        std::printf("| %s | %.0f |\n", words,
                    cost(*make(space, source, words, std::string("0 2097152 ") + words)));
}
