#include "engine/workers.h"

#include <atomic>
#include <numeric>

#include "engine/support.h"

namespace dmfs {

using namespace test;

TEST_CASE("every piece of shared work is done once, with any number of workers") {
    for (unsigned threads : {0u, 1u, 3u}) {
        Workers workers(threads);
        for (size_t pieces : {size_t{0}, size_t{1}, size_t{2}, size_t{100}}) {
            std::vector<std::atomic<int>> done(pieces);
            workers.share(pieces, [&](size_t piece) { ++done[piece]; });
            for (const std::atomic<int>& times : done) CHECK(times == 1);
        }
    }
}

TEST_CASE("many threads share work with the same workers") {
    Workers workers(2);
    std::atomic<size_t> sum{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&] {
            for (int round = 0; round < 500; ++round) workers.share(8, [&](size_t piece) { sum += piece; });
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(sum == 4 * 500 * 28);
}

TEST_CASE("idle workers take pieces while the caller is busy with one") {
    Workers workers(1);
    std::atomic<int> inside{0};
    std::atomic<bool> together{false};
    // The worker may still be on its way to its first wait, so more than one try.
    auto until = std::chrono::steady_clock::now() + kPatience;
    while (!together && std::chrono::steady_clock::now() < until)
        workers.share(2, [&](size_t) {
            if (++inside == 2) together = true;
            auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
            while (!together && std::chrono::steady_clock::now() < soon) std::this_thread::yield();
            --inside;
        });
    CHECK(together);
}

namespace {

Task<Status> enter_twice(Workers& workers, std::thread::id* first, std::thread::id* second) {
    Workers::Enter enter = workers.enter();
    co_await enter;
    *first = std::this_thread::get_id();
    co_await enter;
    *second = std::this_thread::get_id();
    co_return kOk;
}

}  // namespace

TEST_CASE("a coroutine that enters goes on on a worker, and stays there") {
    Workers workers(2);
    Running executor;
    std::thread::id first, second;
    CHECK(run(*executor, enter_twice(workers, &first, &second)) == kOk);
    CHECK(first != std::this_thread::get_id());
    CHECK(first == second);
}

TEST_CASE("without workers, entering changes nothing") {
    Workers workers(0);
    std::thread::id first, second;
    Task<Status> task = enter_twice(workers, &first, &second);
    task.start();
    CHECK(task.is_done());
    CHECK(first == std::this_thread::get_id());
}

}  // namespace dmfs
