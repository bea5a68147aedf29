// The messages that speak to a volume's statistics, word by word.

#include <strings.h>

#include "dm/statistics.h"

namespace dmfs {

namespace {

// A message, taken word by word; refuses with the place.
class Message {
  public:
    Message(const std::vector<Word>& words, const std::string& line) : words_(words), line_(line) {}

    size_t left() const { return words_.size() - at_; }
    const std::string& next() { return words_[at_++].text; }
    const std::string& look() const { return words_[at_].text; }

    [[noreturn]] void refuse(size_t index, const std::string& reason, const std::string& remedy) const {
        Place place{"message", 1, line_, line_.size(), 1};
        if (index < words_.size()) {
            place.column = words_[index].column;
            place.length = words_[index].length;
        }
        throw Refused(EINVAL, reason, remedy).at(place);
    }
    [[noreturn]] void refuse_last(const std::string& reason, const std::string& remedy) const {
        refuse(at_ - 1, reason, remedy);
    }

    void need(bool right, const char* usage) const {
        if (!right) refuse(words_.size(), "the wrong number of words", usage);
    }

    uint64_t number(const char* what, uint64_t most) {
        std::optional<uint64_t> value = parse_decimal(next());
        if (!value || *value > most) refuse_last(std::string("no ") + what, "a decimal number");
        return *value;
    }
    uint64_t id() { return number("region", INT32_MAX); }
    // "-" means all.
    uint64_t number_or(const char* what, uint64_t standing_for_all) {
        if (look() != "-") return number(what, UINT64_MAX);
        next();
        return standing_for_all;
    }

  private:
    const std::vector<Word>& words_;
    const std::string& line_;
    size_t at_ = 1;
};

Statistics* existing(const Volume& volume) {
    for (const std::shared_ptr<Watcher>& watcher : *volume.watchers())
        if (auto* statistics = dynamic_cast<Statistics*>(watcher.get())) return statistics;
    return nullptr;
}

// Made with the first region, and kept: a volume that had one may well get another.
Statistics& statistics_of(Volume& volume) {
    static std::mutex making;
    std::lock_guard guard(making);
    if (Statistics* found = existing(volume)) return *found;
    auto made = std::make_shared<Statistics>(volume.executor());
    volume.watch(made);
    return *made;
}

Statistics& with_regions(Volume& volume, uint64_t id) {
    if (Statistics* found = existing(volume)) return *found;
    throw Refused(ENOENT, "there is no region " + std::to_string(id), "@stats_create makes one");
}

void read_range(Message& message, const Volume& volume, Statistics::Region& region) {
    const std::string& word = message.next();
    if (word == "-") {
        region.end = std::max<Sector>(volume.size(), 1);
        return;
    }
    size_t plus = word.find('+');
    std::optional<uint64_t> start = parse_decimal(std::string_view(word).substr(0, plus));
    std::optional<uint64_t> length;
    if (plus != std::string::npos) length = parse_decimal(std::string_view(word).substr(plus + 1));
    if (!start || !length || *length == 0 || *start + *length < *start)
        message.refuse_last("no range of sectors", "START+LENGTH, or - for the whole volume");
    region.start = *start;
    region.end = *start + *length;
}

void read_step(Message& message, Statistics::Region& region) {
    const std::string& word = message.next();
    bool areas = word.starts_with('/');
    std::optional<uint64_t> number = parse_decimal(std::string_view(word).substr(areas ? 1 : 0));
    if (!number || *number == 0 || (areas && *number > UINT32_MAX))
        message.refuse_last("no step", "the sectors of an area, or /N for N areas");
    region.step = *number;
    if (areas) {
        Sector length = region.end - region.start;
        region.step = length / *number + (length % *number != 0 ? 1 : 0);
    }
}

void read_histogram(Message& message, std::string_view text, Statistics::Region& region) {
    const char* remedy = "histogram:N1,N2,... of rising numbers";
    if (!region.boundaries.empty()) message.refuse_last("a second histogram", "one is enough");
    while (true) {
        size_t comma = text.find(',');
        std::optional<uint64_t> bound = parse_decimal(text.substr(0, comma));
        uint64_t last = region.boundaries.empty() ? 0 : region.boundaries.back();
        if (!bound) message.refuse_last("a bound that is no number", remedy);
        if (*bound <= last) message.refuse_last("the bounds of the histogram do not rise", remedy);
        region.boundaries.push_back(*bound);
        if (comma == std::string_view::npos) return;
        text.remove_prefix(comma + 1);
    }
}

// How many options follow, and they. A word that is no number is the program's name.
void read_options(Message& message, Statistics::Region& region) {
    std::optional<uint64_t> count = message.left() > 0 ? parse_decimal(message.look()) : std::nullopt;
    if (!count) return;
    message.next();
    for (; *count > 0; --*count) {
        message.need(message.left() > 0, "as many options as were announced");
        std::string_view option = message.next();
        constexpr std::string_view histogram = "histogram:";
        if (strcasecmp(option.data(), "precise_timestamps") == 0)
            region.precise = true;
        else if (strncasecmp(option.data(), histogram.data(), histogram.size()) == 0)
            read_histogram(message, option.substr(histogram.size()), region);
        else
            message.refuse_last("unknown option", "precise_timestamps or histogram:N1,N2,...");
    }
}

std::string create(Message& message, Volume& volume) {
    const char* usage = "@stats_create RANGE STEP [COUNT precise_timestamps histogram:...] [PROGRAM [AUX]]";
    message.need(message.left() >= 2, usage);
    Statistics::Region region;
    read_range(message, volume, region);
    read_step(message, region);
    read_options(message, region);
    if (message.left() > 0) region.program = message.next();
    if (message.left() > 0) region.aux = message.next();
    message.need(message.left() == 0, usage);
    return std::to_string(statistics_of(volume).create(std::move(region)));
}

std::string print(Message& message, Volume& volume, bool clear) {
    message.need(message.left() == 1 || message.left() == 3, "ID, or ID FIRST COUNT");
    uint64_t id = message.id(), first = 0, count = UINT64_MAX;
    if (message.left() > 0) {
        first = message.number_or("first area", 0);
        count = message.number_or("number of areas", UINT64_MAX);
    }
    return with_regions(volume, id).print(id, first, count, clear);
}

}  // namespace

std::optional<std::string> statistics_message(Volume& volume, const std::vector<Word>& words,
                                              const std::string& line) {
    Message message(words, line);
    auto is = [&](const char* name) { return strcasecmp(words[0].text.c_str(), name) == 0; };
    if (is("@stats_create")) return create(message, volume);
    if (is("@stats_print")) return print(message, volume, false);
    if (is("@stats_print_clear")) return print(message, volume, true);
    if (is("@stats_list")) {
        message.need(message.left() <= 1, "@stats_list [PROGRAM]");
        const std::string* program = message.left() > 0 ? &message.next() : nullptr;
        const Statistics* found = existing(volume);
        return found != nullptr ? found->list(program) : std::string();
    }
    if (is("@stats_delete") || is("@stats_clear")) {
        message.need(message.left() == 1, "the number of a region");
        uint64_t id = message.id();
        if (is("@stats_delete"))
            with_regions(volume, id).remove(id);
        else
            with_regions(volume, id).clear(id);
        return std::string();
    }
    if (is("@stats_set_aux")) {
        message.need(message.left() == 2, "@stats_set_aux ID AUX");
        uint64_t id = message.id();
        with_regions(volume, id).set_aux(id, message.next());
        return std::string();
    }
    return {};
}

}  // namespace dmfs
