#include "crypto/secret.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/sanitized.h"
#include "catch.h"

namespace dmfs {

namespace {

// The line VmFlags of the pages that hold `memory`, as " rd wr ... ".
std::string page_flags(const void* memory) {
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    bool here = false;
    while (std::getline(maps, line)) {
        uintptr_t from = 0, to = 0;
        char dash = 0;
        std::istringstream words(line);
        if (line.find("VmFlags:") == 0) {
            if (here) return line.substr(8) + " ";
        } else if (words >> std::hex >> from >> dash >> to && dash == '-') {
            here = reinterpret_cast<uintptr_t>(memory) >= from && reinterpret_cast<uintptr_t>(memory) < to;
        }
    }
    return "";
}

bool is_zero(const std::byte* memory, size_t bytes) {
    return std::all_of(memory, memory + bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

TEST_CASE("a secret is wiped when it is given back") {
    Secret neighbour(64);  // keeps the pages
    for (size_t bytes : {1UL, 63UL, 64UL, 65UL, 1000UL}) {
        void* memory = allocate_secret(bytes);
        auto* at = static_cast<std::byte*>(memory);
        CHECK(is_zero(at, bytes));
        CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
        std::fill_n(at, bytes, std::byte{0xa5});
        free_secret(memory, bytes);
        CHECK(is_zero(at, bytes));
    }
}

TEST_CASE("secrets lie in locked pages that neither core files nor children have") {
    Secret secret(32);
    std::string flags = page_flags(secret.bytes().data());
    INFO(flags);
    CHECK(flags.find(" dd ") != std::string::npos);
    CHECK(flags.find(" dc ") != std::string::npos);
#ifndef DMFS_SANITIZED                               // which lock nothing
    CHECK(flags.find(" lo ") != std::string::npos);  // as much as this is within anybody's limit
#endif
    CHECK(prctl(PR_GET_DUMPABLE) == 0);

    Secret large(100'000);  // has pages of its own
    CHECK(page_flags(large.bytes().data()).find(" dd ") != std::string::npos);
}

TEST_CASE("a child that reads a secret ends") {
    Secret secret(std::as_bytes(std::span("a key")));
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(static_cast<int>(*static_cast<volatile std::byte*>(secret.bytes().data())));
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGSEGV);
}

TEST_CASE("small secrets share pages and do not overlap") {
    std::vector<Secret> secrets;
    for (size_t i = 0; i < 500; i++) {
        secrets.emplace_back(1 + i % 200);
        std::ranges::fill(secrets.back().bytes(), static_cast<std::byte>(i));
    }
    for (size_t i = 0; i < secrets.size(); i += 3) secrets[i] = Secret(150);
    for (size_t i = 0; i < secrets.size(); i++)
        if (i % 3 != 0)
            CHECK(std::ranges::all_of(secrets[i].bytes(),
                                      [&](std::byte b) { return b == static_cast<std::byte>(i); }));
        else
            CHECK(is_zero(secrets[i].bytes().data(), 150));
    std::vector<uintptr_t> pages;
    for (const Secret& secret : secrets)
        pages.push_back(reinterpret_cast<uintptr_t>(secret.bytes().data()) / 4096);
    std::ranges::sort(pages);
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
    CHECK(pages.size() < 40);
}

TEST_CASE("very many secrets are found and given back quickly, in any order") {
    auto begin = std::chrono::steady_clock::now();
    std::vector<Secret> secrets;
    for (size_t i = 0; i < 16384; i++) {
        secrets.emplace_back(1 + i * 37 % 700);
        secrets.back().bytes()[0] = static_cast<std::byte>(i);
    }
    for (size_t i = 0; i < secrets.size(); i += 2) secrets[i * 17 % 16384 & ~size_t{1}] = Secret();
    for (size_t i = 0; i < secrets.size(); i += 2) secrets[i] = Secret(300);
    bool kept = true;
    for (size_t i = 1; i < secrets.size(); i += 2) kept &= secrets[i].bytes()[0] == static_cast<std::byte>(i);
    CHECK(kept);
    secrets.clear();
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}

TEST_CASE("several threads may have secrets") {
    std::vector<std::jthread> threads;
    std::atomic<int> wrong = 0;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (size_t i = 0; i < 2000; i++) {
                Secret secret(1 + i % 300), other(64);
                std::ranges::fill(secret.bytes(), static_cast<std::byte>(t));
                if (!is_zero(other.bytes().data(), 64)) wrong++;
                if (!std::ranges::all_of(secret.bytes(),
                                         [&](std::byte b) { return b == static_cast<std::byte>(t); }))
                    wrong++;
            }
        });
    threads.clear();
    CHECK(wrong == 0);
}

TEST_CASE("objects in secret memory are destroyed") {
    struct Counted {
        explicit Counted(int& in) : count(in) { count++; }
        ~Counted() { count--; }
        int& count;
    };
    int count = 0;
    {
        SecretPtr<Counted> object = make_secret<Counted>(count);
        CHECK(count == 1);
    }
    CHECK(count == 0);
    struct Throwing {
        Throwing() { throw 1; }
    };
    CHECK_THROWS_AS(make_secret<Throwing>(), int);
    CHECK(Secret(0).bytes().empty());
    CHECK(Secret(std::as_bytes(std::span("key", 3))).bytes()[1] == std::byte{'e'});
}

}  // namespace dmfs
