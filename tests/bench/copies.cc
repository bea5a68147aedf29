// What first writes cost without a device mapper and without FUSE: the reads, writes and flushes
// that copy-on-write cannot do without, DEPTH at a time, on the files themselves.
//
//     build/tests/bench/copies ORIGIN COW CHUNK_BYTES DEPTH origin|snapshot COUNT [direct]
//
// For each DEPTH of COUNT chunks, in random order:
//
//     origin      each read from ORIGIN and written to COW; fdatasync of COW; a block of metadata
//                 written with RWF_DSYNC; 4 KiB of each written to ORIGIN
//     snapshot    the same without the last: what is written is part of what is copied. A chunk of
//                 4 KiB is not read, since all of it is new
//
// Prints how many chunks a second.

#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr size_t kRequest = 4096, kMetadata = 4096;

[[noreturn]] void fail(const char* what) {
    perror(what);
    exit(1);
}

// Requests that are submitted together and waited for together.
class Requests {
  public:
    explicit Requests(unsigned depth) {
        if (io_uring_queue_init(2 * depth, &ring_, 0) != 0) fail("io_uring");
    }
    ~Requests() { io_uring_queue_exit(&ring_); }
    io_uring_sqe* next() {
        waiting_++;
        return io_uring_get_sqe(&ring_);
    }
    void run() {
        io_uring_submit_and_wait(&ring_, waiting_);
        for (; waiting_ > 0; waiting_--) {
            io_uring_cqe* done = nullptr;
            if (io_uring_wait_cqe(&ring_, &done) != 0) fail("io_uring");
            if (done->res < 0) {
                errno = -done->res;
                fail("a request");
            }
            io_uring_cqe_seen(&ring_, done);
        }
    }

  private:
    io_uring ring_;
    unsigned waiting_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: %s ORIGIN COW CHUNK_BYTES DEPTH origin|snapshot COUNT [direct]\n", argv[0]);
        return 2;
    }
    const int flags = O_RDWR | O_CLOEXEC | (argc > 7 ? O_DIRECT : 0);
    const int origin = open(argv[1], flags), cow = open(argv[2], flags);
    if (origin < 0 || cow < 0) fail("open");
    const size_t chunk = strtoull(argv[3], nullptr, 10);
    const auto depth = static_cast<unsigned>(strtoul(argv[4], nullptr, 10));
    const bool to_origin = std::string(argv[5]) == "origin";
    const auto chunks = static_cast<size_t>(lseek(origin, 0, SEEK_END)) / chunk;
    const size_t count = std::min<size_t>(strtoull(argv[6], nullptr, 10), chunks) / depth * depth;

    std::vector<uint64_t> order(chunks);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
    auto* data = static_cast<std::byte*>(aligned_alloc(4096, depth * chunk + kMetadata));
    memset(data, 7, depth * chunk + kMetadata);
    Requests requests(depth);
    const auto began = std::chrono::steady_clock::now();
    for (size_t done = 0; done < count; done += depth) {
        auto place = [&](unsigned i) { return data + i * chunk; };
        for (unsigned i = 0; i < depth && (to_origin || chunk > kRequest); i++)
            io_uring_prep_read(requests.next(), origin, place(i), static_cast<unsigned>(chunk),
                               order[done + i] * chunk);
        requests.run();
        for (unsigned i = 0; i < depth; i++)
            io_uring_prep_write(requests.next(), cow, place(i), static_cast<unsigned>(chunk),
                                kMetadata + (done + i) * chunk);
        requests.run();
        io_uring_prep_fsync(requests.next(), cow, IORING_FSYNC_DATASYNC);
        requests.run();
        const iovec metadata{data + depth * chunk, kMetadata};
        if (pwritev2(cow, &metadata, 1, 0, RWF_DSYNC) != kMetadata) fail("metadata");
        for (unsigned i = 0; i < depth && to_origin; i++)
            io_uring_prep_write(requests.next(), origin, place(i), kRequest, order[done + i] * chunk);
        requests.run();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    printf("%.0f\n", static_cast<double>(count) / took.count());
    free(data);
}
