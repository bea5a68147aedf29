// switch: regions of one size, each of which goes to one of several paths; a message
// sends regions another way.
//
//     switch PATHS REGION 0 (DEVICE START){PATHS}
//
//     region of the row    0   1   2   3   4   5          PATHS = 3
//     path, at first       0   1   2   0   1   2
//     after `set_region_mappings 1:2 :2`
//                          0   2   2   0   1   2
//
// Sector s is in region s / REGION; it lies at START + s of that region's path, so on
// every path at the same place: the paths are meant to be ways to one storage. Where
// they are not, a region whose path changes shows what the other device has there.
//
// As in the kernel, a flush goes nowhere, and a discard of any length down the path of
// its first sector. Nothing is stored: a new table begins anew. What a crash leaves is
// what it leaves of the devices.

#include <strings.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cstdio>
#include <limits>
#include <new>
#include <optional>

#include "parts/pieces.h"
#include "parts/plus.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr uint64_t kMostPaths = 262141;  // what the kernel's kmalloc can hold

// The path of each region, in as few bits as the paths need; no entry is cut by the end
// of a word, so each is read, and changed by one writer, at once.
class RegionTable {
  public:
    // The path of region r is r mod paths. Throws std::bad_alloc.
    RegionTable(uint64_t regions, uint64_t paths) : size_(regions) {
        while (uint64_t{1} << bits_ < paths) bits_++;
        per_word_ = 64 / bits_;
        uint64_t words = regions / per_word_ + 1;
        // The kernel's vmalloc has no more than there is; here nothing else would say so.
        auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
        if (words / static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE)) > pages / (2 * sizeof(uint64_t)))
            throw std::bad_alloc();
        words_ = std::make_unique<std::atomic<uint64_t>[]>(words);
        uint64_t path = 0;
        for (uint64_t region = 0; region < regions; region++) {
            set(region, path);
            if (++path == paths) path = 0;
        }
    }

    uint64_t size() const { return size_; }
    uint64_t operator[](uint64_t region) const {
        uint64_t word = words_[region / per_word_].load(std::memory_order_relaxed);
        return word >> shift(region) & mask();
    }
    void set(uint64_t region, uint64_t path) {
        std::atomic<uint64_t>& word = words_[region / per_word_];
        uint64_t others = word.load(std::memory_order_relaxed) & ~(mask() << shift(region));
        word.store(others | path << shift(region), std::memory_order_relaxed);
    }

  private:
    unsigned shift(uint64_t region) const { return static_cast<unsigned>(region % per_word_) * bits_; }
    uint64_t mask() const { return (uint64_t{1} << bits_) - 1; }

    uint64_t size_;
    unsigned bits_ = 1, per_word_ = 64;
    std::unique_ptr<std::atomic<uint64_t>[]> words_;
};

// Reads hexadecimal digits from `at` on, as many as there are; false beyond 64 bits.
bool scan_hex(const std::string& text, size_t& at, uint64_t& value) {
    value = 0;
    for (; at < text.size() && isxdigit(static_cast<unsigned char>(text[at])); at++) {
        if (value >> 60 != 0) return false;
        char digit = text[at];
        value = value << 4 | static_cast<uint64_t>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return true;
}

std::string hex(uint64_t value) {
    char text[17];
    snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
    return text;
}

class Switch final : public Target {
  public:
    explicit Switch(TargetSetup& setup) : executor_(setup.executor()), length_(setup.length()) {
        constexpr std::string_view usage = "switch PATHS REGION 0, then DEVICE START for each path";
        setup.need_at_least(3, usage);
        uint64_t paths = setup.number(0, "the number of paths", 1, kMostPaths);
        region_sectors_ = setup.number(1, "region size", 1, std::numeric_limits<uint32_t>::max());
        setup.number(2, "the number of optional arguments", 0, 0);
        if (setup.words() != 3 + 2 * paths)
            throw setup.refuse(3 + 2 * paths,
                               std::to_string(paths) + (paths == 1 ? " path wants " : " paths want ") +
                                   std::to_string(3 + 2 * paths) + " arguments, not " +
                                   std::to_string(setup.words()),
                               std::string(usage));
        for (size_t i = 0; i < paths; i++) {
            size_t at = 3 + 2 * i;
            Sector start = plus_number(setup, at + 1, "start", 0, std::numeric_limits<Sector>::max());
            paths_.push_back({&setup.device(at, start, length_, at + 1), start});
        }
        try {
            regions_.emplace((length_ + region_sectors_ - 1) / region_sectors_, paths);
        } catch (const std::bad_alloc&) {
            throw setup.refuse(1, "so many regions do not fit the memory", "a larger region", ENOMEM);
        }
    }

    Task<Status> io(Bio bio) override {
        // Zeros are written, as the kernel writes them: each region on its path.
        if (bio.op == Op::write_zeroes && bio.count > region_sectors_ - bio.sector % region_sectors_)
            return in_pieces(this, &Switch::io, bio, region_sectors_, &executor_);
        const Path& path = path_of(bio.sector);
        bio.sector += path.start;
        return path.device->io(bio);
    }

    Sector chunk() const override { return region_sectors_; }
    Flushing flushing() const override { return Flushing::none; }
    void adjust(Limits& limits) const override { limits.write_zeroes = false; }

    std::string status(StatusKind kind) const override {
        if (kind != StatusKind::table) return {};
        std::string text = std::to_string(paths_.size()) + " " + std::to_string(region_sectors_) + " 0";
        for (const Path& path : paths_)
            text += " " + quote_word(path.device->name()) + " " + std::to_string(path.start);
        return text;
    }

    // One message at a time: Volume::message() sees to that. Requests go on meanwhile.
    std::string message(const std::vector<Word>& words) override {
        if (strcasecmp(words[0].text.c_str(), "set_region_mappings") != 0)
            throw refuse(words[0], "switch: unknown message '" + words[0].text + "'", "set_region_mappings");
        uint64_t region = 0;
        for (size_t i = 1; i < words.size(); i++)
            if ((words[i].text[0] | 0x20) == 'r')
                repeat(words[i], region);
            else
                map(words[i], region);
        return {};
    }

    Extent extent(Sector at, Look& look) override {
        const Path& path = path_of(at);
        Extent below = path.device->extent(path.start + at, look);
        return {below.data, std::min(below.end - path.start, end_of_region(at))};
    }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override {
        if (op == Op::flush) return visit(Step{op, 0, 0, nullptr, 0, "goes nowhere"});
        for (Sector end = at + count; at < end;) {
            Sector piece = op == Op::discard ? end - at : std::min(end, end_of_region(at)) - at;
            uint64_t region = at / region_sectors_;
            const Path& path = path_of(at);
            visit(
                Step{op, at, piece, path.device, path.start + at,
                     "region " + std::to_string(region) + " -> path " + std::to_string((*regions_)[region])});
            at += piece;
        }
    }

    void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const override {
        // Region by region, once for all paths, where one of them can show it.
        Sector from = length_, end = 0;
        for (const Path& path : paths_) {
            if (path.device != &device || start + count <= path.start) continue;
            from = std::min(from, start > path.start ? start - path.start : 0);
            end = std::max(end, std::min(start + count - path.start, length_));
        }
        for (Sector region = from / region_sectors_ * region_sectors_; region < end;
             region += region_sectors_) {
            const Path& path = path_of(region);
            if (path.device != &device || start + count <= path.start) continue;
            Sector first = std::max(region, start > path.start ? start - path.start : 0);
            Sector behind = std::min(end_of_region(region), start + count - path.start);
            if (first < behind) visit(Run{first, behind - first, path.start + first});
        }
    }

    void each_device(const DeviceVisitor& visit) const override {
        for (const Path& path : paths_) visit(*path.device, path.start, length_);
    }

  private:
    struct Path {
        Device* device;
        Sector start;
    };

    const Path& path_of(Sector sector) const { return paths_[(*regions_)[sector / region_sectors_]]; }
    Sector end_of_region(Sector sector) const {
        return std::min(length_, (sector / region_sectors_ + 1) * region_sectors_);
    }

    // REGION:PATH, or :PATH for the region after the last.
    void map(const Word& word, uint64_t& region) {
        size_t at = 0;
        uint64_t path = 0;
        if (word.text[0] == ':')
            region++;
        else if (!scan_hex(word.text, at, region) || at == word.text.size() || word.text[at] != ':')
            throw malformed(word);
        if (++at == word.text.size() || !scan_hex(word.text, at, path) || at != word.text.size())
            throw malformed(word);
        if (region >= regions_->size())
            throw refuse(word, "switch: there is no region " + hex(region), "0 to " + last_region());
        if (path >= paths_.size())
            throw refuse(word, "switch: there is no path " + hex(path), "0 to " + hex(paths_.size() - 1));
        regions_->set(region, path);
    }

    // Rn,m: the paths of the last n regions again and again, for m more.
    void repeat(const Word& word, uint64_t& region) {
        size_t at = 1;
        uint64_t cycle = 0, count = 0;
        if (!scan_hex(word.text, at, cycle) || at == 1 || at == word.text.size() || word.text[at] != ',')
            throw malformed(word);
        if (++at == word.text.size() || !scan_hex(word.text, at, count) || at != word.text.size())
            throw malformed(word);
        if (cycle == 0 || cycle - 1 > region)
            throw refuse(word, "switch: there are no " + hex(cycle) + " regions up to region " + hex(region),
                         "1 to " + hex(region + 1) + " to repeat");
        if (count >= regions_->size() - region)
            throw refuse(word,
                         "switch: " + hex(count) + " more regions behind region " + hex(region) +
                             " are more than there are",
                         "the last is " + last_region());
        for (; count > 0; count--) {
            region++;
            regions_->set(region, (*regions_)[region - cycle]);
        }
    }

    std::string last_region() const { return hex(regions_->size() - 1) + " (hexadecimal)"; }
    static Refused malformed(const Word& word) {
        return refuse(word, "switch: '" + word.text + "' maps no region",
                      "REGION:PATH, :PATH or RLAST,TIMES in hexadecimal digits");
    }

    Executor& executor_;
    Sector length_;
    Sector region_sectors_;
    std::vector<Path> paths_;
    std::optional<RegionTable> regions_;
};

}  // namespace

std::unique_ptr<Target> make_switch(TargetSetup& setup) { return std::make_unique<Switch>(setup); }

}  // namespace dmfs
