// The stream of requests.

#include "dm/trace.h"

#include <unistd.h>

#include <cerrno>

#include "base/words.h"
#include "dm/device_mapper.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

class Process final : public Cancel {
  public:
    pid_t process() const override { return ::getpid(); }
};

struct Traced {
    Traced() {
        volume = dm.create("v");
        REQUIRE(
            run_now(*executor, volume->replace(dm.build(*volume, "0 128 linear ram:64K 0", "/"), nullptr)));
        trace = std::make_shared<Trace>(volume);
        volume->watch(trace);
    }
    ~Traced() { volume->unwatch(*trace); }

    Running executor;
    DeviceMapper dm{*executor, "", {}};
    std::shared_ptr<Volume> volume;
    std::shared_ptr<Trace> trace;
    Memory memory{bytes_of(8)};
};

}  // namespace

TEST_CASE("a trace tells who asked for what, how long it took, and the way") {
    Traced traced;
    Process me;
    Bio write = bio_of(Op::write, 8, 8, &traced.memory);
    write.fua = true;
    write.cancel = &me;
    CHECK(run(*traced.executor, traced.volume->io(write)) == kOk);
    CHECK(run(*traced.executor, traced.volume->io(bio_of(Op::read, 1000, 8, &traced.memory))) == Status(EIO));
    std::string text = traced.trace->take(100000);
    std::vector<std::string_view> lines;
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
        lines.push_back(std::string_view(text).substr(at, text.find('\n', at) - at));
    REQUIRE(lines.size() == 2);
    std::vector<Word> first = split_words(lines[0]), second = split_words(lines[1]);
    REQUIRE(first.size() == 9);
    CHECK(first[1].text == std::to_string(::getpid()));
    CHECK(first[2].text == program_invocation_short_name);
    CHECK(first[3].text == "write+fua");
    CHECK(first[4].text == "8");
    CHECK(first[5].text == "8");
    CHECK(first[7].text == "0");
    CHECK(first[8].text == "ram:64K:8+8");
    CHECK(second[2].text == "-");
    CHECK(second[7].text == std::to_string(EIO));
    CHECK(traced.trace->take(100000).empty());
}

TEST_CASE("a slow reader is told what it missed, and takes what fits") {
    Traced traced;
    for (int i = 0; i < (1 << 15) + 5; i++)
        REQUIRE(run(*traced.executor, traced.volume->io(bio_of(Op::read, 0, 1, &traced.memory))) == kOk);
    std::string text = traced.trace->take(300);
    CHECK(text.starts_with("# 5 lost\n"));
    CHECK(text.size() <= 300);
    CHECK(text.back() == '\n');
    CHECK(traced.trace->take(20).size() <= 20);
}

TEST_CASE("a reader waits for the next request, a stop or a kill") {
    Traced traced;
    Pending<Status> waiting = begin(*traced.executor, traced.trace->wait(nullptr));
    CHECK(!waiting.done());
    CHECK(run(*traced.executor, traced.volume->io(bio_of(Op::read, 0, 1, &traced.memory))) == kOk);
    CHECK(waiting.get() == kOk);
    CHECK(!traced.trace->take(1000).empty());
    Cancel cancel;
    Pending<Status> killed = begin(*traced.executor, traced.trace->wait(&cancel));
    cancel.request();
    CHECK(killed.get() == Status(EINTR));
    Pending<Status> stopped = begin(*traced.executor, traced.trace->wait(nullptr));
    traced.trace->stop();
    CHECK(stopped.get() == kOk);
    CHECK(traced.trace->stopped());
}
