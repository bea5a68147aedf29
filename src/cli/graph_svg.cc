// The stack as a picture. Volumes stand above what they stand on; below them all the
// files and devices. Each is a bar as wide as the page, its address space to scale:
//
//     disk   3 MiB, active, 0:2                         under part1, part2
//     [linear         ][striped                      ]  the rows
//     [a.img          ][b][c][b][c][b][c][b][c][b][c]   where the pieces live, in its colour
//     0          1 MiB             2 MiB          3 MiB
//
// SVG shows a <title> where the mouse rests. Colours go by classes, so that a dark
// page needs other rules only; a pattern tells apart what has the same colour.

#include <fmt/format.h>

#include <algorithm>

#include "cli/escape.h"
#include "cli/graph_draw.h"
#include "cli/graph_layout.h"

namespace dmfs::cli {

namespace {

constexpr double kWidth = 1120, kMargin = 24, kBar = kWidth - 2 * kMargin;
constexpr double kFont = 13, kSmall = 11;
constexpr size_t kColours = 8;  // with dark text on them readable, also to the colour-blind
constexpr size_t kPatterns = 3;
constexpr size_t kMostVolumes = 200, kMostDevices = 200, kMostLegend = 40, kMostLanes = 3;
constexpr size_t kEnlarged = 16;  // pieces
constexpr double kTooFine = 6;    // pixels: pieces thinner than this are also drawn enlarged
constexpr size_t kTicks = 8;

constexpr const char* kStyle =
    "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu "
    "Sans',sans-serif;font-size:13px;fill:#1b1f24}\n"
    ".page{fill:#fff}.h{font-size:19px;font-weight:600}.n{font-size:15px;font-weight:600}\n"
    ".f{fill:#57606a}.s{font-size:11px}.in{font-size:11px;fill:#111}\n"
    ".bar{fill:#f3f4f6;stroke:#8c959f}.row{fill:#e4e7eb;stroke:#8c959f}.bare{stroke:none}.edge{stroke:#"
    "4b535d;stroke-width:.7}"
    "\n"
    ".tick{stroke:#8c959f}.lens{fill:#8c959f;fill-opacity:.18}\n"
    ".c0{fill:#56b4e9}.c1{fill:#e69f00}.c2{fill:#2fb98f}.c3{fill:#f0e442}.c4{fill:#f4794e}.c5{fill:#d98bb8}"
    ".c6{fill:#8ba3ee}.c7{fill:#a8c94f}.none{fill:url(#nothing)}.others{fill:#a7adb5}\n"
    ".ink{stroke:#111;stroke-width:1.4}.dot{fill:#111}.hatch{stroke:#8c959f;stroke-width:1.2}.ground{fill:#"
    "fff}\n"
    "a:hover rect,a:focus rect,.hot rect{stroke:#111;stroke-width:2.5}a{cursor:pointer}\n"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#14181d}.f{fill:#9aa4af}.in{fill:#111}"
    ".bar{fill:#22282f;stroke:#6e7681}.row{fill:#333b45;stroke:#6e7681}.bare{stroke:none}.edge{stroke:#"
    "0b0d10}"
    ".tick,.hatch{stroke:#6e7681}.ground{fill:#14181d}"
    "a:hover rect,a:focus rect,.hot rect{stroke:#fff}}\n";

constexpr const char* kPatternsDefined =
    "<pattern id=\"nothing\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"8\" height=\"8\" class=\"ground\"/><path d=\"M-2 10L10 -2M-2 2L2 -2M6 10L10 6\" "
    "class=\"hatch\"/>"
    "</pattern>\n"
    "<pattern id=\"p1\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
    "<path d=\"M-2 -2L10 10M-2 6L2 10M6 -2L10 2\" class=\"ink\" opacity=\".3\"/></pattern>\n"
    "<pattern id=\"p2\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\">"
    "<circle cx=\"3.5\" cy=\"3.5\" r=\"1.2\" class=\"dot\" opacity=\".4\"/></pattern>\n";

class Picture {
  public:
    explicit Picture(const Graph& graph) : graph_(graph) {}

    std::string draw(const std::string& title) {
        text(kMargin, 34, "h", fitting("What stands on what: " + title, 19, kBar));
        text(kMargin, 54, "f",
             fmt::format("{} and {}. Each bar is drawn to its own scale. Point at a piece to see "
                         "its sectors; follow it to what it lies on.",
                         counted(graph_.volumes.size(), "volume"),
                         counted(leaves(), "file or device", "files and devices")));
        y_ = 70;
        legend();
        std::vector<size_t> order = graph_.from_the_top();
        for (size_t i = 0; i < std::min(order.size(), kMostVolumes); i++) volume(order[i]);
        more(order.size(), kMostVolumes, "volumes are not drawn: name those you want to see");
        size_t drawn = 0;
        for (size_t i = 0; i < graph_.devices.size(); i++)
            if (graph_.devices[i].volume == kNothing && drawn++ < kMostDevices) device(i);
        more(drawn, kMostDevices, "files and devices are not drawn");
        return fmt::format(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:g} {1:g}\" width=\"{0:g}\" "
            "height=\"{1:g}\" "
            "role=\"img\" aria-label=\"{2}\">\n<title>{2}</title>\n<style>{3}</style>\n<defs>{4}</defs>\n"
            "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{5}</svg>\n",
            kWidth, y_ + 12, xml("dmfs: " + title), kStyle, kPatternsDefined, out_);
    }

  private:
    static std::string counted(size_t count, const std::string& one, const std::string& many = {}) {
        return fmt::format("{} {}", count, count == 1 ? one : many.empty() ? one + "s" : many);
    }
    size_t leaves() const {
        return static_cast<size_t>(std::count_if(graph_.devices.begin(), graph_.devices.end(),
                                                 [](const GraphDevice& d) { return d.volume == kNothing; }));
    }
    const GraphDevice& at(int device) const { return graph_.devices[static_cast<size_t>(device)]; }

    // The last part of a path: the whole stands in the title and in the legend.
    std::string short_name(int device) const {
        if (device == kNothing) return "nothing";
        if (device == kOthers) return "others";
        const std::string& name = at(device).name;
        return printable(at(device).kind == "file" ? name.substr(name.rfind('/') + 1) : name);
    }
    std::string target_of_link(int device) const {
        return at(device).volume == kNothing ? fmt::format("d{}", device)
                                             : fmt::format("v{}", at(device).volume);
    }

    void text(double x, double y, const char* classes, const std::string& what,
              const char* anchor = nullptr) {
        if (what.empty()) return;
        out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\"{}>{}</text>\n", x, y, classes,
                            anchor == nullptr ? "" : fmt::format(" text-anchor=\"{}\"", anchor), xml(what));
    }
    void box(double x, double y, double width, double height, const char* classes) {
        out_ +=
            fmt::format("<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" class=\"{}\"/>\n",
                        x, y, width, height, classes);
    }
    void title(const std::string& what) {
        // Newlines within a title are ours; those of names are escaped already.
        std::string lines;
        for (size_t from = 0; from <= what.size();) {
            size_t end = std::min(what.find('\n', from), what.size());
            lines += (from == 0 ? "" : "\n") + xml(what.substr(from, end - from));
            from = end + 1;
        }
        out_ += "<title>" + lines + "</title>";
    }
    void filled(double x, double y, double width, double height, int device, bool edge) {
        const char* edges = edge ? " edge" : "";
        if (device < 0)
            return box(x, y, width, height,
                       fmt::format("{}{}", device == kNothing ? "none" : "others", edges).c_str());
        auto index = static_cast<size_t>(device);
        box(x, y, width, height, fmt::format("c{}{}", index % kColours, edges).c_str());
        if (size_t pattern = index / kColours % kPatterns; pattern != 0)
            out_ += fmt::format(
                "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"url(#p{})\"/>\n",
                x, y, width, height, pattern);
    }

    // A cell with its title and, if there is room, a label; it leads to what it lies on.
    void cell(const Cell& one, double x, double y, double height, const std::string& label) {
        int device = one.span.shares.size() == 1 ? one.span.shares[0].device : kOthers;
        out_ += device >= 0 ? fmt::format("<a href=\"#{}\" data-d=\"{}\">", target_of_link(device), device)
                            : "<g>";
        title(one.merged == 1 ? one.span.title : merged_title(one));
        double top = y;
        for (const Share& share : one.span.shares) {
            filled(x + one.x, top, one.width, height * share.part, share.device,
                   one.width >= 5 && one.merged == 1 && one.span.shares.size() <= 4);
            top += height * share.part;
        }
        if (device != kNothing)  // text on hatching cannot be read
            text(x + one.x + 5, y + height / 2 + 4, "in", fitting(label, kSmall, one.width - 8));
        out_ += device >= 0 ? "</a>\n" : "</g>\n";
    }

    std::string merged_title(const Cell& one) const {
        std::string words = "sectors " + range_text(one.span.from, one.span.end - one.span.from) +
                            fmt::format("\n{} pieces, too thin to draw apart", one.span.pieces);
        for (const Share& share : one.span.shares)
            words +=
                fmt::format("\n{:.0f}% {}", share.part * 100,
                            share.device < 0 ? short_name(share.device) : printable(at(share.device).name));
        return words;
    }

    void axis(Sector sectors, double y) {
        if (sectors == 0) return;
        double scale = kBar / static_cast<double>(sectors);
        std::string last = size_text(bytes_of(sectors));
        double free_until = kMargin + kBar - text_width(last, kSmall) - 12;
        for (Sector tick : ticks_of(sectors, kTicks)) {
            double x = kMargin + static_cast<double>(tick) * scale;
            std::string words = tick == 0 ? "0" : size_text(bytes_of(tick));
            if (tick != 0 && x + text_width(words, kSmall) / 2 > free_until) continue;
            out_ += fmt::format("<path d=\"M{:.1f} {:.1f}v4\" class=\"tick\"/>", x, y);
            text(x, y + 15, "f s", words, tick == 0 ? "start" : "middle");
        }
        out_ += fmt::format("<path d=\"M{:.1f} {:.1f}v4\" class=\"tick\"/>", kMargin + kBar, y);
        text(kMargin + kBar, y + 15, "f s", last, "end");
    }

    void heading(const std::string& name, const std::string& facts, const std::string& right) {
        double right_width = std::min(text_width(right, kFont), kBar * 0.3);
        double facts_width = std::min(text_width(facts, kFont), kBar * 0.4);
        std::string shown = fitting(name, 15 * 1.06, kBar - right_width - facts_width - 40);
        text(kMargin, y_ + 15, "n", shown);
        text(kMargin + text_width(shown, 15 * 1.06) + 14, y_ + 15, "f", fitting(facts, kFont, facts_width));
        text(kMargin + kBar, y_ + 15, "f", fitting(right, kFont, right_width), "end");
        y_ += 24;
    }

    void volume(size_t index) {
        const GraphVolume& one = graph_.volumes[index];
        y_ += 18;
        out_ += fmt::format("<g id=\"v{}\">\n", index);
        std::string users;
        for (size_t user : one.users)
            users += (users.empty() ? "under " : ", ") + printable(graph_.volumes[user].name);
        heading(printable(one.name), facts_of(one), users);
        if (one.rows.empty()) {
            text(kMargin, y_ + 12, "f", "It has no table.");
            y_ += 20;
        } else {
            bar_of(one);
        }
        out_ += "</g>\n";
    }

    void bar_of(const GraphVolume& one) {
        size_t merged = 0;
        for (const Cell& row : cells_of(row_spans(one), one.sectors, kBar)) {
            out_ += "<g>";
            title(row.merged == 1
                      ? row.span.title
                      : fmt::format("{}\n{} rows, too thin to draw apart",
                                    range_text(row.span.from, row.span.end - row.span.from), row.merged));
            box(kMargin + row.x, y_, row.width, 16, row.merged == 1 && row.width >= 3 ? "row" : "row bare");
            std::string label =
                row.merged == 1 ? row_at(one, row.span.from).target : fmt::format("{} rows", row.merged);
            text(kMargin + row.x + 5, y_ + 12, "s", fitting(printable(label), kSmall, row.width - 8));
            out_ += "</g>\n";
        }
        y_ += 18;
        box(kMargin, y_, kBar, 34, "bar");
        for (const Cell& piece : cells_of(spans_of(graph_, one), one.sectors, kBar)) {
            bool plain = piece.span.shares.size() == 1;
            cell(piece, kMargin, y_, 34, plain ? short_name(piece.span.shares[0].device) : "");
            if (piece.merged > 1) merged += piece.span.pieces;
        }
        y_ += 34;
        axis(one.sectors, y_);
        y_ += 20;
        if (merged > 0)
            note(
                fmt::format("{} pieces are too thin to be drawn apart: cells that stand for several show the "
                            "shares of what they lie on.",
                            merged));
        enlarge(one);
    }

    const GraphRow& row_at(const GraphVolume& one, Sector sector) const {
        auto behind = std::upper_bound(one.rows.begin(), one.rows.end(), sector,
                                       [](Sector value, const GraphRow& row) { return value < row.start; });
        return *(behind == one.rows.begin() ? behind : behind - 1);
    }

    void note(const std::string& words) {
        text(kMargin, y_ + 12, "f s", fitting(words, kSmall, kBar));
        y_ += 18;
    }

    // The first pieces of the first row whose pieces are too fine to be seen, as through a lens.
    void enlarge(const GraphVolume& one) {
        double scale = kBar / static_cast<double>(one.sectors);
        for (const GraphRow& row : one.rows) {
            if (row.pieces.size() < 4 || static_cast<double>(row.pieces[0].count) * scale >= kTooFine)
                continue;
            GraphVolume part;
            part.rows.push_back(row);
            GraphRow& only = part.rows[0];
            only.pieces.resize(std::min(only.pieces.size(), kEnlarged));
            Sector end = only.pieces.back().at + only.pieces.back().count;
            only.known = only.length;
            std::vector<Span> spans = spans_of(graph_, part);
            for (Span& span : spans) span.from -= row.start, span.end -= row.start;
            double from = kMargin + static_cast<double>(row.start) * scale;
            double to = from + std::max(static_cast<double>(end) * scale, 1.0);
            out_ += fmt::format("<path class=\"lens\" d=\"M{:.1f} {:.1f}H{:.1f}L{:.1f} {:.1f}H{:.1f}Z\"/>\n",
                                from, y_, to, kMargin + kBar, y_ + 14, kMargin);
            y_ += 14;
            for (const Cell& piece : cells_of(spans, end, kBar)) {
                bool plain = piece.span.shares.size() == 1;
                cell(piece, kMargin, y_, 24, plain ? short_name(piece.span.shares[0].device) : "");
            }
            y_ += 24;
            note(fmt::format("Enlarged: the first {} of sectors {}, {}.",
                             counted(only.pieces.size(), "piece"), range_text(row.start, row.length),
                             printable(row.target)));
            return;
        }
    }

    void device(size_t index) {
        const GraphDevice& one = graph_.devices[index];
        y_ += 18;
        out_ += fmt::format("<g id=\"d{}\">\n", index);
        filled(kMargin, y_ + 3, 16, 14, static_cast<int>(index), true);
        std::string name = fitting(printable(one.name), 14, kBar * 0.62);
        text(kMargin + 24, y_ + 15, "", name);
        text(kMargin + kBar, y_ + 15, "f", fitting(facts_of(one), kFont, kBar * 0.35), "end");
        y_ += 24;
        Lanes lanes = uses_of(graph_, static_cast<int>(index), kMostLanes);
        double height = lanes.lanes.size() > 1 ? 18 : 24;
        size_t merged = 0;
        for (const std::vector<Use>& lane : lanes.lanes) {
            box(kMargin, y_, kBar, height, "bar");
            std::vector<Span> spans;
            for (const Use& use : lane) spans.push_back(use.span);
            size_t next = 0;
            for (const Cell& use : cells_of(spans, std::max(one.sectors, lane.back().span.end), kBar)) {
                cell(use, kMargin, y_, height,
                     use.merged == 1 ? printable(graph_.volumes[lane[next].volume].name) : "");
                if (use.merged > 1) merged += use.merged;
                next += use.merged;
            }
            y_ += height;
        }
        axis(one.sectors, y_);
        y_ += 20;
        if (lanes.lanes.size() > 1)
            note("Several rows use the same sectors: they are drawn below one another.");
        if (lanes.left_out > 0)
            note(fmt::format("{} more uses of the same sectors are not drawn.", lanes.left_out));
        if (merged > 0) note(fmt::format("{} areas are too thin to be drawn apart.", merged));
        out_ += "</g>\n";
    }

    void legend() {
        double x = kMargin;
        auto entry = [&](int device, const std::string& words) {
            std::string shown = fitting(words, kFont, kBar / 2);
            double width = 24 + text_width(shown, kFont) + 22;
            if (x + width > kMargin + kBar) x = kMargin, y_ += 22;
            if (device >= 0)
                out_ += fmt::format("<a href=\"#{}\" data-d=\"{}\">", target_of_link(device), device),
                    title(printable(at(device).name));
            filled(x, y_, 16, 14, device, true);
            text(x + 22, y_ + 12, "", shown);
            if (device >= 0) out_ += "</a>\n";
            x += width;
        };
        bool nothing = false;
        for (const GraphVolume& volume : graph_.volumes)
            for (const GraphRow& row : volume.rows)
                nothing |= row.areas.empty() ||
                           std::any_of(row.pieces.begin(), row.pieces.end(),
                                       [](const GraphPiece& piece) { return piece.device == kNothing; });
        for (size_t i = 0; i < std::min(graph_.devices.size(), kMostLegend); i++) {
            const GraphDevice& device = graph_.devices[i];
            entry(static_cast<int>(i),
                  short_name(static_cast<int>(i)) +
                      (device.kind == "file" ? "" : " (" + printable(device.kind) + ")"));
        }
        if (nothing) entry(kNothing, "nothing below: zeros, or errors");
        if (graph_.devices.size() > kMostLegend)
            text(x, y_ + 12, "f", fmt::format("and {} more", graph_.devices.size() - kMostLegend));
        y_ += 22;
    }

    void more(size_t all, size_t most, const std::string& words) {
        if (all <= most) return;
        y_ += 18;
        note(fmt::format("{} more {}.", all - most, words));
    }

    const Graph& graph_;
    double y_ = 0;
    std::string out_;
};

constexpr const char* kPage =
    "html{{color-scheme:light dark}}body{{margin:0;background:#fff;color:#1b1f24;font:14px/1.45 "
    "system-ui,'DejaVu "
    "Sans',sans-serif}}svg{{display:block;margin:0 auto;max-width:100%;height:auto}}"
    "#told{{position:fixed;left:0;right:0;bottom:0;margin:0;padding:8px "
    "24px;white-space:pre-line;background:#f6f8fa;"
    "border-top:1px solid #8c959f;min-height:3em;max-height:8em;overflow:auto}}#below{{height:9em}}"
    "@media "
    "(prefers-color-scheme:dark){{body{{background:#14181d;color:#e6edf3}}#told{{background:#22282f}}}}";

// Says below the picture what is pointed at or reached by the keyboard, and marks all that lies on the same.
constexpr const char* kScript =
    "const told=document.getElementById('told'),before=told.textContent;"
    "function show(e){const p=e.target.closest('a,g');document.querySelectorAll('.hot').forEach(n=>"
    "n.classList.remove('hot'));const "
    "t=p&&p.querySelector(':scope>title');told.textContent=t?t.textContent:before;"
    "const d=t&&p.dataset.d;if(d!==undefined&&d!==null)document.querySelectorAll('[data-d]').forEach(n=>"
    "{if(n.dataset.d===d)n.classList.add('hot')})}"
    "document.addEventListener('mouseover',show);document.addEventListener('focusin',show);";

}  // namespace

std::string graph_svg(const Graph& graph, const std::string& title) { return Picture(graph).draw(title); }

std::string graph_html(const Graph& graph, const std::string& title) {
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'; "
        "script-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}<div id=\"below\"></div>\n"
        "<p id=\"told\" role=\"status\">Point at a piece, or go to it with the tabulator "
        "key.</p>\n<script>{}</script>\n"
        "</body>\n</html>\n",
        xml("dmfs: " + title), fmt::format(fmt::runtime(kPage)), graph_svg(graph, title), kScript);
}

}  // namespace dmfs::cli
