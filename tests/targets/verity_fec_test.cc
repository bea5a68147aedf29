#include "targets/verity_support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// 16 sectors of 512 bytes a hash block, so the tree is deep and the blocks are many.
struct Repaired : Verified {
    unsigned roots;
    uint64_t covered, rounds;
    FakeDevice& parity;
    static constexpr size_t kStart = 2;

    // `more` blocks of the hash device behind the tree are covered too.
    explicit Repaired(unsigned roots_, Sector length = 1200, uint64_t more = 5)
        : Verified(length, shaped(1, "sha256", 3, 512, 512)),
          roots(roots_),
          covered(length + naive.stored().size() / 512 + more),
          rounds((covered - 1) / (255 - roots) + 1),
          parity(source.add("p", kStart + rounds * roots)) {
        for (uint64_t column = 0; column < rounds; column++)
            for (size_t k = 0; k < 512; k++) {
                std::vector<uint8_t> word(255);
                for (unsigned i = 0; i < 255 - roots; i++) word[i] = byte_of(column + i * rounds, k);
                word = encoded(word, roots);
                std::byte* to = parity.at(kStart) + (column * 512 + k) * roots;
                memcpy(to, word.data() + 255 - roots, roots);
            }
    }
    std::byte* block(uint64_t number) {
        return number < sectors ? data.at(number) : hash.at(kHashStart + number - sectors);
    }
    uint8_t byte_of(uint64_t number, size_t k) {
        return number < covered ? static_cast<uint8_t>(block(number)[k]) : uint8_t{0};
    }
    void open_with(const std::string& words = "", unsigned more = 0) {
        open(std::to_string(8 + more) + " use_fec_from_device p fec_start 2 fec_roots " +
             std::to_string(roots) + " fec_blocks " + std::to_string(covered) + " " + words);
    }
    // The data as it was, whatever it is now.
    Bytes remember() { return Bytes(data.at(0), data.at(0) + bytes_of(sectors)); }
    bool reads_as(const Bytes& was, Sector at, Sector count) {
        Memory memory(bytes_of(count));
        return read(at, count, memory) == kOk &&
               memcmp(memory.data(), was.data() + bytes_of(at), bytes_of(count)) == 0;
    }
};

}  // namespace

TEST_CASE("up to half as many wrong siblings as roots are repaired, as many if it is known which") {
    const unsigned seed = 6;
    std::mt19937 random(seed);
    for (unsigned roots : {2u, 5u, 24u}) {
        INFO(roots << " roots, seed " << seed);
        Repaired repaired(roots);
        Bytes was = repaired.remember();
        repaired.open_with();
        // Data blocks of one column, damaged as a whole: their digests tell which.
        Sector first = random() % repaired.rounds;
        auto sibling = [&](unsigned i) { return first + i * repaired.rounds; };
        unsigned siblings = static_cast<unsigned>(repaired.sectors / repaired.rounds);
        std::vector<unsigned> order(siblings);
        for (unsigned i = 0; i < siblings; i++) order[i] = i;
        std::shuffle(order.begin(), order.end(), random);
        for (unsigned i = 0; i < roots; i++) {
            for (size_t k = 0; k < 512; k++)
                repaired.data.at(sibling(order[i]))[k] ^= static_cast<std::byte>(random());
            REQUIRE(repaired.reads_as(was, sibling(order[i]), 1));
            if (i == roots / 2) REQUIRE(repaired.reads_as(was, 0, repaired.sectors));
        }
        REQUIRE(repaired.status() == "V");
        flip(repaired.data.at(sibling(order[roots])));
        CHECK(repaired.read(sibling(order[roots]), 1) == (roots == 1 ? kOk : Status(EIO)));
        CHECK(repaired.status() == "C");
        // Another column is not concerned.
        Sector other = (first + 1) % repaired.rounds;
        flip(repaired.data.at(other));
        CHECK(repaired.reads_as(was, other, 1));
    }
}

TEST_CASE("hash blocks are repaired on every level, also while data is damaged") {
    Repaired repaired(4);
    Bytes was = repaired.remember();
    repaired.open_with();
    // 1200 blocks: the top, 5 in the middle, 75 leaves.
    flip(repaired.hash_byte(kHashStart, 10));
    flip(repaired.hash_byte(kHashStart + 2, 20));
    flip(repaired.hash_byte(kHashStart + 6 + 30, 30));
    flip(repaired.data.at(485));
    CHECK(repaired.reads_as(was, 480, 16));
    CHECK(repaired.reads_as(was, 0, repaired.sectors));
    CHECK(repaired.status() == "V");
    repaired.hash.forget();
    CHECK(repaired.reads_as(was, 480, 4));  // repaired hash blocks are kept
    CHECK(repaired.hash.count(Op::read) == 0);
}

TEST_CASE("what cannot be read is repaired, and fails with its own error where it cannot be") {
    Repaired repaired(2);
    Bytes was = repaired.remember();
    repaired.open_with();
    repaired.data.fail_at(Op::read, 77, EIO);
    CHECK(repaired.reads_as(was, 77, 1));
    CHECK(repaired.reads_as(was, 64, 32));
    CHECK(repaired.status() == "V");
    repaired.hash.fail_at(Op::read, kHashStart + 6 + 10, EIO);
    repaired.table->postsuspend();
    CHECK(repaired.reads_as(was, 160, 16));
    repaired.parity.fail(Op::read, ENOSPC);
    CHECK(repaired.read(77, 1) == Status(EIO));
    CHECK(repaired.status() == "V");
    flip(repaired.data.at(300));
    CHECK(repaired.read(300, 1) == Status(EIO));
    CHECK(repaired.status() == "C");
}

TEST_CASE("damaged parity counts as a wrong byte") {
    Repaired repaired(4);
    Bytes was = repaired.remember();
    repaired.open_with();
    flip(repaired.data.at(7) + 100);
    std::byte* parity = repaired.parity.at(2) + ((7 % repaired.rounds) * 512 + 100) * 4;
    flip(parity);
    CHECK(repaired.reads_as(was, 7, 1));
    flip(parity + 1);  // two of the parity, one that is known
    CHECK(!repaired.reads_as(was, 7, 1));
    flip(parity + 1);
    CHECK(repaired.reads_as(was, 7, 1));
}

TEST_CASE("what was repaired is not taken for right, and zeros need no repair") {
    Repaired repaired(2);
    Bytes was = repaired.remember();
    repaired.open_with("check_at_most_once", 1);
    flip(repaired.data.at(9));
    CHECK(repaired.reads_as(was, 9, 1));
    CHECK(repaired.reads_as(was, 9, 1));
    repaired.parity.fail(Op::read, EIO);
    CHECK(repaired.read(9, 1) == Status(EIO));
    // A block that was right and cannot be read any more is repaired like any other.
    repaired.parity.fail(Op::read, 0);
    CHECK(repaired.reads_as(was, 20, 10));
    repaired.table->postsuspend();
    repaired.data.fail_at(Op::read, 25, EIO);
    CHECK(repaired.reads_as(was, 20, 10));
}

TEST_CASE("many requests that need repair at once get it") {
    Repaired repaired(8, 1200);
    Bytes was = repaired.remember();
    repaired.open_with();
    for (Sector s = 0; s < 8; s++) flip(repaired.data.at(s * 150 + s));
    for (size_t leaf = 0; leaf < 6; leaf++) flip(repaired.hash_byte(kHashStart + 6 + leaf * 13, 1));
    flip(repaired.hash_byte(kHashStart + 3, 1));
    std::vector<Memory> memories;
    for (int i = 0; i < 24; i++) memories.emplace_back(bytes_of(50));
    std::vector<Pending<Status>> pending;
    for (size_t i = 0; i < 24; i++)
        pending.push_back(
            begin(*repaired.executor, repaired.table->io(bio_of(Op::read, i * 50, 50, &memories[i]))));
    for (size_t i = 0; i < 24; i++) {
        CHECK(pending[i].get() == kOk);
        CHECK(memcmp(memories[i].data(), was.data() + bytes_of(i * 50), bytes_of(50)) == 0);
    }
    CHECK(repaired.status() == "V");
}

TEST_CASE("parity that does not fit is refused") {
    Repaired repaired(4);
    auto error_of = [&](const std::string& words) {
        try {
            repaired.open(words);
        } catch (const Refused& refused) {
            return refused.error();
        }
        return 0;
    };
    std::string covered = std::to_string(repaired.covered);
    std::string good = "use_fec_from_device p fec_start 2 fec_roots 4 fec_blocks ";
    CHECK(error_of("8 " + good + covered) == 0);
    CHECK(repaired.target().status(StatusKind::table) ==
          repaired.words() + " 8 use_fec_from_device p fec_blocks " + covered + " fec_start 2 fec_roots 4");
    CHECK(error_of("8 " + good + "1280") == EINVAL);  // one less than data and tree
    CHECK(error_of("8 " + good + "1281") == 0);
    CHECK(error_of("8 " + good + "1506") == 0);
    CHECK(error_of("8 " + good + "1507") == E2BIG);  // another round
    CHECK(error_of("8 " + good + "99999") == E2BIG);
    CHECK(error_of("6 use_fec_from_device p fec_start 2 fec_roots 4") == EINVAL);
    CHECK(error_of("6 use_fec_from_device p fec_start 2 fec_blocks 1300") == EINVAL);
    CHECK(error_of("7 use_fec_from_device p fec_start 2 fec_roots 4 fec_blocks") == EINVAL);
    CHECK(error_of("8 use_fec_from_device x fec_start 2 fec_roots 4 fec_blocks 1300") == ENOENT);
    CHECK(error_of("8 use_fec_from_device p fec_start 3 fec_roots 4 fec_blocks " + covered) == E2BIG);
    CHECK(error_of("8 use_fec_from_device p fec_start 2 fec_roots 1 fec_blocks " + covered) == EINVAL);
    CHECK(error_of("8 use_fec_from_device p fec_start 2 fec_roots 25 fec_blocks " + covered) == EINVAL);
    CHECK(error_of("6 fec_start 2 fec_roots 24 fec_blocks 1") == 0);  // without a device: nothing
    CHECK(repaired.target().status(StatusKind::table) == repaired.words());
}
