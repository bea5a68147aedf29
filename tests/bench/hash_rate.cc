// What hashing costs by itself: SHA-256 of salted blocks of 4 KiB, on all cores, MiB/s.
//
//     build/tests/bench/hash_rate [SECONDS]      prints: one block at a time, two at a time

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "crypto/hash.h"
#include "crypto/sha256_pairs.h"

using namespace dmfs;

namespace {

constexpr size_t kBlock = 4096, kData = 1 << 20;
const std::vector<std::byte> kSalt(32);

using Clock = std::chrono::steady_clock;

// `pass` hashes kData bytes over and over on every core.
double mib_a_second(double seconds, const std::function<void(const std::byte*)>& pass) {
    std::atomic<uint64_t> passes{0};
    std::vector<std::thread> threads;
    Clock::time_point start = Clock::now(), end = start + std::chrono::milliseconds(int64_t(seconds * 1000));
    for (unsigned i = 0; i < std::thread::hardware_concurrency(); i++)
        threads.emplace_back([&] {
            std::vector<std::byte> data(kData, std::byte{7});
            for (; Clock::now() < end; passes++) pass(data.data());
        });
    for (std::thread& thread : threads) thread.join();
    double took = std::chrono::duration<double>(Clock::now() - start).count();
    return static_cast<double>(passes) * (kData >> 20) / took;
}

}  // namespace

int main(int argc, char** argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    std::unique_ptr<Hash> salted = find_hash("sha256")->make();
    salted->update(kSalt);
    double one = mib_a_second(seconds, [&](const std::byte* data) {
        std::unique_ptr<Hash> hash = salted->copy();
        std::byte digest[32];
        for (size_t at = 0; at < kData; at += kBlock) {
            hash->become(*salted);
            hash->update({data + at, kBlock});
            hash->finish(digest);
        }
    });
    Sha256Pairs pairs(kSalt, {});
    double two = !Sha256Pairs::possible() ? 0 : mib_a_second(seconds, [&](const std::byte* data) {
        std::byte digests[2][32];
        for (size_t at = 0; at < kData; at += 2 * kBlock) {
            const std::byte* blocks[2] = {data + at, data + at + kBlock};
            std::byte* to[2] = {digests[0], digests[1]};
            pairs.digest(blocks, kBlock, to);
        }
    });
    printf("%.0f %.0f\n", one, two);
}
