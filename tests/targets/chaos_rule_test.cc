// The rules of chaos: reading and printing them, what they draw, masks, what they remember.

#include <set>

#include "engine/support.h"
#include "targets/chaos/draw.h"
#include "targets/chaos/mask.h"
#include "targets/chaos/rule.h"
#include "targets/chaos/rules.h"
#include "targets/chaos/sectors.h"

using namespace dmfs;
using namespace dmfs::chaos;
using namespace dmfs::test;

namespace {

constexpr RuleGround kGround{1000, 1};

Rule parsed(const std::string& word) { return parse_rule(word, kGround); }

// "what is pointed at|reason|remedy"
std::string refusal(const std::string& word, RuleGround ground = kGround) {
    try {
        parse_rule(word, ground);
    } catch (const Refused& refused) {
        const Place& place = refused.place();
        return word.substr(place.column, place.length) + "|" + refused.reason() + "|" + refused.remedy();
    }
    return "taken";
}

bool points(const std::string& word, const std::string& at, const std::string& says) {
    std::string text = refusal(word);
    INFO(text);
    CHECK(text.starts_with(at + "|"));
    CHECK(text.find(says) != std::string::npos);
    return text.starts_with(at + "|") && text.find(says) != std::string::npos;
}

}  // namespace

TEST_CASE("a rule says what, when and under which name") {
    Rule rule = parsed("dead:error:ETIMEDOUT,on=read+flush,sectors=100+8,times=3,p=0.25,every=2,after=go");
    CHECK(rule.name == "dead");
    CHECK(rule.fault == Fault::error);
    CHECK(rule.error == ETIMEDOUT);
    CHECK(rule.ops == (bit_of(Op::read) | bit_of(Op::flush)));
    CHECK_FALSE(rule.everywhere);
    CHECK(rule.from == 100);
    CHECK(rule.end == 108);
    CHECK(rule.times == 3);
    CHECK(rule.every == 2);
    CHECK(rule.billionths == 250'000'000);
    CHECK(rule.after == "go");
    rule = parsed("m:misdirect:64,mask=legs/16,once");
    CHECK(rule.distance == 64);
    CHECK(rule.mask == "legs");
    CHECK(rule.mask_chunk == 16);
    CHECK(rule.times == 1);
    CHECK(rule.ops == bit_of(Op::write));
    CHECK(parsed("s:slow:0.25").delay_ns == 250'000);
    CHECK(parsed("s:slow:20").delay_ns == 20'000'000);
    CHECK(parsed("t:torn:ok").acknowledged);
    CHECK(parsed("e:error").error == EIO);
    CHECK(parsed("f:flip:7,on=write").bits == 7);
}

TEST_CASE("what is left out is a fault's own") {
    CHECK(parsed("a:error").ops == 31);
    CHECK(parsed("a:hang").ops == 31);
    CHECK(parsed("a:slow:1").ops == 31);
    CHECK(parsed("a:torn").ops == bit_of(Op::write));
    CHECK(parsed("a:lost").ops == bit_of(Op::write));
    CHECK(parsed("a:flip").ops == bit_of(Op::read));
    CHECK(parsed("a:stale").ops == bit_of(Op::read));
    CHECK(parsed("a:latent").ops == bit_of(Op::read));
    CHECK(parsed("a:lost,on=any").ops == (31 & ~bit_of(Op::read)));
}

TEST_CASE("a rule is printed in one form, which is read again") {
    struct Form {
        const char *written, *printed;
    };
    for (const Form& form : std::initializer_list<Form>{
             {"dead:error", "dead:error:EIO"},
             {"dead:error:EIO,always", "dead:error:EIO"},
             {"t:torn:ok,times=1,on=write", "t:torn:ok,once"},
             {"s:slow:20.50,p=0.10", "s:slow:20.5,p=0.1"},
             {"s:slow:0.000001", "s:slow:0.000001"},
             {"f:flip", "f:flip:1"},
             {"f:flip:3,on=write+read,sectors=7", "f:flip:3,on=any,sectors=7+1"},
             {"m:misdirect:8,mask=x/128,nth=4", "m:misdirect:8,nth=4,mask=x"},
             {"m:misdirect:8,mask=x/8,after=go,times=5", "m:misdirect:8,after=go,mask=x/8,times=5"},
             {"l:latent,p=0.000000001", "l:latent,p=0.000000001"},
             {"h:hang,on=discard+flush,every=3", "h:hang,on=flush+discard,every=3"},
             {"x:lost,p=0", "x:lost,p=0"},
             {"x:lost,every=2,from=05", "x:lost,from=5,every=2"}}) {
        CHECK(print_rule(parsed(form.written)) == form.printed);
        CHECK(print_rule(parsed(form.printed)) == form.printed);
    }
}

TEST_CASE("a rule that is refused is pointed at within its word") {
    CHECK(points("dead:eror:EIO", "eror", "one of error, torn, lost, misdirect"));
    CHECK(points("dead:error:EFOO,on=read", "EFOO", "one of EIO, ENOSPC"));
    CHECK(points("dead:error:EIO,on=raed", "raed", "read+write+flush"));
    CHECK(points("dead:error,on=read+", "read+", "no request behind it"));
    CHECK(points("t:torn,on=write+read", "read", "torn is no fault of a read|write"));
    CHECK(points("x:error,sectors=900+200", "900+200", "900+1 to 900+100"));
    CHECK(points("x:error,sectors=1000", "1000", "0 to 999"));
    CHECK(points("x:error,sectors=5+0", "5+0", "no sectors"));
    CHECK(points("x:error,sectors=5+", "5+", "no sectors"));
    CHECK(points("x:error,p=1.1", "1.1", "0 to 1"));
    CHECK(points("x:error,p=0.0000000001", "0.0000000001", "9 digits"));
    CHECK(points("x:error,p=.5", ".5", "no probability"));
    CHECK(points("x:error,nth=0", "0", "nth=1"));
    CHECK(points("x:error,nth=1,every=2", "every", "one of them"));
    CHECK(points("x:error,from=3,nth=1", "from", "one of them"));
    CHECK(points("x:error,once,times=2", "times", "one of them"));
    CHECK(points("x:error,on=read,on=write", "on", "one of them"));
    CHECK(points("x:error,whenever", "whenever", "one of on=, sectors="));
    CHECK(points("x:error,once=1", "once=1", "no condition"));
    CHECK(points("x:error,", ",", "no condition behind it"));
    CHECK(points("x:error,after=", "=", "a mark"));  // what is missing, where it ends
    CHECK(points("x:torn:no", "no", "torn:ok"));
    CHECK(points("x:lost:5", "5", "no argument"));
    CHECK(points("x:flip:0", "0", "flip:1024"));
    CHECK(points("x:flip:1025", "1025", "flip:1024"));
    CHECK(points("x:slow", "slow", "slow:20"));
    CHECK(points("x:slow:0", "0", "slow:20"));
    CHECK(points("x:slow:3600000.1", "3600000.1", "slow:3600000"));
    CHECK(points("x:misdirect", "misdirect", "misdirect:1 to misdirect:999"));
    CHECK(points("x:misdirect:1000", "1000", "misdirect:999"));
    CHECK(points("x:latent,nth=3", "nth", "sectors= and p="));
    CHECK(points("x:latent,once", "once", "sectors= and p="));
    CHECK(points("x:latent,on=read", "on=read", "no on="));
    CHECK(points("x:lost,on=flush,sectors=1+1", "sectors", "a flush has no sectors"));
    CHECK(points("x:lost,on=flush,mask=m", "mask", "a flush has no sectors"));
    CHECK(points("x:lost,mask=m/0", "0", "4294967295"));
    CHECK(points("x:lost,mask=m/", "/", "no chunk"));
    CHECK(points("a b:lost", "a b", "no name of a rule"));
    CHECK(points(std::string(33, 'n') + ":lost", std::string(33, 'n'), "at most 32"));
    CHECK(points("dead", "d", "a rule without a fault"));
    CHECK(refusal("").starts_with("|a rule without a name|"));
    CHECK(refusal("x:misdirect:12", {1000, 8}).find("a multiple of the device's block of 8") !=
          std::string::npos);
    CHECK(refusal("x:misdirect:16", {1000, 8}) == "taken");
}

TEST_CASE("what is drawn depends on the seed, the name and the number alone") {
    Draw draw(1, "dead");
    CHECK(draw(5, 0) == Draw(1, "dead")(5, 0));
    std::set<uint64_t> seen;
    for (uint64_t n = 0; n < 1000; n++)
        for (uint64_t index = 0; index < 4; index++) seen.insert(draw(n, index));
    CHECK(seen.size() == 4000);
    CHECK(draw(5, 0) != Draw(2, "dead")(5, 0));
    CHECK(draw(5, 0) != Draw(1, "daed")(5, 0));
    unsigned low = 0;
    for (uint64_t n = 0; n < 10000; n++) low += draw.below(10, n, 0) == 3;
    CHECK(low > 850);
    CHECK(low < 1150);
}

TEST_CASE("a chunk of a mask belongs to who took it first, until that one goes") {
    auto mask = Mask::open("unit-mask", 8);
    CHECK(Mask::open("unit-mask", 8) == mask);
    CHECK_THROWS_AS(Mask::open("unit-mask", 16), Refused);
    auto a = std::make_unique<MaskShare>(mask, "unit-mask");
    MaskShare b(mask, "unit-mask");
    CHECK(a->claim({{8, 10}}));
    CHECK(a->claim({{9, 12}}));
    CHECK_FALSE(b.claim({{15, 16}}));
    CHECK(b.claim({{16, 17}}));
    // All or nothing: chunk 3 stays free.
    CHECK_FALSE(a->claim({{16, 32}}));
    CHECK(b.claim({{24, 32}}));
    CHECK_FALSE(b.claim({{40, 48}, {0, 9}}));
    CHECK(a->claim({{40, 48}}));
    a.reset();
    CHECK(b.claim({{8, 48}}));
    CHECK_FALSE(b.claim({{0, 8 * (Mask::kMostChunks + 1)}}));
}

TEST_CASE("the past of sectors is bounded, and the oldest is forgotten") {
    Past past;
    std::vector<std::byte> data(bytes_of(2));
    stamp(data.data(), 1, 0);
    stamp(data.data() + kSectorBytes, 1, 1);
    past.put(10, 2, data.data());
    CHECK(past.has(11, 20));
    CHECK_FALSE(past.has(12, 20));
    std::vector<std::byte> read(bytes_of(4));
    past.overlay(9, 4, read.data());
    CHECK(all_zero(read.data(), kSectorBytes));
    CHECK(stamped(read.data() + kSectorBytes, 1, 0));
    CHECK(stamped(read.data() + bytes_of(2), 1, 1));
    CHECK(all_zero(read.data() + bytes_of(3), kSectorBytes));
    past.forget(10, 11);
    CHECK_FALSE(past.has(10, 11));
    CHECK(past.has(11, 12));
    for (Sector s = 0; s < Past::kMostSectors - 1; s++) past.put(100 + s, 1, data.data());
    CHECK(past.has(11, 12));
    past.put(11, 1, data.data());  // now the youngest
    past.put(99, 1, data.data());
    CHECK(past.has(11, 12));
    CHECK_FALSE(past.has(100, 101));
    past.clear();
    CHECK_FALSE(past.has(0, 100000));
}

TEST_CASE("sectors that were repaired stay so") {
    Repaired repaired;
    CHECK_FALSE(repaired.has(5));
    repaired.put(5, 7);
    repaired.put(32760, 2 * 32768 + 1);
    for (Sector s : {4, 7, 32759, 65537}) CHECK_FALSE(repaired.has(s));
    for (Sector s : {5, 6, 32760, 32767, 32768, 65535, 65536}) CHECK(repaired.has(s));
}

TEST_CASE("what was repaired is kept in ranges, and of those there are only so many") {
    uint32_t seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    Repaired repaired, few(4);
    repaired.put(0, uint64_t{1} << 55);
    CHECK(repaired.ranges() == 1);
    CHECK(repaired.has((uint64_t{1} << 55) - 1));
    repaired.clear();
    std::vector<bool> model(300);
    for (int round = 0; round < 2000; round++) {
        Sector from = random() % 280, end = from + 1 + random() % (round % 8 == 0 ? 20 : 2);
        if (round % 200 == 0) {
            repaired.clear();
            few.clear();
            model.assign(300, false);
        }
        repaired.put(from, end);
        few.put(from, end);
        std::fill(model.begin() + static_cast<long>(from), model.begin() + static_cast<long>(end), true);
        size_t ranges = 0;
        for (Sector s = 0; s < 300; s++) {
            if (repaired.has(s) != model[s]) FAIL("sector " << s);
            if (model[s] && !few.has(s)) FAIL("sector " << s << " is bad again");
            if (model[s] && (s == 0 || !model[s - 1])) ranges++;
        }
        CHECK(repaired.ranges() == ranges);
        CHECK(few.ranges() <= 4);
    }
}
