#include "parts/feature_words.h"

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// What a row "words COUNT ..." says: its features, each with its arguments.
std::vector<std::string> read_words;

class Nothing final : public Target {
  public:
    Task<Status> io(Bio) override { return Task<Status>::ready(Status(EIO)); }
    Extent extent(Sector, Look&) override { return {true, 8}; }
    void explain(Op, Sector, Sector, const StepVisitor&) const override {}
    void reverse(const Device&, Sector, Sector, const RunVisitor&) const override {}
};

std::unique_ptr<Target> make_words(TargetSetup& setup) {
    read_words.clear();
    FeatureWords words(setup, 0, "features", 4);
    while (words.next()) {
        if (words.is("plain"))
            read_words.emplace_back("plain");
        else if (words.is("number"))
            read_words.push_back("number " + std::to_string(words.number("the number", 1, 9)));
        else if (std::optional<std::string_view> value = words.value_of("size"))
            read_words.push_back("size=" + std::string(*value));
        else if (words.is("pair")) {
            words.need(2, "pair FIRST SECOND");
            const size_t first = words.argument({}), second = words.argument({});
            read_words.push_back("pair " + setup.word(first) + "," + setup.word(second));
        } else
            throw words.unknown("plain, number, size or pair");
    }
    return std::make_unique<Nothing>();
}

// What the row is read as, or the reason and the column of the refusal.
std::string read(const std::string& row) {
    static const std::vector<TargetType> types{{"words", {1, 0, 0}, make_words}};
    Running executor;
    FakeSource devices(*executor);
    const TargetRegistry registry{types};
    try {
        static_cast<void>(
            Table::build("0 8 words" + row, TableSource{*executor, registry, devices, "/", true, [] {}}));
    } catch (const Refused& refused) {
        return std::to_string(refused.place().column) + ": " + refused.reason();
    }
    std::string text;
    for (const std::string& word : read_words) text += (text.empty() ? "" : "; ") + word;
    return text;
}

}  // namespace

TEST_CASE("features are read as they were counted") {
    CHECK(read("").empty());
    CHECK(read(" 0 anything").empty());
    CHECK(read(" 1 plain") == "plain");
    CHECK(read(" 3 PLAIN number 7") == "plain; number 7");
    CHECK(read(" 4 pair a b size:512 passed over") == "pair a,b; size=512");
    CHECK(read(" 1 size:") == "size=");
}

TEST_CASE("features are refused where they stand") {
    CHECK(read(" 5 plain plain plain plain plain") == "10: words: number of features 5 is out of range");
    CHECK(read(" x plain") == "10: words: number of features 'x' is no number");
    CHECK(read(" 2 plain") == "10: words: 2 features are announced, 1 follow");
    CHECK(read(" 1 other") == "12: words: there is no 'other' among the features");
    CHECK(read(" 1 SIZE:512") == "12: words: there is no 'SIZE:512' among the features");
    CHECK(read(" 2 number 10") == "19: words: the number 10 is out of range");
    CHECK(read(" 1 number 7") ==
          "12: words: number wants 1 word after it, and of those announced 0 are left");
    CHECK(read(" 2 pair a") == "12: words: pair wants 2 words after it, and of those announced 1 is left");
}
