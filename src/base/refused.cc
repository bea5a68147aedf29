#include "base/refused.h"

#include <cstring>
#include <utility>

namespace dmfs {

Refused::Refused(int error, std::string reason, std::string remedy)
    : error_(error), reason_(std::move(reason)), remedy_(std::move(remedy)) {}

Refused Refused::of(std::string_view what) const {
    Refused named = *this;
    named.reason_ = std::string(what) + ": " + reason_;
    return named;
}

Refused Refused::at(Place place) const {
    Refused placed = *this;
    if (placed.place_.file.empty())
        placed.place_ = std::move(place);
    else if (placed.place_.source.empty())
        placed.place_.source = std::move(place.source);
    return placed;
}

namespace {

// A long line is shown around the word that is meant, within this many columns.
constexpr size_t kShown = 100;

// Control characters would move the marker away from its word, or the terminal
// into another mode; they are shown as blanks.
std::string printable(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return out;
}

}  // namespace

std::string Refused::detail() const {
    if (place_.file.empty()) return remedy_.empty() ? reason_ : reason_ + "\n  " + remedy_;
    std::string out = place_.file + ":" + std::to_string(place_.line) + ": " + reason_;
    if (place_.source.empty()) return remedy_.empty() ? out : out + "\n  " + remedy_;

    size_t from = 0;
    size_t column = place_.column < place_.source.size() ? place_.column : place_.source.size();
    if (place_.source.size() > kShown && column > kShown / 2) from = column - kShown / 2;
    std::string shown = printable(std::string_view(place_.source).substr(from, kShown));
    const char* before = from > 0 ? "..." : "";
    const char* after = from + kShown < place_.source.size() ? "..." : "";
    out += std::string("\n  ") + before + shown + after;
    if (place_.length == 0) return remedy_.empty() ? out : out + "\n  " + remedy_;

    size_t length = place_.length;
    if (column - from + length > kShown) length = kShown > column - from ? kShown - (column - from) : 1;
    out += "\n  " + std::string(strlen(before) + column - from, ' ') + "^" + std::string(length - 1, '~');
    if (!remedy_.empty()) out += " " + remedy_;
    return out;
}

std::string Refused::report(std::string_view what) const {
    return std::string(what) + " refused: " + strerror(error_) + "\n" + detail();
}

}  // namespace dmfs
