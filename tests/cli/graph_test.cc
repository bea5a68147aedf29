#include <nlohmann/json.hpp>

#include <algorithm>
#include <random>

#include "base/refused.h"
#include "catch.h"
#include "cli/graph_draw.h"
#include "cli/graph_layout.h"

using namespace dmfs;
using namespace dmfs::cli;
using Json = nlohmann::ordered_json;

namespace {

Span span(Sector from, Sector end, int device) { return {from, end, {{device, 1}}, {}, 1}; }

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

size_t count(const std::string& text, const std::string& part) {
    size_t found = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) found++;
    return found;
}

Json file(const std::string& name, Sector sectors) {
    return {
        {"name", name}, {"kind", "file"}, {"number", nullptr}, {"sectors", sectors}, {"allocated", sectors}};
}

Json volume(const std::string& name, unsigned minor, Sector sectors, Json rows) {
    return {{"name", name},      {"uuid", ""},        {"minor", minor},    {"sectors", sectors},
            {"state", "active"}, {"readonly", false}, {"inactive", false}, {"rows", std::move(rows)}};
}

Json linear(Sector start, Sector length, int device, Sector at) {
    return {{"start", start},
            {"length", length},
            {"target", "linear"},
            {"areas", Json::array({{{"device", device}, {"start", at}, {"length", length}}})}};
}

// top stands on low and a file, low on the other file.
Json two_volumes(const std::string& top = "top", const std::string& path = "/b.img") {
    Json low{{"name", "low"}, {"kind", "volume"}, {"number", "0:0"},
             {"sectors", 8},  {"allocated", 8},   {"minor", 0}};
    return {{"devices", Json::array({file("/a.img", 100), low, file(path, 64)})},
            {"volumes",
             Json::array({volume("low", 0, 8, Json::array({linear(0, 8, 0, 4)})),
                          volume(top, 1, 72, Json::array({linear(0, 8, 1, 0), linear(8, 64, 2, 0)}))})}};
}

}  // namespace

TEST_CASE("pieces that can be seen are cells of their own") {
    std::vector<Cell> cells = cells_of({span(0, 10, 0), span(10, 90, 1), span(90, 100, 0)}, 100, 1000);
    REQUIRE(cells.size() == 3);
    CHECK(cells[1].x == Approx(100));
    CHECK(cells[1].width == Approx(800));
    CHECK(cells[1].merged == 1);
}

TEST_CASE("pieces too thin to be seen are merged, with their shares") {
    std::vector<Span> spans;
    for (Sector i = 0; i < 10000; i++) spans.push_back(span(i, i + 1, i % 4 == 0 ? 0 : 1));
    std::vector<Cell> cells = cells_of(spans, 10000, 1000);
    CHECK(cells.size() < 200);
    size_t pieces = 0;
    for (const Cell& cell : cells) {
        pieces += cell.merged;
        CHECK(cell.merged == cell.span.pieces);
        CHECK(cell.width <= kMerged + kThinnest);
    }
    CHECK(pieces == 10000);
    REQUIRE(cells[0].span.shares.size() == 2);
    CHECK(cells[0].span.shares[0].device == 1);  // the largest first
    CHECK(cells[0].span.shares[0].part == Approx(0.75).margin(0.02));
}

TEST_CASE("what lies far apart is not merged across the gap") {
    std::vector<Cell> cells = cells_of({span(0, 1, 0), span(9000, 9001, 0)}, 10000, 1000);
    REQUIRE(cells.size() == 2);
    CHECK(cells[0].width == 1);  // so that it is seen
    CHECK(cells[1].x == Approx(900));
}

TEST_CASE("cells of any pieces are in order, within the bar, and hold every piece") {
    std::mt19937_64 random(17);
    for (int round = 0; round < 200; round++) {
        Sector sectors = 1 + random() % 100000;
        std::vector<Span> spans;
        for (Sector at = 0; at < sectors;) {
            Sector end = std::min(sectors, at + 1 + random() % (random() % 2 == 0 ? 4 : 5000));
            spans.push_back(span(at, end, static_cast<int>(random() % 20)));
            at = end + (random() % 3 == 0 ? random() % 100 : 0);
        }
        double right = 0;
        size_t pieces = 0;
        for (const Cell& cell : cells_of(spans, sectors, 500)) {
            REQUIRE(cell.x + 1e-6 >= right - 1);  // a thin one is drawn a pixel wide
            right = cell.x + cell.width;
            REQUIRE(right <= 501);
            REQUIRE(cell.span.shares.size() <= kMostShares);
            double parts = 0;
            for (const Share& share : cell.span.shares) parts += share.part;
            REQUIRE(parts == Approx(1));
            pieces += cell.merged;
        }
        REQUIRE(pieces == spans.size());
    }
}

TEST_CASE("a volume of no size has no cells") { CHECK(cells_of({span(0, 1, 0)}, 0, 100).empty()); }

TEST_CASE("uses of the same sectors are drawn in lanes") {
    Json document = two_volumes();
    document["volumes"].push_back(volume("third", 2, 8, Json::array({linear(0, 8, 0, 8)})));
    document["volumes"].push_back(volume("fourth", 3, 8, Json::array({linear(0, 8, 0, 6)})));
    document["volumes"].push_back(volume("fifth", 4, 8, Json::array({linear(0, 8, 0, 50)})));
    Graph graph = parse_graph(document);
    Lanes lanes = uses_of(graph, 0, 2);
    REQUIRE(lanes.lanes.size() == 2);
    CHECK(lanes.left_out == 1);
    CHECK(lanes.lanes[0].size() == 2);  // [4, 12) and [50, 58)
    CHECK(graph.volumes[lanes.lanes[0][1].volume].name == "fifth");
}

TEST_CASE("texts are cut to the room there is") {
    CHECK(fitting("disk", 13, 100) == "disk");
    std::string cut = fitting("a very long name of a volume", 13, 100);
    CHECK(text_width(cut, 13) <= 100);
    CHECK(cut.ends_with("…"));
    CHECK(fitting("abcdef", 13, 12).empty());
}

TEST_CASE("ticks are round and few") {
    CHECK(ticks_of(2048, 8) == std::vector<Sector>{0, 256, 512, 768, 1024, 1280, 1536, 1792, 2048});
    CHECK(ticks_of(1, 8).size() <= 9);
    CHECK(ticks_of(kMaxSectors, 8).size() <= 9);
}

TEST_CASE("users stand above what they use") {
    Graph graph = parse_graph(two_volumes());
    CHECK(graph.from_the_top() == std::vector<size_t>{1, 0});
    CHECK(graph.volumes[0].users == std::vector<size_t>{1});
}

TEST_CASE("a graph that is none is refused") {
    CHECK_THROWS_AS(parse_graph(Json::array()), Refused);
    CHECK_THROWS_AS(parse_graph(Json{{"devices", 3}, {"volumes", "x"}}), Refused);
    Json document = two_volumes();
    document["volumes"][0]["rows"][0]["areas"][0]["device"] = 7;
    CHECK_THROWS_AS(parse_graph(document), Refused);
}

TEST_CASE("volumes can be picked, with what they stand on") {
    Json document = two_volumes();
    document["volumes"].push_back(volume("other", 2, 8, Json::array({linear(0, 8, 2, 0)})));
    Json low = only_below(document, {0});
    CHECK(low["volumes"].size() == 1);
    CHECK(low["devices"].size() == 1);
    Graph other = parse_graph(only_below(document, {2}));
    REQUIRE(other.devices.size() == 1);
    CHECK(other.devices[0].name == "/b.img");
    CHECK(other.volumes[0].rows[0].areas[0].device == 0);
    CHECK(parse_graph(only_below(document, {1})).volumes.size() == 2);
}

TEST_CASE("the tree goes from the top to the files") {
    CHECK(graph_tree(parse_graph(two_volumes()), Lines::ascii, {}) ==
          "top  36 KiB, active, 0:1\n"
          "|- [0, 8) linear\n"
          "|  `- low [0, 8)  volume, 4 KiB\n"
          "|     `- [0, 8) linear\n"
          "|        `- /a.img [4, 12)  file, 50 KiB\n"
          "`- [8, 72) linear\n"
          "   `- /b.img [0, 64)  file, 32 KiB\n");
}

TEST_CASE("a long tree says how much it leaves out") {
    Json rows = Json::array();
    for (Sector i = 0; i < 50; i++) rows.push_back(linear(i * 2, 2, 0, i * 2));
    Json document{{"devices", Json::array({file("/a", 100)})},
                  {"volumes", Json::array({volume("v", 0, 100, rows)})}};
    CHECK(contains(graph_tree(parse_graph(document), Lines::ascii, {.rows = 10}), "and 40 more rows"));
    CHECK_FALSE(contains(graph_tree(parse_graph(document), Lines::ascii, {.rows = 49}), "more"));
}

TEST_CASE("hostile names stay names in every form") {
    const std::string name = "</title><script>alert(1)</script>\" & \n'";
    Graph graph = parse_graph(two_volumes(name, "/x\"];evil[label=\"<b>\n.img"));
    std::string svg = graph_svg(graph, "/mnt/<&>");
    CHECK_FALSE(contains(svg, "<script"));
    CHECK_FALSE(contains(svg,
                         "</title><"
                         "script"));
    CHECK(contains(svg, "&lt;/title&gt;&lt;script&gt;alert(1)"));
    CHECK(contains(svg, "/mnt/&lt;&amp;&gt;"));
    std::string html = graph_html(graph, name);
    CHECK(count(html, "<script") == 1);  // its own
    CHECK_FALSE(contains(html, "src="));
    CHECK(count(html, "http") == count(html, "http://www.w3.org/2000/svg") + count(html, "http-equiv"));
    CHECK(contains(graph_dot(graph, name), "\\\"];evil[label=\\\"<b>\\\\x0a.img"));
    CHECK(count(graph_tree(graph, Lines::utf, {}), "\n") == 7);
}

TEST_CASE("thousands of rows make a small picture that says what it merged") {
    Json rows = Json::array();
    for (Sector i = 0; i < 20000; i++)
        rows.push_back(linear(i * 2, 2, static_cast<int>(i % 2), (i * 7919 % 20000) * 2));
    Json document{{"devices", Json::array({file("/a", 40000), file("/b", 40000)})},
                  {"volumes", Json::array({volume("v", 0, 40000, rows)})}};
    std::string svg = graph_svg(parse_graph(document), "/mnt");
    CHECK(svg.size() < 1'000'000);
    CHECK(contains(svg, "20000 pieces are too thin to be drawn apart"));
    CHECK(contains(svg, "50% /a"));
}

TEST_CASE("a row in too many pieces is drawn as bands, and its beginning enlarged") {
    Json row{{"start", 0},
             {"length", 100000},
             {"target", "striped"},
             {"areas", Json::array()},
             {"pieces", Json::array()},
             {"known", 512}};
    for (int i = 0; i < 2; i++) row["areas"].push_back({{"device", i}, {"start", 0}, {"length", 50000}});
    for (Sector i = 0; i < 256; i++) row["pieces"].push_back({i * 2, 2, i % 2, i / 2 * 2});
    Json document{{"devices", Json::array({file("/a", 50000), file("/b", 50000)})},
                  {"volumes", Json::array({volume("v", 0, 100000, Json::array({row}))})}};
    std::string svg = graph_svg(parse_graph(document), "/mnt");
    CHECK(contains(svg, "about 50000 pieces, dealt out to"));
    CHECK(contains(svg, "Enlarged: the first 16 pieces of sectors [0, 100000), striped."));
    CHECK(contains(svg, "on /b [2, 4)"));
}
