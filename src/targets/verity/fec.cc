#include "targets/verity/fec.h"

#include <algorithm>
#include <atomic>

#include "base/log.h"

namespace dmfs::verity {

namespace {
constexpr size_t kPiece = 256;  // codewords that one thread decodes at a time
}

Fec::Fec(Executor& executor, const Settings& settings, const Tree& tree, const Hasher& hasher,
         HashCache& hashes, const std::vector<std::byte>& zero_digest)
    : executor_(executor),
      settings_(settings),
      tree_(tree),
      hasher_(hasher),
      hashes_(hashes),
      zero_digest_(zero_digest),
      shape_(*settings.fec),
      code_(shape_.roots),
      block_(settings.data_block),
      siblings_(static_cast<unsigned>(kCodewordBytes) - shape_.roots),
      rounds_((shape_.blocks - 1) / siblings_ + 1),
      one_at_a_time_(executor) {}

Fec::Column::Column(const Fec& fec, uint64_t block)
    : round(block % fec.rounds_),
      wanted(static_cast<unsigned>(block / fec.rounds_)),
      siblings(fec.siblings_ * fec.block_),
      parity(fec.shape_.roots * fec.block_),
      repaired(fec.block_),
      unreadable(fec.siblings_, 0),
      known_zero(fec.siblings_, 0) {}

Task<Status> Fec::repair(BlockKind kind, uint64_t block, const std::byte* digest, std::byte* to,
                         Cancel* cancel) {
    Task<Status> locking = one_at_a_time_.acquire(cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Lock::Guard guard(one_at_a_time_);
    const Tree::Shape& shape = tree_.shape();
    Column column(*this, kind == BlockKind::data ? block : block - shape.hash_start + shape.data_blocks);
    Task<Status> reading = read(&column, cancel);
    status = co_await reading;
    if (!status) co_return status;
    Workers::Enter enter = executor_.workers().enter();
    co_await enter;
    bool right = decode(column) && hasher_.matches({column.repaired.data(), block_}, digest);
    if (!right) {
        Task<Status> finding = find_erased(&column);
        status = co_await finding;
        Workers::Enter again = executor_.workers().enter();  // it may have waited
        co_await again;
        right = status && decode(column) && hasher_.matches({column.repaired.data(), block_}, digest);
    }
    std::string name = (kind == BlockKind::data ? settings_.data : settings_.hash)->name();
    std::string which = (kind == BlockKind::data ? "data block " : "hash block ") + std::to_string(block);
    if (!right) {
        log_line(Severity::error, "verity: the parity does not repair " + which + " of " + name);
        co_return Status(EIO);
    }
    log_line(Severity::warning, "verity: " + which + " of " + name + " was repaired from the parity (" +
                                    std::to_string(column.corrected) + " bytes of it and its siblings)");
    memcpy(to, column.repaired.data(), block_);
    co_return kOk;
}

Fec::Place Fec::place_of(uint64_t covered) const {
    const Tree::Shape& shape = tree_.shape();
    if (covered < shape.data_blocks) return {settings_.data, covered, true};
    if (covered < shape_.blocks)
        return {settings_.hash, covered - shape.data_blocks + shape.hash_start, false};
    return {};
}

Bio Fec::bio_of(uint64_t block, Memory* memory, size_t offset, size_t bytes, Cancel* cancel) const {
    Bio bio;
    bio.sector = sectors_in(block * block_);
    bio.count = sectors_in(bytes);
    bio.memory = memory;
    bio.offset = offset;
    bio.one_of_many = true;
    bio.cancel = cancel;
    return bio;
}

// The parity and all siblings. Fails where the parity cannot be read.
Task<Status> Fec::read(Column* column, Cancel* cancel) {
    Task<Status> parity_reading = shape_.device->io(bio_of(
        shape_.start + column->round * shape_.roots, &column->parity, 0, column->parity.bytes(), cancel));
    parity_reading.start();
    std::vector<Task<Status>> readings;
    for (unsigned i = 0; i < siblings_; i++) {
        Place place = place_of(covered(*column, i));
        memset(sibling(*column, i), 0, block_);
        readings.push_back(place.device == nullptr ? Task<Status>::ready(kOk)
                                                   : place.device->io(bio_of(place.block, &column->siblings,
                                                                             i * block_, block_, cancel)));
        readings.back().start();
    }
    Status status = co_await parity_reading;
    for (unsigned i = 0; i < siblings_; i++) {
        Status readable = co_await readings[i];
        if (readable.error() == EINTR) status = readable;
        if (readable) continue;
        memset(sibling(*column, i), 0, block_);
        column->unreadable[i] = 1;
    }
    // Blocks that are zeros without being read are zeros in the parity too.
    for (unsigned i = 0; i < siblings_ && !zero_digest_.empty() && status; i++) {
        Place place = place_of(covered(*column, i));
        if (!place.data) continue;
        Digest digest;
        Task<Status> expecting = expected(place.block, digest);
        Status known = co_await expecting;
        if (!known || memcmp(digest, zero_digest_.data(), zero_digest_.size()) != 0) continue;
        memset(sibling(*column, i), 0, block_);
        column->known_zero[i] = 1;
    }
    co_return status;
}

// The siblings that are known to be wrong: the one that is wanted, what cannot be read,
// and data blocks that are not what their digests say.
Task<Status> Fec::find_erased(Column* column) {
    for (unsigned i = 0; i < siblings_ && column->erased.size() < shape_.roots; i++) {
        Place place = place_of(covered(*column, i));
        bool wrong = i == column->wanted || column->unreadable[i] != 0;
        if (!wrong && place.data && column->known_zero[i] == 0) {
            Digest digest;
            Task<Status> expecting = expected(place.block, digest);
            Status known = co_await expecting;
            wrong = known && !hasher_.matches({sibling(*column, i), block_}, digest);
        }
        if (wrong) column->erased.push_back(static_cast<uint8_t>(i));
    }
    co_return kOk;
}

// The digest of a data block, if the tree above it is right.
Task<Status> Fec::expected(uint64_t data_block, std::byte* digest) {
    if (tree_.levels() == 0) {
        memcpy(digest, hashes_.root_digest(), hasher_.digest_bytes());
        co_return kOk;
    }
    Slot slot = tree_.leaf(data_block);
    HashBlock leaf;
    Task<Status> peeking = hashes_.peek(slot.node, &leaf);
    Status status = co_await peeking;
    if (status) memcpy(digest, leaf.get() + slot.byte, hasher_.digest_bytes());
    co_return status;
}

// All codewords of the column; the byte of each that belongs to the wanted block.
bool Fec::decode(Column& column) const {
    std::atomic<bool> decoded{true};
    std::atomic<unsigned> corrected{0};
    size_t pieces = (block_ + kPiece - 1) / kPiece;
    executor_.workers().share(pieces, [&](size_t piece) {
        uint8_t word[kCodewordBytes];
        for (size_t k = piece * kPiece; k < std::min((piece + 1) * kPiece, block_) && decoded; k++) {
            for (unsigned i = 0; i < siblings_; i++) word[i] = static_cast<uint8_t>(sibling(column, i)[k]);
            memcpy(word + siblings_, column.parity.data() + k * shape_.roots, shape_.roots);
            std::optional<unsigned> wrong = code_.correct(word, column.erased);
            if (!wrong) decoded = false;
            if (wrong) corrected += *wrong;
            column.repaired.data()[k] = static_cast<std::byte>(word[column.wanted]);
        }
    });
    column.corrected = corrected;
    return decoded;
}

void Fec::each_device(const Target::DeviceVisitor& visit) const {
    visit(*shape_.device, sectors_in(shape_.start * block_), sectors_in(rounds_ * shape_.roots * block_));
}

}  // namespace dmfs::verity
