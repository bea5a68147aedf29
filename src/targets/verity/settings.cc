#include "targets/verity/settings.h"

#include <bit>
#include <limits>
#include <optional>
#include <stdexcept>

#include "parts/feature_words.h"
#include "targets/verity/reed_solomon.h"

namespace dmfs::verity {

namespace {

constexpr size_t kPositional = 10;
constexpr uint64_t kMostFeatureWords = 15;
constexpr size_t kMostDataBlock = 4096;       // a page of the kernel
constexpr size_t kMostHashBlock = 1 << 20;    // of ours: it is read and kept as a whole
constexpr uint64_t kMostChecked = INT32_MAX;  // blocks, for check_at_most_once
constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr unsigned kLeastRoots = 2;

int nibble(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

std::string hex(const std::vector<std::byte>& bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (std::byte byte : bytes) {
        text += kDigits[static_cast<unsigned>(byte) >> 4];
        text += kDigits[static_cast<unsigned>(byte) & 15];
    }
    return text;
}

class Reader {
  public:
    explicit Reader(TargetSetup& setup) : setup_(setup) {}

    Settings read() {
        if (setup_.writable())
            throw setup_.refuse(setup_.words(), "the table is writable, and verity only reads",
                                "a read-only table (create --readonly, load --readonly)");
        setup_.need_at_least(kPositional,
                             "verity VERSION DATA HASH DATA_BLOCK HASH_BLOCK BLOCKS HASH_START ALGORITHM "
                             "DIGEST SALT");
        devices();
        sizes();
        digests();
        features();
        check_room();
        if (settings_.fec) check_fec();
        return settings_;
    }

  private:
    void devices() {
        settings_.shape.version = static_cast<unsigned>(setup_.number(0, "version", 0, 1));
        settings_.data = &setup_.device(1, 0, 0, 1);
        settings_.hash = &setup_.device(2, 0, 0, 2);
    }

    size_t block(size_t index, const char* what, const Device& device, size_t most) {
        size_t least = device.limits().logical_block;
        size_t bytes = setup_.number(index, what, 1, kMost);
        if (std::has_single_bit(bytes) && bytes >= least && bytes <= most) return bytes;
        throw setup_.refuse(
            index, std::string(what) + " " + setup_.word(index) + " is no size of blocks of " + device.name(),
            "a power of two from " + std::to_string(least) + " to " + std::to_string(most));
    }

    void sizes() {
        Tree::Shape& shape = settings_.shape;
        settings_.data_block = block(3, "data block", *settings_.data, kMostDataBlock);
        shape.hash_block = block(4, "hash block", *settings_.hash, kMostHashBlock);
        shape.data_blocks =
            setup_.number(5, "number of data blocks", 0, kMost / sectors_in(settings_.data_block));
        shape.hash_start = setup_.number(6, "hash start", 0, kMost / sectors_in(shape.hash_block));
        if (setup_.length() > shape.data_blocks * sectors_in(settings_.data_block))
            throw setup_.refuse(
                5,
                "the row's " + std::to_string(setup_.length()) + " sectors are more than " + setup_.word(5) +
                    " data blocks",
                "at least " + std::to_string((setup_.length() - 1) / sectors_in(settings_.data_block) + 1));
        std::string problem = area_problem(*settings_.data, 0, setup_.length());
        if (!problem.empty()) throw setup_.refuse(1, problem, "a row that fits the data");
    }

    std::vector<std::byte> hex_bytes(size_t index, const char* what) {
        const std::string& word = setup_.word(index);
        std::vector<std::byte> bytes;
        for (size_t at = 0; at < word.size(); at++)
            if (nibble(word[at]) < 0)
                throw setup_.refuse_part(index, at, 1,
                                         std::string(what) +
                                             " has a character that is no "
                                             "hexadecimal digit",
                                         "0 to 9 and a to f");
        if (word.size() % 2 != 0)
            throw setup_.refuse(index, std::string(what) + " has an odd number of digits",
                                "two for each byte");
        for (size_t at = 0; at < word.size(); at += 2)
            bytes.push_back(static_cast<std::byte>(nibble(word[at]) << 4 | nibble(word[at + 1])));
        return bytes;
    }

    void digests() {
        settings_.algorithm = find_hash(setup_.word(7));
        if (settings_.algorithm == nullptr) {
            std::string known;
            for (const HashType& type : hash_types())
                known += (known.empty() ? "" : ", ") + std::string(type.name);
            throw setup_.refuse(7, "no hash '" + setup_.word(7) + "'", "one of " + known, ENOENT);
        }
        size_t bytes = settings_.shape.digest_bytes = settings_.algorithm->digest_bytes;
        settings_.root_digest = hex_bytes(8, "the root digest");
        if (settings_.root_digest.size() != bytes)
            throw setup_.refuse(8,
                                "the root digest has " + std::to_string(setup_.word(8).size()) +
                                    " digits, and one of " + setup_.word(7) + " has " +
                                    std::to_string(bytes * 2),
                                "what veritysetup printed as \"Root hash\"");
        if (setup_.word(9) != "-") settings_.salt = hex_bytes(9, "the salt");
    }

    // The features: the words after their number. What follows them is passed over, as
    // the kernel does.
    void features() {
        words_.emplace(setup_, kPositional, "feature words", kMostFeatureWords);
        while (words_->next()) feature();
    }

    void feature() {
        if (words_->is("ignore_corruption")) return mode(settings_.on_corruption, Mode::ignore);
        if (words_->is("restart_on_corruption")) return mode(settings_.on_corruption, Mode::restart);
        if (words_->is("panic_on_corruption")) return mode(settings_.on_corruption, Mode::panic);
        if (words_->is("restart_on_error")) return mode(settings_.on_error, Mode::restart);
        if (words_->is("panic_on_error")) return mode(settings_.on_error, Mode::panic);
        if (words_->is("ignore_zero_blocks")) return set(settings_.ignore_zero_blocks);
        if (words_->is("check_at_most_once")) return check_at_most_once();
        if (words_->is("try_verify_in_tasklet")) return set(settings_.try_verify_in_tasklet);
        if (words_->is("use_fec_from_device")) return fec_device();
        if (words_->is("fec_blocks")) return fec_number(fec_.blocks, 0, most_blocks());
        if (words_->is("fec_start")) return fec_number(fec_.start, 0, most_blocks());
        if (words_->is("fec_roots")) return fec_roots();
        if (words_->is("root_hash_sig_key_desc"))
            throw setup_.refuse(value(),
                                "signatures are checked with keys of the kernel, which dmfs cannot use",
                                "a root digest that is trusted, without root_hash_sig_key_desc", ENOKEY);
        throw words_->unknown(
            "ignore_corruption, restart_on_corruption, panic_on_corruption, "
            "restart_on_error, panic_on_error, ignore_zero_blocks, check_at_most_once, "
            "try_verify_in_tasklet, use_fec_from_device, fec_blocks, fec_start, fec_roots");
    }

    void set(bool& feature) { feature = true; }

    void mode(Mode& mode, Mode wanted) {
        if (mode != Mode::fail)
            throw words_->refuse("a second word says what to do then", "one of those words");
        mode = wanted;
    }

    void check_at_most_once() {
        if (settings_.shape.data_blocks > kMostChecked)
            throw setup_.refuse(words_->index(), "there are too many data blocks to remember each",
                                "at most " + std::to_string(kMostChecked), E2BIG);
        settings_.check_at_most_once = true;
    }

    size_t value() { return words_->argument("it counts as two feature words"); }

    void fec_device() {
        size_t index = value();
        if (fec_.device != nullptr) throw words_->refuse("a second device for the parity", "one");
        fec_.device = &setup_.device(index, 0, 0, index);
        fec_device_at_ = index;
    }

    uint64_t most_blocks() const { return kMost / sectors_in(settings_.data_block); }

    void fec_number(uint64_t& number, uint64_t least, uint64_t most) {
        const std::string& name = words_->name();
        size_t index = value();
        number = setup_.number(index, name, least, most);
        if (&number == &fec_.blocks) fec_blocks_at_ = index;
    }

    void fec_roots() {
        fec_.roots = static_cast<unsigned>(words_->number("fec_roots", kLeastRoots, kMostRoots));
    }

    static uint64_t blocks_of(const Device& device, size_t bytes) {
        return device.size() / sectors_in(bytes);
    }

    void check_room() {
        const Tree::Shape& shape = settings_.shape;
        try {
            tree_end_ = Tree(shape).end();
        } catch (const std::overflow_error& error) {
            throw setup_.refuse(6, error.what(), "a smaller hash start", E2BIG);
        }
        if (fec_.device != nullptr) settings_.fec = fec_;
        uint64_t there = blocks_of(*settings_.hash, shape.hash_block);
        if (tree_end_ <= there) return;
        throw setup_.refuse(2,
                            settings_.hash->name() + " has " + std::to_string(there) +
                                " hash blocks, and the tree ends behind block " +
                                std::to_string(tree_end_ - 1),
                            "the whole of what veritysetup wrote", E2BIG);
    }

    void check_fec() {
        const Tree::Shape& shape = settings_.shape;
        if (settings_.data_block != shape.hash_block)
            throw setup_.refuse(4, "the parity wants hash blocks as large as the data blocks",
                                std::to_string(settings_.data_block));
        if (fec_.roots == 0) throw setup_.refuse(fec_device_at_, "fec_roots is missing", "fec_roots 2 to 24");
        if (fec_.blocks == 0)
            throw setup_.refuse(fec_device_at_, "fec_blocks is missing", least_fec_blocks());
        uint64_t tree_blocks = tree_end_ - shape.hash_start;
        if (fec_.blocks < shape.data_blocks || fec_.blocks - shape.data_blocks < tree_blocks)
            throw setup_.refuse(fec_blocks_at_, "the parity does not cover all data and hash blocks",
                                least_fec_blocks());
        uint64_t there = blocks_of(*settings_.hash, shape.hash_block);
        if (fec_.blocks - shape.data_blocks > there - shape.hash_start)
            throw setup_.refuse(fec_blocks_at_, settings_.hash->name() + " has not so many blocks",
                                "at most " + std::to_string(shape.data_blocks + there - shape.hash_start),
                                E2BIG);
        uint64_t rounds = (fec_.blocks - 1) / (kCodewordBytes - fec_.roots) + 1;
        uint64_t parity = blocks_of(*fec_.device, settings_.data_block);
        if (fec_.start > parity || rounds > (parity - fec_.start) / fec_.roots)
            throw setup_.refuse(fec_device_at_,
                                fec_.device->name() + " is too small for " + std::to_string(rounds) + " x " +
                                    std::to_string(fec_.roots) + " blocks of parity",
                                "the whole of what veritysetup wrote", E2BIG);
        if (blocks_of(*settings_.data, settings_.data_block) < shape.data_blocks)
            throw setup_.refuse(1,
                                settings_.data->name() + " has not all data blocks, which the parity needs",
                                "the whole data", E2BIG);
    }

    std::string least_fec_blocks() const {
        const Tree::Shape& shape = settings_.shape;
        return "fec_blocks " + std::to_string(shape.data_blocks + tree_end_ - shape.hash_start) + " or more";
    }

    TargetSetup& setup_;
    Settings settings_;
    FecSettings fec_;
    uint64_t tree_end_ = 0;
    std::optional<FeatureWords> words_;
    size_t fec_device_at_ = 0, fec_blocks_at_ = 0;
};

const char* word_of(Mode mode, const char* ignore, const char* restart, const char* panic) {
    return mode == Mode::ignore ? ignore : mode == Mode::restart ? restart : panic;
}

}  // namespace

Settings read_settings(TargetSetup& setup) { return Reader(setup).read(); }

std::string Settings::words() const {
    std::string text = std::to_string(shape.version) + " " + quote_word(data->name()) + " " +
                       quote_word(hash->name()) + " " + std::to_string(data_block) + " " +
                       std::to_string(shape.hash_block) + " " + std::to_string(shape.data_blocks) + " " +
                       std::to_string(shape.hash_start) + " " + std::string(algorithm->name) + " " +
                       hex(root_digest) + " " + (salt.empty() ? "-" : hex(salt));
    unsigned count = 0;
    std::string features;
    auto add = [&](const std::string& words, unsigned words_count) {
        features += " " + words;
        count += words_count;
    };
    if (on_corruption != Mode::fail)
        add(word_of(on_corruption, "ignore_corruption", "restart_on_corruption", "panic_on_corruption"), 1);
    if (on_error != Mode::fail) add(word_of(on_error, "", "restart_on_error", "panic_on_error"), 1);
    if (ignore_zero_blocks) add("ignore_zero_blocks", 1);
    if (check_at_most_once) add("check_at_most_once", 1);
    if (try_verify_in_tasklet) add("try_verify_in_tasklet", 1);
    if (fec)
        add("use_fec_from_device " + quote_word(fec->device->name()) + " fec_blocks " +
                std::to_string(fec->blocks) + " fec_start " + std::to_string(fec->start) + " fec_roots " +
                std::to_string(fec->roots),
            8);
    return count == 0 ? text : text + " " + std::to_string(count) + features;
}

std::string Settings::measured(bool damaged) const {
    std::string text = std::string("hash_failed=") + (damaged ? "C" : "V") +
                       ",verity_version=" + std::to_string(shape.version) +
                       ",data_device_name=" + quote_word(data->name()) +
                       ",hash_device_name=" + quote_word(hash->name()) +
                       ",verity_algorithm=" + std::string(algorithm->name) +
                       ",root_digest=" + hex(root_digest) + ",salt=" + (salt.empty() ? "-" : hex(salt)) +
                       ",ignore_zero_blocks=" + (ignore_zero_blocks ? "y" : "n") +
                       ",check_at_most_once=" + (check_at_most_once ? "y" : "n");
    if (on_corruption != Mode::fail)
        text += std::string(",verity_mode=") +
                word_of(on_corruption, "ignore_corruption", "restart_on_corruption", "panic_on_corruption");
    if (on_error != Mode::fail)
        text +=
            std::string(",verity_error_mode=") + word_of(on_error, "", "restart_on_error", "panic_on_error");
    return text + ";";
}

}  // namespace dmfs::verity
