#include "engine/buffer.h"

#include <cstring>
#include <set>
#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

std::string text_of(const Memory& memory) {
    return {reinterpret_cast<const char*>(memory.data()), memory.bytes()};
}

}  // namespace

TEST_CASE("a buffer holds what was asked for, on pages of its own") {
    std::vector<Buffer> buffers;
    size_t sizes[] = {1, 512, 4096, 4097, 16384, 100000, 1048576, 4194304, 4194305, 9000001};
    for (size_t bytes : sizes)
        for (int i = 0; i < 6; i++) buffers.emplace_back(bytes);
    size_t index = 0;
    for (size_t bytes : sizes)
        for (int i = 0; i < 6; i++, index++) {
            CHECK(reinterpret_cast<uintptr_t>(buffers[index].data()) % 4096 == 0);
            memset(buffers[index].data(), static_cast<int>(index), bytes);
        }
    index = 0;
    for (size_t bytes : sizes)
        for (int i = 0; i < 6; i++, index++) {
            CHECK(buffers[index].data()[0] == static_cast<std::byte>(index));
            CHECK(buffers[index].data()[bytes - 1] == static_cast<std::byte>(index));
        }
}

TEST_CASE("a block is used again by the thread that let it go, and by others") {
    std::byte* first = nullptr;
    {
        Buffer buffer(4096);
        first = buffer.data();
    }
    Buffer again(4000);
    CHECK(again.data() == first);
    // A thread that ends leaves its blocks to the others.
    std::set<std::byte*> theirs;
    std::thread other([&] {
        std::vector<Buffer> many;
        for (int i = 0; i < 8; i++) theirs.insert(many.emplace_back(65536).data());
    });
    other.join();
    std::vector<Buffer> many;
    int found = 0;
    for (int i = 0; i < 16; i++) found += theirs.contains(many.emplace_back(65536).data());
    CHECK(found == 8);
}

TEST_CASE("a moved buffer leaves none behind") {
    Buffer a(512);
    std::byte* data = a.data();
    Buffer b(std::move(a));
    CHECK_FALSE(a);
    CHECK(b.data() == data);
    Buffer c;
    CHECK_FALSE(c);
    c = std::move(b);
    CHECK(c.data() == data);
}

TEST_CASE("blocks may be taken and let go by many threads") {
    std::vector<std::thread> threads;
    std::atomic<bool> mixed{false};
    for (int t = 0; t < 4; t++)
        threads.emplace_back([t, &mixed] {
            std::vector<Buffer> held;
            for (int i = 0; i < 2000; i++) {
                held.emplace_back(static_cast<size_t>(512) << (i % 9));
                held.back().data()[0] = static_cast<std::byte>(t);
                if (held.size() < 12) continue;
                for (Buffer& each : held)
                    if (each.data()[0] != static_cast<std::byte>(t)) mixed = true;
                held.clear();
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK_FALSE(mixed);
}

TEST_CASE("borrowed data stays where it is until it is settled") {
    char text[] = "payload";
    Memory memory = Memory::borrow(text, 7);
    CHECK(memory.data() == reinterpret_cast<std::byte*>(text));
    memory.settle();
    CHECK(memory.data() != reinterpret_cast<std::byte*>(text));
    text[0] = 'x';
    CHECK(text_of(memory) == "payload");
    std::byte* settled = memory.data();
    memory.settle();
    CHECK(memory.data() == settled);
}

TEST_CASE("what a thread has borrowed is settled without naming it") {
    char text[] = "payload";
    {
        Memory memory = Memory::borrow(text, 7);
        Memory moved(std::move(memory));
        Memory::settle_borrowed();
        text[0] = 'x';
        CHECK(text_of(moved) == "payload");
    }
    Memory::settle_borrowed();  // nothing is borrowed any more
    { Memory unsettled = Memory::borrow(text, 7); }
    Memory::settle_borrowed();
    Memory next = Memory::borrow(text, 7);  // one at a time, and this is the only one
    CHECK(text_of(next) == "xayload");
}

TEST_CASE("lent memory is never copied") {
    std::byte data[8] = {};
    Memory memory = Memory::lend(data, 8);
    Memory::settle_borrowed();
    memory.settle();
    CHECK(memory.data() == data);
}

TEST_CASE("moved memory takes its block along") {
    Memory memory(100);
    memcpy(memory.data(), "abc", 3);
    std::byte* data = memory.data();
    Memory moved(std::move(memory));
    CHECK(moved.data() == data);
    CHECK(memcmp(moved.data(), "abc", 3) == 0);
}

TEST_CASE("a block that is put aside has its bytes when it is looked at") {
    std::string text(3 * 4096 + 17, 'a');
    text.back() = 'z';
    Buffer aside = Buffer::aside(reinterpret_cast<const std::byte*>(text.data()), text.size());
    Buffer moved(std::move(aside));
    CHECK(memcmp(moved.data(), text.data(), text.size()) == 0);
}
