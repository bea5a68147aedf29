#include "dm/concise.h"

#include <algorithm>

#include "base/hide.h"
#include "base/refused.h"
#include "base/words.h"
#include "dm/names.h"

namespace dmfs {

namespace {

bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    return text;
}

// A field, and where it stood.
struct Field {
    std::string text;  // unquoted
    size_t from = 0;
    size_t to = 0;
    char end = 0;  // what ended it: ',' ';' or 0 at the end of the text
};

class ConciseParser {
  public:
    ConciseParser(std::string_view text, const std::string& file, bool tables)
        : text_(text), file_(file), tables_(tables) {}

    std::vector<ConciseVolume> parse() {
        std::vector<ConciseVolume> volumes;
        while (true) {
            // Between volumes; within one, blanks are part of its fields, as in dmsetup.
            std::string_view next = text_.substr(at_, text_.substr(at_).find_first_of(";\n"));
            if (!trimmed(next).empty()) {
                volumes.push_back(volume());
                continue;
            }
            at_ += next.size();
            if (at_ == text_.size()) return volumes;
            at_++;
        }
    }

  private:
    ConciseVolume volume() {
        ConciseVolume volume;
        Field name = field(), uuid, minor, flags;
        if (name.end == ',') uuid = field();
        if (uuid.end == ',') minor = field();
        if (minor.end == ',') flags = field();
        if (minor.end != ',' || (tables_ && flags.end != ',')) {
            size_t known = name.end != ',' ? 1 : uuid.end != ',' ? 2 : minor.end != ',' ? 3 : 4;
            refuse(name, "a volume of " + std::to_string(known) + (known == 1 ? " field" : " fields"),
                   "name,uuid,minor,flags,table");
        }
        try {
            check_name(name.text);
            volume.name = name.text;
        } catch (const Refused& refused) {
            throw refused.at(place(name));
        }
        try {
            check_uuid(uuid.text);
            volume.uuid = uuid.text;
        } catch (const Refused& refused) {
            throw refused.at(place(uuid));
        }
        volume.minor = minor_of(minor);
        std::string_view mode = trimmed(flags.text);
        if (mode == "ro")
            volume.readonly = true;
        else if (!mode.empty() && mode != "rw")
            refuse(flags, "unknown flags '" + flags.text + "'", "ro, rw or nothing");
        for (char end = flags.end; end == ',';) {
            Field row = field();
            end = row.end;
            if (row.text.find_first_of(std::string_view("\n\0", 2)) != std::string::npos)
                refuse(row, "a table line with a newline or a NUL in it", {});
            if (trimmed(row.text).empty() && end == ',') continue;  // as dmsetup
            if (trimmed(row.text).empty())
                refuse(row, "an empty table line", "START LENGTH TARGET ARGUMENTS...");
            volume.table += std::string(trimmed(row.text)) + "\n";
        }
        return volume;
    }

    Field field() {
        Field field;
        while (at_ < text_.size() && text_[at_] == '\n') at_++;  // a comma at the end of a line
        field.from = field.to = at_;
        for (; at_ < text_.size(); at_++) {
            char c = text_[at_];
            if (c == ',' || c == ';' || c == '\n') {
                field.end = c == ',' ? ',' : ';';
                break;
            }
            bool quoted = c == '\\' && at_ + 1 < text_.size();
            if (quoted) c = text_[++at_];
            field.text += c;
            field.to = at_ + 1;
        }
        if (at_ < text_.size()) at_++;
        return field;
    }

    std::optional<uint32_t> minor_of(const Field& field) const {
        std::string_view text = trimmed(field.text);
        if (text.empty() || text == "-1") return std::nullopt;
        std::optional<uint64_t> minor = parse_decimal(text);
        if (!minor || *minor >= 1U << 20)
            refuse(field, "'" + field.text + "' is no minor number", "0 to 1048575");
        return static_cast<uint32_t>(*minor);
    }

    Place place(const Field& field) const {
        size_t from = std::min(field.from, text_.size());
        size_t start = from == 0 ? std::string_view::npos : text_.rfind('\n', from - 1);
        start = start == std::string_view::npos ? 0 : start + 1;
        std::string_view source = text_.substr(start, text_.substr(start).find('\n'));
        auto lines = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(start), '\n');
        size_t length = field.to > field.from ? field.to - field.from : 1;
        return Place{file_, static_cast<size_t>(lines) + 1, hide_digits(std::string(source)), from - start,
                     length};
    }

    [[noreturn]] void refuse(const Field& field, std::string reason, std::string remedy) const {
        throw Refused(EINVAL, hide_digits(std::move(reason)), std::move(remedy)).at(place(field));
    }

    std::string_view text_;
    const std::string& file_;
    const bool tables_;
    size_t at_ = 0;
};

std::string quote(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == ',' || c == ';' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

// A name may hold any byte: its newlines, and blanks that the parser would trim.
std::string quote_name(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
        bool outer = i == 0 || i + 1 == text.size();
        if (text[i] == '\n' || (outer && blank(text[i]))) out += '\\';
        out += quote(text.substr(i, 1));
    }
    return out;
}

}  // namespace

std::vector<ConciseVolume> parse_concise(std::string_view text, const std::string& file, bool tables) {
    return ConciseParser(text, file, tables).parse();
}

std::string format_concise(const ConciseVolume& volume) {
    std::string out = quote_name(volume.name) + "," + quote_name(volume.uuid) + ",";
    if (volume.minor) out += std::to_string(*volume.minor);
    out += volume.readonly ? ",ro" : ",rw";
    std::string_view rest = volume.table;
    while (!rest.empty()) {
        size_t end = std::min(rest.find('\n'), rest.size());
        out += "," + quote(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return out;
}

}  // namespace dmfs
