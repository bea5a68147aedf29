#include "dm/graph.h"

#include <nlohmann/json.hpp>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;
using Json = nlohmann::ordered_json;

namespace {

struct Stack {
    Running executor;
    Namespace space{*executor};
    FakeSource source{*executor, &space};

    Stack() { source.add("a", 4096), source.add("b", 4096); }
    void volume(const std::string& name, const std::string& text) {
        std::shared_ptr<Volume> made = space.create(name);
        REQUIRE(run(*executor, made->replace(source.table(text), nullptr)));
    }
    Json graph(const GraphBounds& bounds = {}) { return Json::parse(graph_text(space, bounds)); }
};

}  // namespace

TEST_CASE("the graph tells volumes, rows and areas, and each device once") {
    Stack stack;
    stack.volume("low", "0 8 linear a 16\n8 8 zero\n");
    stack.volume("top", "0 4 linear low 2\n4 4 linear low 6\n");
    Json graph = stack.graph();
    REQUIRE(graph["volumes"].size() == 2);
    CHECK(graph["devices"].size() == 2);
    const Json& low = graph["volumes"][0];
    CHECK(low["name"] == "low");
    CHECK(low["sectors"] == 16);
    CHECK(low["state"] == "active");
    CHECK(low["rows"][0]["areas"][0]["start"] == 16);
    CHECK(low["rows"][0]["areas"][0]["length"] == 8);
    CHECK_FALSE(low["rows"][0].contains("pieces"));  // one area from end to end
    CHECK(low["rows"][1]["target"] == "zero");
    CHECK(low["rows"][1]["areas"].empty());
    const Json& area = graph["volumes"][1]["rows"][1]["areas"][0];
    CHECK(area["name"] == "low");
    CHECK(area["kind"] == "volume");
    CHECK(graph["devices"][area["device"].get<size_t>()]["minor"] == low["minor"]);
}

TEST_CASE("the graph has the pieces of a striped row, and of very many the first") {
    Stack stack;
    stack.volume("v", "0 32 striped 2 4 a 0 b 100\n");
    Json row = stack.graph()["volumes"][0]["rows"][0];
    REQUIRE(row["pieces"].size() == 8);
    CHECK(row["known"] == 32);
    CHECK(row["pieces"][0] == Json::array({0, 4, row["areas"][0]["device"], 0}));
    CHECK(row["pieces"][3] == Json::array({12, 4, row["areas"][1]["device"], 104}));

    GraphBounds few;
    few.pieces_of_row = 5;
    row = stack.graph(few)["volumes"][0]["rows"][0];
    CHECK(row["pieces"].size() == 5);
    CHECK(row["known"] == 20);
}

TEST_CASE("a huge row is not explained to its end") {
    Stack stack;
    stack.source.add("huge", 8).set_size(Sector{1} << 40);
    stack.volume("v", "0 1099511627776 striped 1 1 huge 0\n");  // every step goes on with the last
    Json row = stack.graph()["volumes"][0]["rows"][0];
    CHECK(row["known"] == 256 * 64);
    CHECK(row["pieces"].size() == 1);
}

TEST_CASE("many rows share the pieces there may be") {
    Stack stack;
    std::string text;
    for (int i = 0; i < 100; i++) text += std::to_string(i * 16) + " 16 striped 2 1 a 0 b 0\n";
    stack.volume("v", text);
    GraphBounds bounds;
    bounds.pieces = 600;
    Json many = stack.graph(bounds);
    for (const Json& row : many["volumes"][0]["rows"]) REQUIRE(row["pieces"].size() == 6);
    bounds.pieces = 1;
    Json few = stack.graph(bounds);
    for (const Json& row : few["volumes"][0]["rows"]) REQUIRE(row["pieces"].size() == 4);
}

TEST_CASE("a name that is no UTF-8 does not spoil the graph") {
    Stack stack;
    stack.volume("\xff", "0 8 zero\n");
    stack.volume("\xfe", "0 8 zero\n");
    CHECK(stack.graph()["volumes"].size() == 2);
    CHECK(stack.graph()["volumes"][0]["name"] == "\xef\xbf\xbd");
}
