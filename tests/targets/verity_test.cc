#include "targets/verity_support.h"

#include "targets/verity/hash_cache.h"
#include "targets/verity/tree.h"

using namespace dmfs;
using namespace dmfs::test;

TEST_CASE("what a naive tree says is right is read, in every shape") {
    const unsigned seed = 11;
    std::mt19937 random(seed);
    const Naive shapes[] = {
        shaped(1, "sha256", 2, 4096, 4096),  shaped(1, "sha256", 0, 512, 512),
        shaped(0, "sha256", 32, 4096, 4096), shaped(0, "sha1", 5, 512, 512),
        shaped(1, "sha1", 64, 1024, 4096),   shaped(1, "sha512", 1, 4096, 512),
        shaped(0, "sha384", 3, 512, 1024),   shaped(1, "blake2b-256", 16, 512, 2048),
    };
    for (const Naive& shape : shapes)
        for (Sector length : {8, 16, 1024, 2000}) {
            INFO(shape.algorithm << " version " << shape.version << ", blocks of " << shape.data_block
                                 << " and " << shape.hash_block << ", " << length << " sectors, seed "
                                 << seed);
            Verified verified(length, shape);
            verified.open();
            Sector block = sectors_in(shape.data_block), blocks = length / block;
            REQUIRE(verified.same(0, length));
            for (int i = 0; i < 20; i++) {
                Sector at = random() % blocks, count = 1 + random() % (blocks - at);
                REQUIRE(verified.same(at * block, count * block));
            }
            REQUIRE(verified.status() == "V");
            // One bit of the data, anywhere.
            size_t byte = random() % bytes_of(length);
            flip(verified.data.at(0) + byte);
            Sector bad = byte / shape.data_block;
            for (Sector i = 0; i < blocks; i += 1 + random() % 5)
                REQUIRE(verified.read(i * block, block) == (i == bad ? Status(EIO) : kOk));
            REQUIRE(verified.read(bad * block, block) == Status(EIO));
            REQUIRE(verified.read(0, length) == Status(EIO));
            REQUIRE(verified.status() == "C");
        }
}

TEST_CASE("the tree has the levels of the kernel, the top first") {
    verity::Tree::Shape shape{1, 4096, 0, 5, 32};
    auto tree = [&](uint64_t blocks) {
        shape.data_blocks = blocks;
        return verity::Tree(shape);
    };
    CHECK(tree(0).levels() == 0);
    CHECK(tree(1).levels() == 0);
    CHECK(tree(2).levels() == 1);
    CHECK(tree(128).levels() == 1);
    CHECK(tree(129).levels() == 2);
    CHECK(tree(128 * 128).levels() == 2);
    CHECK(tree(128 * 128 + 1).levels() == 3);
    verity::Tree large = tree(128 * 128 + 1);
    CHECK(large.block_of({2, 0}) == 5);
    CHECK(large.block_of({1, 1}) == 7);
    CHECK(large.block_of({0, 128}) == 8 + 128);
    CHECK(large.end() == 8 + 129);
    CHECK(large.leaf(128 * 128).node.index == 128);
    CHECK(large.leaf(130).byte == 2 * 32);
    CHECK(large.parent({0, 128}).node.index == 1);
    CHECK(large.first_data_block({1, 1}) == 128 * 128);
    CHECK(large.end_data_block({0, 0}) == 128);
    CHECK(large.end_data_block({0, 128}) == 128 * 128 + 1);
    CHECK(large.end_data_block({2, 0}) == 128 * 128 + 1);
    // As large as it gets: 55 bits of blocks, 8 digests in each hash block.
    verity::Tree deep({1, 512, uint64_t{1} << 55, 0, 64});
    CHECK(deep.levels() == 19);
    CHECK(deep.first_data_block({18, 0}) == 0);
    CHECK(deep.end_data_block({18, 0}) == uint64_t{1} << 55);
    CHECK_THROWS_AS(verity::Tree({1, 512, uint64_t{1} << 55, UINT64_MAX - 5, 64}), std::overflow_error);
}

TEST_CASE("each hash block is verified; damage in any level costs what is below it") {
    Naive shape = shaped(1, "sha256", 4, 512, 512);  // 16 digests a block: 2048 blocks have 3 levels
    const size_t top = kHashStart, middle = kHashStart + 1, leaf = kHashStart + 1 + 8;
    struct Damage {
        size_t block;
        Sector from, end;  // that are lost
    };
    for (Damage damage : {Damage{top, 0, 2048}, Damage{middle + 2, 512, 768}, Damage{leaf + 5, 80, 96}}) {
        INFO("hash block " << damage.block);
        Verified verified(2048, shape);
        verified.open();
        flip(verified.hash_byte(damage.block, 511));  // of a slot's padding, or of none: it counts
        for (Sector at = 0; at < 2048; at += 16)
            REQUIRE(verified.read(at, 16) == (at >= damage.from && at < damage.end ? Status(EIO) : kOk));
        CHECK(verified.status() == "C");
        // Put right, it reads; and then it is known, and not read again.
        flip(verified.hash_byte(damage.block, 511));
        REQUIRE(verified.same(0, 2048));
        flip(verified.hash_byte(damage.block, 511));
        REQUIRE(verified.same(0, 2048));
        verified.hash.forget();
        REQUIRE(verified.same(0, 2048));
        CHECK(verified.hash.count(Op::read) == 0);
        // A suspend forgets what is known.
        verified.table->postsuspend();
        CHECK(verified.read(damage.from, 1) == Status(EIO));
    }
}

TEST_CASE("requests that want the same hash block share one read of it") {
    Verified verified(2048);
    verified.open();
    verified.hash.hold();
    std::vector<Memory> memories;
    for (int i = 0; i < 8; i++) memories.emplace_back(bytes_of(8));
    std::vector<Pending<Status>> pending;
    for (size_t i = 0; i < 8; i++)
        pending.push_back(
            begin(*verified.executor, verified.table->io(bio_of(Op::read, i * 8, 8, &memories[i]))));
    CHECK(soon([&] { return verified.hash.held() == 2; }));  // the leaf and, at the same time, the top
    a_moment();
    CHECK(verified.hash.held() == 2);
    verified.hash.let_go();
    for (Pending<Status>& each : pending) CHECK(each.get() == kOk);
    CHECK(verified.hash.count(Op::read) == 2);
}

TEST_CASE("large requests are hashed by several, and each finds the damage") {
    Verified verified(4096);
    verified.open();
    for (Sector bad : {9, 1000, 2047, 2048, 4095}) {
        std::vector<Memory> memories;
        for (int i = 0; i < 6; i++) memories.emplace_back(bytes_of(2048));
        flip(verified.data.at(bad) + bad % 512);
        verified.data.hold();  // so that they go on on the executor's threads
        std::vector<Pending<Status>> pending;
        for (size_t i = 0; i < 6; i++)
            pending.push_back(
                begin(*verified.executor, verified.table->io(bio_of(Op::read, i * 400, 2048, &memories[i]))));
        CHECK(soon([&] { return verified.data.held() == 6; }));
        verified.data.let_go();
        for (size_t i = 0; i < 6; i++) {
            bool inside = bad / 8 >= i * 50 && bad / 8 < i * 50 + 256;
            CHECK(pending[i].get() == (inside ? Status(EIO) : kOk));
        }
        flip(verified.data.at(bad) + bad % 512);
    }
    CHECK(verified.same(0, 4096));
}

TEST_CASE("who waits for a hash block that another reads can be cancelled") {
    Verified verified(2048);
    verified.open();
    verified.hash.hold();
    Memory memory(bytes_of(8)), other(bytes_of(8));
    Pending<Status> first = begin(*verified.executor, verified.table->io(bio_of(Op::read, 0, 8, &memory)));
    CHECK(soon([&] { return verified.hash.held() == 2; }));
    Cancel cancel;
    Pending<Status> second =
        begin(*verified.executor, verified.table->io(bio_of(Op::read, 8, 8, &other, &cancel)));
    a_moment();
    cancel.request();
    CHECK(second.get() == Status(EINTR));
    verified.hash.let_go();
    CHECK(first.get() == kOk);
    CHECK(verified.status() == "V");
}

TEST_CASE("leaves that follow one another are read ahead, others one at a time") {
    Naive shape = shaped(1, "sha256", 0, 512, 512);
    Verified verified(2048, shape);
    verified.open();
    for (Sector at = 0; at < 2048; at += 16) REQUIRE(verified.same(at, 16));
    // 128 leaves below 8 blocks below one.
    CHECK(verified.hash.count(Op::read) == 8 + 8 + 1);
    verified.table->postsuspend();
    verified.hash.forget();
    for (Sector at = 2048; at > 0; at -= 16) REQUIRE(verified.same(at - 16, 16));
    CHECK(verified.hash.count(Op::read) == 128 + 8 + 1);
    // A leaf that was read ahead and is damaged is reported by who wants it.
    verified.table->postsuspend();
    flip(verified.hash_byte(kHashStart + 1 + 8 + 3, 7));
    CHECK(verified.same(0, 16));
    CHECK(verified.same(16, 16));
    CHECK(verified.status() == "V");
    CHECK(verified.read(48, 1) == Status(EIO));
    CHECK(verified.same(64, 16));
}

TEST_CASE("no more hash blocks are kept than were allowed, and those used last stay") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& device = source.add("h", 4096);
    Naive naive = shaped(1, "sha256", 0, 512, 512);
    Bytes data(512 * 1024);
    naive.build(data.data(), 1024);  // 64 leaves, 4, 1
    Bytes stored = naive.stored();
    memcpy(device.at(0), stored.data(), stored.size());
    verity::Tree tree({1, 512, 1024, 0, 32});
    verity::Hasher hasher(*find_hash("sha256"), 1, {});
    verity::Damage damage(verity::Mode::fail, verity::Mode::fail, "a", "h");
    verity::HashCache cache(*executor, device, tree, hasher, naive.root, damage, 20 * 512);
    auto get = [&](uint64_t leaf) {
        verity::HashBlock block;
        REQUIRE(run(*executor, cache.get({0, leaf}, &block, nullptr)) == kOk);
        REQUIRE(memcmp(block.get(), naive.levels[0].data() + leaf * 512, 512) == 0);
    };
    std::mt19937 random(2);
    for (int i = 0; i < 500; i++) {
        get(random() % 64);
        get(63);
        REQUIRE(cache.blocks() <= 20);
        REQUIRE(cache.has({0, 63}));
    }
    CHECK(cache.blocks() == 20);
    verity::HashCache tiny(*executor, device, tree, hasher, naive.root, damage, 0);
    CHECK(tiny.most_blocks() == 4);
}

TEST_CASE("ignore_corruption lets damage pass and says so") {
    Verified verified(2048);
    verified.open("1 ignore_corruption");
    flip(verified.data.at(9));
    CHECK(verified.same(0, 2048));
    CHECK(verified.status() == "C");
    verified.table->postsuspend();
    flip(verified.hash_byte(kHashStart + 1, 100));
    CHECK(verified.same(0, 2048));
    flip(verified.hash_byte(kHashStart, 100));
    CHECK(verified.same(0, 2048));
    verified.data.fail(Op::read, EIO);
    CHECK(verified.read(0, 8) == Status(EIO));
}

TEST_CASE("restart and panic halt the row: nothing is read from it any more") {
    for (const char* mode : {"restart_on_corruption", "panic_on_corruption"}) {
        Verified verified(2048);
        verified.open(std::string("1 ") + mode);
        CHECK(verified.same(0, 8));
        verified.data.fail(Op::read, EIO);
        CHECK(verified.read(0, 8) == Status(EIO));
        verified.data.fail(Op::read, 0);
        CHECK(verified.same(0, 8));  // an error is no corruption
        flip(verified.data.at(9));
        CHECK(verified.read(8, 8) == Status(EIO));
        CHECK(verified.read(0, 8) == Status(EIO));
        CHECK(verified.status() == "C");
    }
    for (const char* mode : {"restart_on_error", "panic_on_error"}) {
        Verified verified(2048);
        verified.open(std::string("1 ") + mode);
        flip(verified.data.at(9));
        CHECK(verified.read(8, 8) == Status(EIO));
        CHECK(verified.same(0, 8));  // corruption is no error
        verified.data.fail(Op::read, EIO);
        CHECK(verified.read(0, 8) == Status(EIO));
        verified.data.fail(Op::read, 0);
        CHECK(verified.read(0, 8) == Status(EIO));
    }
}

TEST_CASE("ignore_zero_blocks gives zeros without looking") {
    Naive shape = shaped(1, "sha256", 3, 512, 512);
    Running executor;
    Verified verified(64, shape);
    memset(verified.data.at(5), 0, bytes_of(3));
    verified.naive = shape;
    verified.naive.build(verified.data.at(0), 64);
    Bytes stored = verified.naive.stored();
    memcpy(verified.hash.at(0) + kHashStart * 512, stored.data(), stored.size());
    verified.open("1 ignore_zero_blocks");
    flip(verified.data.at(6));
    Memory memory(bytes_of(3));
    REQUIRE(verified.read(5, 3, memory) == kOk);
    CHECK(all_zero(memory.data(), bytes_of(3)));
    CHECK(verified.status() == "V");
    flip(verified.data.at(9));
    CHECK(verified.read(9, 1) == Status(EIO));
}

TEST_CASE("check_at_most_once believes a block that was right once") {
    Verified verified(2048);
    verified.open("1 check_at_most_once");
    CHECK(verified.same(0, 64));
    flip(verified.data.at(9));
    flip(verified.data.at(100));
    verified.table->postsuspend();
    verified.hash.forget();
    CHECK(verified.same(0, 64));
    CHECK(verified.hash.count(Op::read) == 0);
    CHECK(verified.status() == "V");
    CHECK(verified.read(0, 128) == Status(EIO));
    CHECK(verified.read(96, 8) == Status(EIO));  // what was wrong is looked at again
    flip(verified.data.at(100));
    CHECK(verified.same(96, 8));
}

TEST_CASE("nothing is written to a verity volume, and a flush is nothing") {
    Verified verified(2048);
    verified.open();
    Memory memory(bytes_of(8));
    for (Op op : {Op::write, Op::discard, Op::write_zeroes})
        CHECK(run(*verified.executor, verified.table->io(bio_of(op, 0, 8, &memory))) == Status(EIO));
    CHECK(run(*verified.executor, verified.table->io(Bio::flush())) == kOk);
    CHECK(verified.data.seen().empty());
    Limits limits = verified.table->limits();
    CHECK(limits.logical_block == 4096);
    CHECK(limits.physical_block == 4096);
    CHECK(limits.io_min == 4096);
    CHECK(!limits.discard());
    CHECK(!limits.write_cache);
    // A hole of the data is no hole of the volume: its zeros have to be right.
    verified.data.set_extents({{false, 2048}});
    CHECK(extent_of(*verified.table, 0).data);
}

TEST_CASE("a request is explained as it is done: the data, and hash blocks that are not known") {
    Naive shape = shaped(1, "sha256", 0, 512, 512);
    Verified verified(2048, shape);
    verified.open();
    auto steps = [&](Op op, Sector at, Sector count) {
        std::string text;
        verified.target().explain(op, at, count, [&](const Step& step) {
            text += std::to_string(step.at) + "+" + std::to_string(step.count) + " " +
                    (step.device == nullptr ? "-" : step.device->name() + " " + std::to_string(step.start)) +
                    ": " + step.note + "\n";
        });
        return text;
    };
    CHECK(steps(Op::read, 14, 4) ==
          "14+4 a 14: data blocks 14 to 17\n"
          "14+2 h 12: hash block 12, level 0\n"
          "16+2 h 13: hash block 13, level 0\n"
          "14+4 h 4: hash block 4, level 1\n"
          "14+4 h 3: hash block 3, level 2\n");
    CHECK(verified.hash.seen().empty());
    REQUIRE(verified.same(300, 1));
    CHECK(steps(Op::read, 300, 1) == "300+1 a 300: data block 300\n");
    CHECK(steps(Op::read, 14, 1) ==
          "14+1 a 14: data block 14\n"
          "14+1 h 12: hash block 12, level 0\n"
          "14+1 h 4: hash block 4, level 1\n");
    CHECK(steps(Op::write, 0, 1) == "0+1 -: read-only: fails\n");
    CHECK(steps(Op::flush, 0, 0) == "0+0 -: nothing to flush\n");
}

TEST_CASE("who explains a petabyte may stop after a few steps") {
    constexpr uint64_t kBlocks = uint64_t{1} << 38;
    Running executor;
    FakeSource source(*executor);
    source.add("a", 8).set_size(kBlocks * 8);
    source.add("h", 8).set_size(kBlocks * 8);
    std::string row = "0 " + std::to_string(kBlocks * 8) + " verity 1 a h 4096 4096 " +
                      std::to_string(kBlocks) + " 0 sha256 " + std::string(64, '0') + " -";
    std::shared_ptr<Table> table =
        Table::build(row, TableSource{*executor, target_registry(), source, "/", false, [] {}});
    size_t count = 0;
    struct Stop {};
    auto visit = [&](const Step&) {
        if (++count == 500) throw Stop();
    };
    CHECK_THROWS_AS(table->rows()[0].target->explain(Op::read, 8, kBlocks * 8 - 16, visit), Stop);
}

TEST_CASE("what fails for a device's own reasons is no corruption, whatever its error") {
    for (bool of_hashes : {false, true}) {
        Verified verified(2048);
        verified.open();
        (of_hashes ? verified.hash : verified.data).fail(Op::read, EBADMSG);
        CHECK(verified.read(0, 8) == Status(EBADMSG));
        CHECK(verified.status() == "V");
    }
}

TEST_CASE("verity stands alone in its table, and its words are printed as they mean") {
    Verified verified(2048);
    verified.open(
        "6 check_at_most_once IGNORE_ZERO_BLOCKS panic_on_error ignore_corruption "
        "try_verify_in_tasklet check_at_most_once passed over");
    CHECK(verified.target().status(StatusKind::table) ==
          verified.words() +
              " 5 ignore_corruption panic_on_error ignore_zero_blocks check_at_most_once "
              "try_verify_in_tasklet");
    CHECK(verified.target().status(StatusKind::measure) ==
          "hash_failed=V,verity_version=1,data_device_name=a,hash_device_name=h,verity_algorithm=sha256,"
          "root_digest=" +
              hex(verified.naive.root) +
              ",salt=-,ignore_zero_blocks=y,check_at_most_once=y,verity_mode=ignore_corruption,"
              "verity_error_mode=panic_on_error;");
    std::string row = "0 2048 verity " + verified.words();
    CHECK_THROWS_AS(verified.build(row + "\n2048 8 zero"), Refused);
    CHECK_THROWS_AS(verified.build("0 8 zero\n8 2040 verity " + verified.words()), Refused);
    CHECK_THROWS_AS(verified.source.table(row), Refused);  // writable
    std::shared_ptr<Table> zero = verified.build("0 8 zero"), error = verified.build("0 8 zero\n8 8 error");
    CHECK(!verified.table->may_become(*zero));
    CHECK(verified.table->may_become(*error));
    CHECK(verified.table->may_become(*verified.build(row)));
    CHECK(zero->may_become(*verified.table));
}
