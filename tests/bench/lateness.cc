// How late requests leave a delay: many of them arrive at a delay volume over zero
// within a few milliseconds, all are held at the same time, and each notes how long
// after its time it was answered. For each executor there is here.
//
//     ninja -C build tests/bench/lateness && build/tests/bench/lateness [REQUESTS]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "engine/namespace.h"
#include "targets/registry.h"

using namespace dmfs;

namespace {

constexpr int kRounds = 20;
constexpr int64_t kDelayMs = 20;
constexpr int64_t kArrivalNs = 5'000'000;  // all arrive within

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

Task<Status> request(Volume* volume, int64_t* late_ns) {
    Bio bio;
    bio.op = Op::discard;
    bio.count = 8;
    int64_t due = Clock::now_ns() + kDelayMs * 1'000'000;
    Task<Status> task = volume->io(bio);
    Status status = co_await task;
    *late_ns = Clock::now_ns() - due;
    co_return status;
}

// Microseconds, sorted, of all rounds.
std::vector<double> measure(Executor& executor, Volume& volume, size_t requests) {
    std::vector<double> all;
    std::vector<int64_t> late(requests);
    for (int round = 0; round < kRounds; round++) {
        int64_t begin = Clock::now_ns();
        for (size_t i = 0; i < requests; i++) {
            int64_t arrival = begin + kArrivalNs * static_cast<int64_t>(i) / static_cast<int64_t>(requests);
            while (Clock::now_ns() < arrival) std::this_thread::yield();
            executor.spawn(request(&volume, &late[i]));
        }
        while (executor.running() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        for (int64_t ns : late) all.push_back(static_cast<double>(ns) / 1e3);
    }
    std::sort(all.begin(), all.end());
    return all;
}

}  // namespace

int main(int argc, char** argv) {
    size_t requests = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000;
    std::printf("%zu requests held at once, %d rounds; microseconds after their time.\n\n", requests,
                kRounds);
    std::printf("| executor | half | 99%% | 99.9%% | last |\n| --- | ---: | ---: | ---: | ---: |\n");
    for (const char* name : {"io_uring", "threads"}) {
        std::string why_not;
        std::unique_ptr<Executor> executor =
            *name == 'i' ? make_uring_executor(why_not) : make_pool_executor(8);
        if (!executor) {
            std::printf("| %s | %s |\n", name, why_not.c_str());
            continue;
        }
        Namespace space(*executor);
        Volumes source(space);
        std::shared_ptr<Volume> bottom = make(space, source, "bottom", "0 2048 zero");
        std::shared_ptr<Volume> volume =
            make(space, source, "v", "0 2048 delay bottom 0 " + std::to_string(kDelayMs));
        std::vector<double> late = measure(*executor, *volume, requests);
        auto at = [&](double share) {
            return late[static_cast<size_t>(share * static_cast<double>(late.size() - 1))];
        };
        std::printf("| %s | %.0f | %.0f | %.0f | %.0f |\n", name, at(0.5), at(0.99), at(0.999), at(1));
    }
}
