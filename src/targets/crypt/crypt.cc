// crypt: what is on the device is encrypted.
//
//     crypt CIPHER KEY IV_OFFSET DEVICE START [COUNT OPTION...]
//
//     sector s of the row
//        | number n = IV_OFFSET + s  ->  which of the keys, and the vector
//        v
//     encrypted, in sectors of 512 bytes (or sector_size)  ->  sector START + s of DEVICE
//
//     spec.h       the word CIPHER, and how a key is shared out
//     keys.h       the word KEY
//     options.h    the options
//     iv.h         vectors
//     converter.h  data into ciphertext and back
//
// A read is decrypted where it was read to. A write is encrypted into memory of its own,
// since the caller's data are to stay as they are; a large one in pieces, so that all
// writes together take at most kMostSealed bytes. Large requests are computed on all cores.
//
// Nothing is kept and nothing is reordered: flushes and FUA go down as they come, and what
// a crash leaves is what it leaves of the device. A sector of sector_size is torn if the
// device tears it; then it decrypts to noise from there on, or (xts, cbc) in a part.
//
// While the volume is suspended, messages exchange the key or wipe it; nobody is inside
// then, so those who convert need no lock.

#include <strings.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "crypto/hex.h"
#include "engine/locks.h"
#include "parts/one_device.h"
#include "parts/pieces.h"
#include "targets/crypt/converter.h"
#include "targets/crypt/keys.h"
#include "targets/crypt/options.h"
#include "targets/registry.h"

namespace dmfs {

namespace crypt {

namespace {

constexpr size_t kMostSealed = 32 << 20;  // bytes of all writes that are under way
constexpr size_t kPiece = 1 << 20;        // of one write at a time
constexpr size_t kShared = 64 << 10;      // requests from here on are computed by several threads ...
constexpr size_t kShare = 32 << 10;       // ... in such parts
constexpr size_t kLong = 16 << 10;        // from here on an executor's thread is not to compute
constexpr Sector kZeros = 256;            // of one write of zeros

enum RowWord : size_t { kCipherWord, kKeyWord, kOffsetWord, kDeviceWord, kStartWord, kOptionWords };

class Crypt final : public OneDevice, private Lifecycle {
  public:
    Crypt(TargetSetup& setup, CipherSpec spec, const Options& options, Sector iv_offset, KeyWord word,
          const Secret& key)
        : OneDevice(setup, kDeviceWord),
          executor_(setup.executor()),
          spec_(std::move(spec)),
          options_(options),
          iv_offset_(iv_offset),
          sealed_(setup.executor(), kMostSealed),
          word_(std::move(word)) {
        converter_ = std::make_unique<Converter>(spec_, form(), key.bytes());
    }

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::flush) return device().io(bio);
        if (bio.op == Op::discard)
            return options_.allow_discards ? device().io(below(bio))
                                           : Task<Status>::ready(Status(EOPNOTSUPP));
        if ((bio.sector | bio.count) % sectors_in(options_.sector_bytes) != 0)
            return Task<Status>::ready(Status(EIO));
        if (!converter_)
            return Task<Status>::ready(Status(EIO));  // as the mount ends, nobody asks preresume()
        if (bio.op == Op::read) return read(bio);
        if (bio.op == Op::write) return write(bio);
        // The kernel's crypt takes no zeroing: zeros come as writes.
        return as_writes(this, &Crypt::write, bio, kZeros, &executor_);
    }

    void adjust(Limits& limits) const override {
        limits.logical_block = std::max(limits.logical_block, options_.sector_bytes);
        limits.physical_block = std::max(limits.physical_block, options_.sector_bytes);
        limits.io_min = std::max(limits.io_min, options_.sector_bytes);
        limits.write_zeroes = false;
        if (!options_.allow_discards) limits.discard_granularity = 0;
    }

    std::string status(StatusKind kind) const override {
        if (kind == StatusKind::measure) return measured();
        return kind == StatusKind::table ? words(false) : std::string();
    }
    std::string table_with_keys() const override {
        std::string text = words(true);
        wipe_stack();
        return text;
    }

    // A hole of the device does not read as zeros.
    bool differs() const override { return true; }

    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override;

    std::string message(const std::vector<Word>& words) override;
    Lifecycle* lifecycle() override { return this; }

  private:
    Task<Outcome> preresume(Cancel*) override {
        if (converter_) return Task<Outcome>::ready({});
        return Task<Outcome>::ready(
            Refused(EAGAIN, "the key was wiped", "the message that sets one: key set KEY"));
    }
    void resume() override { suspended_ = false; }
    void postsuspend() override { suspended_ = true; }

    SectorForm form() const { return {options_.sector_bytes, options_.iv_large_sectors}; }
    Sector number_of(Sector at) const { return iv_offset_ + at; }

    Task<Status> read(Bio bio);
    Task<Status> decrypt_later(Task<Status> reading, Bio bio);
    Task<Status> write(Bio bio);
    void decrypt(const Bio& bio) const;
    void encrypt(const Bio& bio, std::byte* out) const;
    template <class Part>
    void share(size_t bytes, Part part) const;
    bool may_not_compute(size_t bytes) const { return bytes >= kLong && is_executor_thread(); }

    std::string words(bool with_key) const;
    std::string measured() const;
    void set_key(const Word& text);
    void wipe_key();

    Executor& executor_;
    const CipherSpec spec_;
    const Options options_;
    const Sector iv_offset_;
    Stock sealed_;

    // Changed while the volume is suspended; nothing: the key was wiped.
    std::unique_ptr<Converter> converter_;
    std::atomic<bool> suspended_{false};
    mutable std::mutex word_mutex_;  // guards the word, which is printed at any time
    KeyWord word_;
};

// The way of a request.

Task<Status> Crypt::read(Bio bio) {
    Task<Status> reading = device().io(below(bio));
    if (!reading.is_ready()) return decrypt_later(std::move(reading), bio);
    Status status = std::move(reading).value();
    if (!status) return Task<Status>::ready(status);
    if (may_not_compute(bio.bytes())) return decrypt_later(Task<Status>::ready(kOk), bio);
    decrypt(bio);
    return Task<Status>::ready(kOk);
}

Task<Status> Crypt::decrypt_later(Task<Status> reading, Bio bio) {
    Status status = co_await reading;
    if (!status) co_return status;
    if (may_not_compute(bio.bytes())) co_await executor_.workers().enter();
    decrypt(bio);
    co_return kOk;
}

Task<Status> Crypt::write(Bio bio) {
    while (bio.count > 0) {
        Bio piece = bio.part(0, std::min(bio.count, sectors_in(kPiece)));
        bio = bio.part(piece.count, bio.count - piece.count);
        Task<Status> taking = sealed_.take(piece.bytes(), bio.cancel);
        Status status = co_await taking;
        if (!status) co_return status;
        Stock::Guard guard(sealed_, piece.bytes());
        if (may_not_compute(piece.bytes())) co_await executor_.workers().enter();
        Memory sealed(piece.bytes());
        encrypt(piece, sealed.data());
        piece.memory = &sealed;
        piece.offset = 0;
        Task<Status> writing = device().io(below(piece));
        status = co_await writing;
        if (!status) co_return status;
    }
    co_return kOk;
}

// Calls part(from, bytes) for all of a request, on this thread or on several.
template <class Part>
void Crypt::share(size_t bytes, Part part) const {
    if (bytes < kShared) return part(0, bytes);
    executor_.workers().share((bytes + kShare - 1) / kShare, [&](size_t index) {
        part(index * kShare, std::min(kShare, bytes - index * kShare));
    });
}

void Crypt::decrypt(const Bio& bio) const {
    share(bio.bytes(), [&](size_t from, size_t bytes) {
        converter_->decrypt(bio.data() + from, bytes, number_of(bio.sector) + sectors_in(from));
    });
}

void Crypt::encrypt(const Bio& bio, std::byte* out) const {
    share(bio.bytes(), [&](size_t from, size_t bytes) {
        converter_->encrypt(bio.data() + from, out + from, bytes, number_of(bio.sector) + sectors_in(from));
    });
}

void Crypt::explain(Op op, Sector at, Sector count, const StepVisitor& visit) const {
    if (op == Op::discard && !options_.allow_discards)
        return visit(Step{op, at, count, nullptr, 0, "discards are not allowed"});
    const std::string vectors = ", vectors from sector " + std::to_string(number_of(at));
    std::string note;
    if (op == Op::read) note = "decrypted" + vectors;
    if (op == Op::write || op == Op::write_zeroes) note = "encrypted" + vectors;
    if (op == Op::write_zeroes) op = Op::write;
    visit(Step{op, at, count, &device(), op == Op::flush ? 0 : start() + at, note});
}

// Words.

// A number of sectors that is to be whole ones of sector_size.
Sector whole_sectors(TargetSetup& setup, size_t index, const char* what, const Options& options) {
    Sector number = setup.sector(index, what);
    Sector block = sectors_in(options.sector_bytes);
    if (number % block == 0) return number;
    throw setup.refuse(
        index, std::string(what) + " " + std::to_string(number) + " is no multiple of the sector size",
        "a multiple of " + std::to_string(block));
}

std::string Crypt::words(bool with_key) const {
    std::string key;
    {
        std::lock_guard guard(word_mutex_);
        if (word_.is_reference())
            key = ":" + std::to_string(word_.bytes) + ":" + word_.type + ":" + quote_word(word_.description);
        else if (word_.bytes == 0)
            key = "-";
        else
            key = with_key && word_.key.size() != 0 ? hex_of(word_.key.bytes())
                                                    : std::string(2 * word_.bytes, '0');
    }
    std::string options = options_.words();
    return quote_word(spec_.text) + " " + key + " " + std::to_string(iv_offset_) + " " + place() +
           (options.empty() ? "" : " ") + options;
}

// As the kernel counts parts of a key: what the vectors need is one more, or two.
std::string Crypt::measured() const {
    size_t key_bytes = 0;
    {
        std::lock_guard guard(word_mutex_);
        key_bytes = word_.bytes;
    }
    KeyParts key = key_parts(spec_, key_bytes);
    size_t parts = spec_.keys;
    if (spec_.iv == IvKind::tcw) parts += 2;
    if (spec_.iv == IvKind::elephant || (spec_.iv == IvKind::lmk && key.extra != 0)) parts++;
    auto flag = [](const char* name, bool set) { return std::string(name) + (set ? "=y," : "=n,"); };
    return flag("allow_discards", options_.allow_discards) + flag("same_cpu_crypt", options_.same_cpu_crypt) +
           flag("high_priority", options_.high_priority) +
           flag("submit_from_crypt_cpus", options_.submit_from_crypt_cpus) +
           flag("no_read_workqueue", options_.no_read_workqueue) +
           flag("no_write_workqueue", options_.no_write_workqueue) +
           flag("iv_large_sectors", options_.iv_large_sectors) +
           (options_.sector_bytes == kSectorBytes
                ? ""
                : "sector_size=" + std::to_string(options_.sector_bytes) + ",") +
           "cipher_string=" + spec_.text + ",key_size=" + std::to_string(key_bytes) +
           ",key_parts=" + std::to_string(parts) + ",key_extra_size=" + std::to_string(key.extra) +
           ",key_mac_size=0;";
}

// key set KEY, key wipe
std::string Crypt::message(const std::vector<Word>& words) {
    auto is = [&](size_t index, const char* text) {
        return strcasecmp(words[index].text.c_str(), text) == 0;
    };
    if (words.size() < 2 || !is(0, "key"))
        throw refuse(words[0], "this is no message for crypt", "key set KEY, key wipe");
    if (!suspended_)
        throw refuse(words[0], "the key can be changed only while the volume is suspended",
                     "suspend it first");
    if (words.size() == 3 && is(1, "set"))
        set_key(words[2]);
    else if (words.size() == 2 && is(1, "wipe"))
        wipe_key();
    else
        throw refuse(words[1], "this is no message for crypt", "key set KEY, key wipe");
    return {};
}

// As in the kernel, digits that are none leave the volume without a key. Any other key that
// is refused leaves it as it was.
void Crypt::set_key(const Word& text) {
    KeyWord word;
    try {
        word = parse_key(text.text);
    } catch (const Refused& refused) {
        if (text.text.size() / 2 == word_.bytes && is_crypt_key(kKeyWord, text.text)) wipe_key();
        throw refuse(text, refused.reason(), refused.remedy());
    }
    if (word.bytes != word_.bytes)
        throw refuse(text, "the key has " + std::to_string(word.bytes) + " bytes",
                     "as many as before: " + std::to_string(word_.bytes));
    Secret key = fetch_key(word);
    converter_ = std::make_unique<Converter>(spec_, form(), key.bytes());
    wipe_stack();
    std::lock_guard guard(word_mutex_);
    word_ = std::move(word);
}

void Crypt::wipe_key() {
    converter_.reset();
    std::lock_guard guard(word_mutex_);
    size_t bytes = word_.bytes;
    word_ = {};
    word_.bytes = bytes;
}

// What `read` makes of a word of the row; what it refuses of the word is refused of the row.
template <class Read>
auto from_word(TargetSetup& setup, size_t index, Read read) {
    try {
        return read(setup.word(index));
    } catch (const Refused& refused) {
        const Place& place = refused.place();
        Refused part = place.file.empty() ? setup.refuse(index, refused.reason(), refused.remedy())
                                          : setup.refuse_part(index, place.column, place.length,
                                                              refused.reason(), refused.remedy());
        throw Refused(refused.error(), part.reason(), part.remedy()).at(part.place());
    }
}

}  // namespace

}  // namespace crypt

bool is_crypt_key(size_t index, std::string_view word) {
    return index == crypt::kKeyWord && !word.starts_with(':') && word != "-";
}

// In the kernel's order, which decides which of several errors is told.
std::unique_ptr<Target> make_crypt(TargetSetup& setup) {
    using namespace crypt;
    setup.need_at_least(kOptionWords, "crypt CIPHER KEY IV_OFFSET DEVICE START [COUNT OPTION...]");
    KeyWord word = from_word(setup, kKeyWord, parse_key);
    Options options = parse_options(setup, kOptionWords);
    CipherSpec spec = from_word(setup, kCipherWord, parse_cipher);
    if ((spec.iv == IvKind::lmk || spec.iv == IvKind::tcw) && options.sector_bytes != kSectorBytes)
        throw setup.refuse(kOptionWords, spec.text + " is made for sectors of 512 bytes", "no sector_size");
    if (!takes_key(spec, word.bytes))
        throw setup.refuse(kKeyWord, spec.text + " takes no key of " + std::to_string(word.bytes) + " bytes",
                           key_sizes(spec) + " bytes");
    Secret key = from_word(setup, kKeyWord, [&](const std::string&) { return fetch_key(word); });
    Sector iv_offset = whole_sectors(setup, kOffsetWord, "offset of the vectors", options);
    whole_sectors(setup, kStartWord, "start", options);
    auto made = std::make_unique<Crypt>(setup, std::move(spec), options, iv_offset, std::move(word), key);
    wipe_stack();  // where the key and its digits went through
    return made;
}

}  // namespace dmfs
