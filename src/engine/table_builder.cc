// From a text to a table: the rules of dm_table_add_target and dmsetup's parser.

#include <algorithm>
#include <cassert>
#include <cctype>
#include <limits>
#include <map>

#include "base/hide.h"
#include "base/words.h"
#include "engine/file_device.h"
#include "engine/table.h"

namespace dmfs {

namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The start of a row as dmsetup reads it, by sscanf's "%llu %llu %s": blanks between the three
// may be missing, a sign is taken, a number beyond 64 bits becomes the largest, and a # within
// the target's name begins no comment.
class RowScanner {
  public:
    explicit RowScanner(std::string_view line) : line_(line) {}

    // What stands here up to the next blank; of no length at the end.
    Word look() {
        while (at_ < line_.size() && is_blank(line_[at_])) at_++;
        Word word;
        word.column = at_;
        for (size_t end = at_; end < line_.size() && !is_blank(line_[end]); end++) word.text += line_[end];
        word.length = word.text.size();
        return word;
    }
    Word name() {
        Word word = look();
        at_ += word.length;
        return word;
    }
    bool number(uint64_t& value) {
        size_t at = at_;
        bool negative = at < line_.size() && line_[at] == '-';
        if (at < line_.size() && (line_[at] == '+' || line_[at] == '-')) at++;
        size_t digits = at;
        constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
        bool too_large = false;
        for (value = 0; at < line_.size() && line_[at] >= '0' && line_[at] <= '9'; at++) {
            auto digit = static_cast<uint64_t>(line_[at] - '0');
            too_large = too_large || value > (kMost - digit) / 10;
            value = value * 10 + digit;
        }
        if (at == digits) return false;
        value = too_large ? kMost : negative ? 0 - value : value;
        at_ = at;
        return true;
    }
    // The words after it, of which a # begins a comment.
    std::vector<Word> rest() const {
        std::vector<Word> words = split_words(without_comment(line_.substr(at_)));
        for (Word& word : words) word.column += at_;
        return words;
    }

  private:
    std::string_view line_;
    size_t at_ = 0;
};

constexpr size_t kMaxRows = 1 << 20;  // DM_MAX_TARGETS
constexpr size_t kTypeBytes = 16;     // DM_MAX_TYPE_NAME

}  // namespace

class TableBuilder {
  public:
    TableBuilder(std::string_view text, const TableSource& source)
        : source(source), table_(new Table), text_(text) {
        table_->writable_ = source.writable;
        table_->owner_ = source.owner;
    }

    std::shared_ptr<Table> build() {
        std::string_view rest = text_;
        place_.file = source.file;
        for (place_.line = source.first_line; !rest.empty(); place_.line++) {
            size_t end = std::min(rest.find('\n'), rest.size());
            line(rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        place_.line = 0;
        if (table_->rows_.empty() && source.partial) return nullptr;
        if (table_->rows_.empty())
            throw Refused(EINVAL, "the table has no rows",
                          "a row is START LENGTH TARGET ARGUMENTS, such as `0 2048 zero`");
        table_->settle_limits();
        for (const Table::Row& row : table_->rows_) check_alignment(row);
        return std::move(table_);
    }

    std::shared_ptr<Device> open(const std::string& word, bool writable) {
        std::shared_ptr<Device>& known = words_[{word, writable}];
        if (known) return known;
        std::shared_ptr<Device> device = source.devices.open_device(word, writable, source.folder);
        auto* file = dynamic_cast<FileDevice*>(device.get());
        if (file != nullptr && file->number()) file->hold();  // a block device: nobody else's
        known = std::move(device);
        std::vector<std::shared_ptr<Device>>& devices = table_->devices_;
        if (std::find(devices.begin(), devices.end(), known) == devices.end()) devices.push_back(known);
        return known;
    }

    void holds(Holder& holder) { table_->holders_.push_back(&holder); }

    Refused refuse(const Word& word, int error, std::string reason, std::string remedy) const {
        Place place = place_;
        place.column = word.column;
        place.length = std::max<size_t>(word.length, 1);
        return Refused(error, std::move(reason), std::move(remedy)).at(place);
    }

    const TableSource& source;

  private:
    void line(std::string_view line) {
        line_ = line;
        place_.source = hide_digits(std::string(line));  // until it is known that it has no key
        if (line.find('\0') != std::string_view::npos)
            throw Refused(EINVAL, "a NUL byte in the table", "a table is text").at(place_);
        RowScanner scanner(line);
        Word first = scanner.look();
        if (first.length == 0 || first.text[0] == '#') return;
        Sector start = row_number(scanner, "start");
        Word second = scanner.look();
        Sector length = row_number(scanner, "length");
        Word name = scanner.name();
        if (name.length == 0) throw short_row(second);
        if (table_->rows_.size() == kMaxRows)
            throw refuse(first, EOVERFLOW, "more than " + std::to_string(kMaxRows) + " rows", {});
        if (start != table_->size_)
            throw refuse(
                first, EINVAL,
                "the row begins at sector " + std::to_string(start) +
                    (start > table_->size_ ? ": a gap" : ": an overlap"),
                std::to_string(table_->size_) +
                    (table_->rows_.empty() ? ", where a table begins" : ", where the row before ends"));
        if (length == 0) throw refuse(second, EINVAL, "a row of no length", "at least 1 sector");
        if (length > kMaxSectors || start > kMaxSectors - length)
            throw refuse(second, EINVAL, "the row ends beyond 2^63 bytes",
                         "at most " + std::to_string(kMaxSectors - start) + " sectors here");
        const TargetType* type = name.text.size() < kTypeBytes ? source.registry.find(name.text) : nullptr;
        if (type == nullptr) {
            if (name.column < second.column + second.length)  // "1M": a number, and a target called M
                throw refuse(second, EINVAL,
                             "the row's length '" + hide_digits(second.text) + "' is no number of sectors",
                             "decimal digits, and a blank behind them");
            std::string known;
            for (const TargetType& each : source.registry.types)
                known += (known.empty() ? "" : ", ") + std::string(each.name);
            throw refuse(name, EINVAL, "no target '" + hide_digits(name.text) + "'", "one of " + known);
        }
        if (type->is_key == nullptr) place_.source = line;
        check_alone(*type, name);
        add(start, length, *type, scanner.rest());
    }

    void check_alone(const TargetType& type, const Word& word) const {
        if (table_->rows_.empty()) return;
        const TargetType& first = *table_->rows_.front().target_type;
        if (!type.traits.singleton && !first.traits.singleton) return;
        throw refuse(word, EINVAL,
                     std::string(first.traits.singleton ? first.name : type.name) +
                         " stands alone in a table, in one row",
                     "a volume of its own for it, which rows of others can map");
    }

    Refused short_row(const Word& last) const {
        return refuse(last, EINVAL, "a row without START, LENGTH and TARGET",
                      "START LENGTH TARGET ARGUMENTS");
    }

    Sector row_number(RowScanner& scanner, const char* what) const {
        Word word = scanner.look();
        if (word.length == 0) throw short_row(word);
        Sector value = 0;
        if (!scanner.number(value))
            throw refuse(word, EINVAL, std::string("the row's ") + what + " is no number of sectors",
                         "decimal digits");
        return value;
    }

    void add(Sector start, Sector length, const TargetType& type, std::vector<Word> words) {
        for (size_t i = 0; type.is_key != nullptr && i < words.size(); i++)
            if (type.is_key(i, words[i].text))
                place_.source = hide_part(std::move(place_.source), words[i].column, words[i].length);
        TargetSetup setup(*this, std::move(words), start, length);
        std::unique_ptr<Target> target;
        try {
            target = type.make(setup);
        } catch (const Refused& refused) {
            // A word that is no key where it stands may be one that was put there by mistake.
            auto shown = [&](std::string text) { return type.is_key ? hide_digits(std::move(text)) : text; };
            Refused named(refused.error(), std::string(type.name) + ": " + shown(refused.reason()),
                          shown(refused.remedy()));
            throw named.at(refused.place()).at(place_);
        }
        if (Lifecycle* lifecycle = target->lifecycle())
            table_->living_.push_back({lifecycle, table_->rows_.size()});
        Sector chunk = target->chunk();
        table_->rows_.push_back({start, length, chunk, std::string(type.name), &type, std::move(target)});
        lines_.push_back({place_.line, line_});
        table_->size_ = start + length;
        table_->ends_.push_back(table_->size_);
    }

    Place place_of(size_t row) const {
        Place place;
        place.file = place_.file;
        place.line = lines_[row].number;
        place.source = hide_digits(std::string(lines_[row].text));
        return place;
    }

    // validate_hardware_logical_block_alignment: rows may not cut a block in two.
    void check_alignment(const Table::Row& row) const {
        Sector block = table_->limits_.logical_block / kSectorBytes;
        if (row.start % block == 0 && row.length % block == 0) return;
        bool stands_alone = true;
        row.target->each_device([&](Device&, Sector, Sector) { stands_alone = false; });
        if (stands_alone && table_->rows_.size() == 1) return;
        throw Refused(EINVAL,
                      "the row [" + std::to_string(row.start) + ", " +
                          std::to_string(row.start + row.length) + ") cuts a block of " +
                          std::to_string(table_->limits_.logical_block) + " bytes in two",
                      "rows of whole blocks")
            .at(place_of(static_cast<size_t>(&row - table_->rows_.data())));
    }

    std::shared_ptr<Table> table_;
    std::map<std::pair<std::string, bool>, std::shared_ptr<Device>> words_;  // opened; writable or not
    std::string_view text_;
    Place place_;  // the line that is read now
    std::string_view line_;
    struct Line {
        size_t number;
        std::string_view text;
    };
    std::vector<Line> lines_;  // of the rows; there may be a million
};

std::shared_ptr<Table> Table::build(std::string_view text, const TableSource& source) {
    return TableBuilder(text, source).build();
}

// What targets ask for.

TargetSetup::TargetSetup(TableBuilder& builder, std::vector<Word> words, Sector row_start, Sector length)
    : builder_(builder),
      words_(std::move(words)),
      row_start_(row_start),
      length_(length),
      writable_(builder.source.writable),
      executor_(builder.source.executor),
      raise_event_(builder.source.raise_event) {}

Refused TargetSetup::refuse(size_t index, std::string reason, std::string remedy, int error) const {
    if (index >= words_.size()) return Refused(error, std::move(reason), std::move(remedy));
    return builder_.refuse(words_[index], error, std::move(reason), std::move(remedy));
}

Refused TargetSetup::refuse_part(size_t index, size_t from, size_t length, std::string reason,
                                 std::string remedy) const {
    Word part = words_[index];
    if (part.length == part.text.size()) {  // else it is quoted, and its bytes stand elsewhere
        part.column += from;
        part.length = length;
    }
    return builder_.refuse(part, EINVAL, std::move(reason), std::move(remedy));
}

void TargetSetup::need_words(size_t count, std::string_view usage) const {
    if (words() == count) return;
    throw refuse(count,
                 std::to_string(words()) + (words() == 1 ? " argument" : " arguments") + ", not " +
                     std::to_string(count),
                 std::string(usage));
}

void TargetSetup::need_at_least(size_t count, std::string_view usage) const {
    if (words() >= count) return;
    throw refuse(words(),
                 std::to_string(words()) + (words() == 1 ? " argument" : " arguments") + ", not at least " +
                     std::to_string(count),
                 std::string(usage));
}

uint64_t TargetSetup::number(size_t index, std::string_view what, uint64_t least, uint64_t most) const {
    std::optional<uint64_t> value = parse_decimal(word(index));
    std::string range = most == std::numeric_limits<uint64_t>::max()
                            ? "at least " + std::to_string(least)
                            : std::to_string(least) + " to " + std::to_string(most);
    if (!value) throw refuse(index, std::string(what) + " '" + word(index) + "' is no number", range);
    if (*value < least || *value > most)
        throw refuse(index, std::string(what) + " " + word(index) + " is out of range", range);
    return *value;
}

Sector TargetSetup::sector(size_t index, std::string_view what) const {
    std::optional<uint64_t> value = parse_decimal(word(index));
    if (!value)
        throw refuse(index, std::string(what) + " '" + word(index) + "' is no sector", "decimal digits");
    return *value;
}

std::shared_ptr<Device> TargetSetup::open(size_t index, bool writable) {
    try {
        return builder_.open(word(index), writable);
    } catch (const Refused& refused) {
        throw refuse(index, refused.reason(), refused.remedy(), refused.error());
    }
}

void TargetSetup::holds(Holder& holder) { builder_.holds(holder); }

Device& TargetSetup::device(size_t index, Sector start, Sector length, size_t start_index) {
    std::shared_ptr<Device> device = open(index, writable_);
    check_area(*device, start, length, start_index);
    return *device;  // which the table keeps
}

void TargetSetup::check_area(Device& device, Sector start, Sector length, size_t start_index) const {
    Sector size = device.size();
    std::string problem = area_problem(device, start, length);
    if (problem.empty()) return;
    if (start < size && length <= size - start)
        throw refuse(start_index, problem,
                     "multiples of " + std::to_string(sectors_in(device.limits().logical_block)) +
                         " sectors, here and as length");
    std::string remedy;
    if (size >= length) remedy = "a start of at most " + std::to_string(size - length);
    if (start < size)
        remedy += (remedy.empty() ? "" : ", or ") + ("at most " + std::to_string(size - start)) +
                  " sectors from here";
    throw refuse(start_index, problem, remedy);
}

std::string area_problem(Device& device, Sector start, Sector length) {
    Sector size = device.size();
    std::string area = "[" + std::to_string(start) + ", " + std::to_string(start + length) + ")";
    if (length > kMaxSectors || start > kMaxSectors - length) return area + " ends beyond 2^63 bytes";
    bool may_grow = size == 0 && device.number();  // the kernel's rule; a file has none
    if (!may_grow && (start >= size || length > size - start))
        return device.name() + " ends at sector " + std::to_string(size) + ", before the end of " + area;
    Sector block = device.limits().logical_block / kSectorBytes;
    if (start % block != 0 || length % block != 0)
        return area + " does not lie on whole blocks of " + std::to_string(block * kSectorBytes) +
               " bytes of " + device.name();
    return {};
}

const TargetType* TargetRegistry::find(std::string_view name) const {
    auto found =
        std::find_if(types.begin(), types.end(), [&](const TargetType& type) { return type.name == name; });
    return found == types.end() ? nullptr : &*found;
}

}  // namespace dmfs
