// crypt against other ways to compute the same: hashlib and OpenSSL gave the constants, the
// algorithms below are written from their descriptions, one sector and one block at a time.

#include <fstream>
#include <iterator>
#include <random>

#include "base/sanitized.h"
#include "crypto/hex.h"
#include "crypto/keyring.h"
#include "engine/support.h"
#include "targets/crypt/converter.h"
#include "targets/crypt/keys.h"

using namespace dmfs;
using namespace dmfs::test;
using namespace dmfs::crypt;

namespace {

const std::string k16 = "000102030405060708090a0b0c0d0e0f";
const std::string k32 = k16 + "101112131415161718191a1b1c1d1e1f";
const std::string k64 = k32 + "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

using Bytes = std::vector<std::byte>;

Bytes bytes_of_hex(const std::string& text) {
    Secret secret = parse_hex(text);
    return {secret.bytes().begin(), secret.bytes().end()};
}

// The bytes 0, 1, 2, ... times seven, from `seed` on.
Bytes pattern(size_t bytes, unsigned seed = 0) {
    Bytes data(bytes);
    for (size_t i = 0; i < bytes; i++) data[i] = static_cast<std::byte>(i * 7 + (i >> 8) + seed);
    return data;
}

Bytes encrypted(const std::string& cipher, const std::string& key, const Bytes& data, Sector number,
                SectorForm form = {}) {
    Converter converter(parse_cipher(cipher), form, bytes_of_hex(key));
    Bytes out(data.size());
    converter.encrypt(data.data(), out.data(), data.size(), number);
    Bytes back = out;
    converter.decrypt(back.data(), back.size(), number);
    CHECK((back == data));
    return out;
}

// The vectors of `count` sectors, with a cipher that shows them: ctr encrypts zeros, so the
// first block of a sector is E(vector), and ecb decrypts it.
Bytes vectors(const std::string& cipher, const std::string& iv, const std::string& key, Sector number,
              size_t count = 1, SectorForm form = {}) {
    const CipherType& type = *find_cipher(cipher);
    Bytes zeros(count * form.bytes), vectors;
    Bytes out = encrypted(cipher + "-cbc-" + iv, key, zeros, number, form);
    SecretPtr<BlockCipher> block = type.make(bytes_of_hex(key));
    for (size_t i = 0; i < count; i++) {
        Bytes one(type.block_bytes);
        block->decrypt(out.data() + i * form.bytes, one.data(), 1);
        vectors.insert(vectors.end(), one.begin(), one.end());
    }
    return vectors;
}

std::string hex(const Bytes& bytes) { return hex_of(bytes); }
std::string digest_of(const char* hash, const Bytes& data) {
    std::unique_ptr<Hash> made = find_hash(hash)->make();
    Bytes digest(made->digest_bytes());
    made->update(data);
    made->finish(digest.data());
    return hex(digest);
}

struct Encrypted {
    Running executor;
    FakeSource source{*executor};
    FakeDevice& device;
    std::shared_ptr<Table> table;

    explicit Encrypted(const std::string& words, Sector device_sectors = 4096)
        : device(source.add("a", device_sectors, 1)) {
        table = source.table(words);
    }
    Status io(Bio bio) { return run(*executor, table->io(bio)); }
    Target& target() const { return *table->rows()[0].target; }
    std::string printed() const { return target().status(StatusKind::table); }
    std::string with_keys() const { return target().table_with_keys(); }
    void tell(const std::string& words) const { target().message(split_words(words)); }
};

std::string row(const std::string& cipher, const std::string& key, const std::string& rest = "0 a 0") {
    return "0 64 crypt " + cipher + " " + key + " " + rest;
}

// What the row is refused with, and how.
Refused refusal(const std::string& table) {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    try {
        source.table(table);
    } catch (const Refused& refused) {
        return refused;
    }
    FAIL("not refused: " << table);
    return Refused(0, "");
}

}  // namespace

TEST_CASE("a vector is what its name says") {
    auto one = [](const std::string& iv, Sector number, SectorForm form = {}) {
        return hex(vectors("aes", iv, k16, number, 1, form));
    };
    CHECK(one("null", 7) == std::string(32, '0'));
    CHECK(one("plain", 0x123456789aULL) == "9a785634000000000000000000000000");
    CHECK(one("plain64", 0x123456789aULL) == "9a785634120000000000000000000000");
    CHECK(one("plain64be", 0x123456789aULL) == "0000000000000000000000123456789a");
    CHECK(one("benbi", 5) == "000000000000000000000000000000a1");  // 5 * 32 + 1
    CHECK(hex(vectors("blowfish", "benbi", k16, 5)) == "0000000000000141");
    CHECK(hex(vectors("blowfish", "plain64be", k16, 5)) == "0000000000000005");
    // Sectors of 4096 bytes count 8 each, or with iv_large one.
    CHECK(one("plain64", 16, {4096, false}) == "10000000000000000000000000000000");
    CHECK(one("plain64", 16, {4096, true}) == "02000000000000000000000000000000");
    CHECK(hex(vectors("aes", "plain64", k16, 16, 2, {4096, true})).substr(32, 4) == "0300");
    CHECK(hex(vectors("aes", "plain64", k16, 16, 2, {4096, false})).substr(32, 4) == "1800");
}

TEST_CASE("encrypted vectors are encrypted with the hash of the key, or with the key") {
    // Of python: AES-ECB of the number with sha256(key), and of the offset with the key.
    CHECK(digest_of("sha256", bytes_of_hex(k16)) ==
          "be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991");
    Bytes number(16);
    number[0] = std::byte{9};
    SecretPtr<BlockCipher> salted = find_cipher("aes")->make(
        bytes_of_hex("be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991"));
    Bytes wanted(16);
    salted->encrypt(number.data(), wanted.data(), 1);
    CHECK((vectors("aes", "essiv:sha256", k16, 9) == wanted));
    CHECK(encrypted("aes-cbc-essiv:sha256", k16, pattern(2048), 9) ==
          encrypted("capi:essiv(cbc(aes),sha256)-plain64", k16, pattern(2048), 9));

    Bytes offset(16);
    offset[1] = std::byte{18};  // 9 * 512
    find_cipher("aes")->make(bytes_of_hex(k16))->encrypt(offset.data(), wanted.data(), 1);
    CHECK(vectors("aes", "eboiv", k16, 9) == wanted);
}

namespace {

// MD5 up to where its padding would begin, from RFC 1321.
std::array<uint32_t, 4> md5_state(Bytes text) {
    constexpr uint32_t kSines[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
        0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
        0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
        0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
        0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
        0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
        0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
        0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
    constexpr int kTurns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    std::array<uint32_t, 4> state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    for (size_t at = 0; at < text.size(); at += 64) {
        auto [a, b, c, d] = state;
        for (uint32_t i = 0; i < 64; i++) {
            uint32_t f = i < 16   ? (b & c) | (~b & d)
                         : i < 32 ? (d & b) | (~d & c)
                         : i < 48 ? b ^ c ^ d
                                  : c ^ (b | ~d);
            uint32_t index = i < 16 ? i : i < 32 ? 5 * i + 1 : i < 48 ? 3 * i + 5 : 7 * i;
            uint32_t word;
            memcpy(&word, text.data() + at + index % 16 * 4, 4);
            uint32_t turned = std::rotl(a + f + kSines[i] + word, kTurns[i / 16][i % 4]);
            a = d;
            d = c;
            c = b;
            b += turned;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    }
    return state;
}

Bytes cbc_of_zero_iv(const std::string& key, const Bytes& data, const Bytes& iv) {
    SecretPtr<SectorCipher> cbc = find_mode("cbc")->make(*find_cipher("aes"), bytes_of_hex(key));
    Bytes out(data.size());
    cbc->encrypt(data.data(), out.data(), data.size(), 1, iv.data());
    return out;
}

}  // namespace

TEST_CASE("lmk hashes the data, and the seed of a 65th key") {
    const Bytes data = pattern(512, 3);
    const Sector number = 0x1234567890abcdULL;
    for (bool seeded : {false, true}) {
        Bytes text;
        if (seeded) {
            text = bytes_of_hex("ffeeddccbbaa99887766554433221100");
            text.resize(64);
        }
        text.insert(text.end(), data.begin() + 16, data.end());
        const uint32_t end[4] = {static_cast<uint32_t>(number),
                                 static_cast<uint32_t>(number >> 32 & 0xffffff) | 0x80000000, 4024, 0};
        for (size_t i = 0; i < sizeof end; i++) text.push_back(reinterpret_cast<const std::byte*>(end)[i]);
        std::array<uint32_t, 4> state = md5_state(text);
        Bytes iv(16);
        memcpy(iv.data(), state.data(), 16);
        std::string key;
        for (int i = 0; i < 64; i++) key += k16;
        if (seeded) key += "ffeeddccbbaa99887766554433221100";
        CHECK((encrypted("aes:64-cbc-lmk", key, data, number) == cbc_of_zero_iv(k16, data, iv)));
    }
}

TEST_CASE("lmk's seed stands where the next key would, whatever is left over behind it") {
    std::string key;
    for (int i = 0; i < 64; i++) key += k16;
    const std::string seed = "ffeeddccbbaa99887766554433221100";
    const Bytes data = pattern(512, 3);
    CHECK(encrypted("aes:64-cbc-lmk", key + seed + "0102030405", data, 9) ==
          encrypted("aes:64-cbc-lmk", key + seed, data, 9));
}

TEST_CASE("numbers of sectors go on at 0 behind 2^64, and then they are shifted") {
    const SectorForm form{4096, true};
    const Sector number = Sector{0} - 8;
    const Bytes data = pattern(2 * 4096);
    Bytes both = encrypted("aes-cbc-plain64", k16, data, number, form);
    Bytes second = encrypted("aes-cbc-plain64", k16, {data.begin() + 4096, data.end()}, 0, form);
    CHECK(std::equal(second.begin(), second.end(), both.begin() + 4096));
}

TEST_CASE("tcw whitens the ciphertext with CRCs of the number") {
    const Bytes data = pattern(512, 9);
    const uint64_t number = 1000;
    const std::string seed = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
                      whitening = "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf";
    Bytes iv = bytes_of_hex(seed), mask = bytes_of_hex(whitening);
    for (size_t i = 0; i < 16; i++) {
        iv[i] ^= static_cast<std::byte>(number >> 8 * (i % 8));
        mask[i] ^= static_cast<std::byte>(number >> 8 * (i % 8));
    }
    uint32_t crcs[4];
    for (size_t part = 0; part < 4; part++) {
        uint32_t crc = 0;
        for (size_t i = 0; i < 4; i++) {
            crc ^= static_cast<uint32_t>(mask[part * 4 + i]);
            for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
        }
        crcs[part] = crc;
    }
    const uint32_t white[2] = {crcs[0] ^ crcs[3], crcs[1] ^ crcs[2]};
    Bytes wanted = cbc_of_zero_iv(k16, data, iv);
    for (size_t i = 0; i < wanted.size(); i++) wanted[i] ^= reinterpret_cast<const std::byte*>(white)[i % 8];
    CHECK(encrypted("aes-cbc-tcw", k16 + seed + whitening, data, number) == wanted);
}

TEST_CASE("elephant diffuses in both directions, in sectors of every size") {
    for (size_t bytes : {512, 4096}) {
        const Bytes data = pattern(2 * bytes, 5);
        Bytes out = encrypted("aes-cbc-elephant", k64, data, 8, {bytes, true});
        // A changed byte changes its whole sector, and no other.
        Bytes other = data;
        other[bytes + 100] ^= std::byte{1};
        Bytes changed = encrypted("aes-cbc-elephant", k64, other, 8, {bytes, true});
        CHECK(std::equal(out.begin(), out.begin() + static_cast<long>(bytes), changed.begin()));
        size_t same = 0;
        for (size_t i = bytes; i < 2 * bytes; i++) same += out[i] == changed[i];
        CHECK(same < bytes / 64);
    }
}

TEST_CASE("several keys take turns by the number of 512 bytes") {
    std::string other = "ffeeddccbbaa99887766554433221100";
    Bytes data = pattern(4 * 512);
    Bytes out = encrypted("aes:2-cbc-plain64", k16 + other, data, 1);
    for (size_t i = 0; i < 4; i++) {
        Bytes sector(data.begin() + static_cast<long>(512 * i),
                     data.begin() + static_cast<long>(512 * (i + 1)));
        Bytes wanted = encrypted("aes-cbc-plain64", (1 + i) % 2 == 0 ? k16 : other, sector, 1 + i);
        CHECK(std::equal(wanted.begin(), wanted.end(), out.begin() + static_cast<long>(512 * i)));
    }
}

TEST_CASE("every cipher in every mode with every vector gives back what it took, a request in any parts") {
    std::mt19937 random(11);
    for (const CipherType& cipher : cipher_types())
        for (const ModeType& mode : mode_types()) {
            if (!mode.takes_cipher(cipher)) continue;
            for (const char* iv : {"null", "plain64", "benbi", "eboiv", "lmk", "tcw", "elephant"}) {
                std::string name = std::string(cipher.name) + "-" + std::string(mode.name) + "-" + iv;
                INFO(name);
                // What lmk takes back of a vector that it did not know is what CBC makes of it.
                if (iv == std::string("lmk") && mode.name != "cbc") continue;
                CipherSpec spec;
                try {
                    spec = parse_cipher(name);
                } catch (const Refused&) {
                    continue;  // eboiv, elephant: vectors as long as a block
                }
                size_t bytes = 0;
                while (bytes < 300 && !(takes_key(spec, bytes) && key_parts(spec, bytes).each > 0)) bytes++;
                if (bytes == 300) continue;  // cipher_null has no key
                Bytes key = pattern(bytes, 77);
                Converter converter(spec, {}, key);
                Bytes data = pattern(70 * 512), whole(data.size()), parts(data.size());
                converter.encrypt(data.data(), whole.data(), data.size(), 1000);
                for (size_t at = 0; at < data.size();) {
                    size_t part = std::min(data.size() - at, 512 * (1 + random() % 9));
                    converter.encrypt(data.data() + at, parts.data() + at, part, 1000 + at / 512);
                    at += part;
                }
                REQUIRE(whole == parts);
                converter.decrypt(parts.data(), 512 * 33, 1000);
                converter.decrypt(parts.data() + 512 * 33, 512 * 37, 1033);
                REQUIRE(parts == data);
            }
        }
}

TEST_CASE("a volume reads what was written, in any pieces, and the device has none of it") {
    const unsigned seed = 21;
    std::mt19937 random(seed);
    for (const char* options : {"", " 1 sector_size:1024", " 2 sector_size:4096 iv_large_sectors"}) {
        const Sector unit = strstr(options, "4096") != nullptr   ? 8
                            : strstr(options, "1024") != nullptr ? 2
                                                                 : 1;
        INFO("seed " << seed << options);
        Encrypted crypt("0 64 crypt aes-xts-plain64 " + k64 + " 0 a 8" + options +
                        "\n64 1024 crypt aes-cbc-essiv:sha256 " + k32 + " 128 a 1024" + options +
                        "\n1088 512 crypt aes:2-cbc-lmk " + k32 + " 0 a 3072");
        crypt.executor->employ(2);
        const Sector length = 1600;
        Bytes array(bytes_of(length));
        Memory memory(bytes_of(length)), before(bytes_of(length));
        REQUIRE(crypt.io(bio_of(Op::read, 0, length, &memory)) == kOk);
        memcpy(array.data(), memory.data(), array.size());
        for (int i = 0; i < 400; i++) {
            Sector at = random() % (length / unit) * unit;
            Sector count =
                std::min<Sector>(length - at, unit * (1 + random() % (i % 10 == 0 ? 400 / unit : 8)));
            Bio bio = bio_of(Op::read, at, count, &memory);
            bio.fua = random() % 4 == 0;
            switch (random() % 3) {
                case 0:
                    REQUIRE(crypt.io(bio) == kOk);
                    REQUIRE(memcmp(memory.data(), array.data() + bytes_of(at), bytes_of(count)) == 0);
                    break;
                case 1:
                    bio.op = Op::write;
                    for (Sector s = 0; s < count; s++)
                        stamp(memory.data() + bytes_of(s), 100u + static_cast<unsigned>(i), at + s);
                    memcpy(before.data(), memory.data(), bytes_of(count));
                    REQUIRE(crypt.io(bio) == kOk);
                    REQUIRE(memcmp(before.data(), memory.data(), bytes_of(count)) == 0);  // the caller's
                    memcpy(array.data() + bytes_of(at), memory.data(), bytes_of(count));
                    break;
                case 2:
                    bio.op = Op::write_zeroes;
                    REQUIRE(crypt.io(bio) == kOk);
                    memset(array.data() + bytes_of(at), 0, bytes_of(count));
            }
        }
        for (Sector s = 0; s < 4096; s++)
            for (Sector of = 0; of < length; of += 97)
                REQUIRE(memcmp(crypt.device.at(s), array.data() + bytes_of(of), kSectorBytes) != 0);
        REQUIRE(crypt.device.count(Op::write_zeroes) == 0);
    }
}

TEST_CASE("many requests at once, large and small, each get their own bytes") {
    Encrypted crypt("0 4096 crypt aes-xts-plain64 " + k64 + " 0 a 0");
    crypt.executor->employ(3);
    crypt.device.hold();
    std::vector<Memory> memories;
    std::vector<Pending<Status>> pending;
    Sector at = 0;
    for (size_t i = 0; at + 300 < 4096; i++) {
        Sector count = i % 3 == 0 ? 300 : i % 3 == 1 ? 8 : 1;
        memories.emplace_back(bytes_of(count));
        for (Sector s = 0; s < count; s++) stamp(memories.back().data() + bytes_of(s), 5, at + s);
        at += count;
    }
    at = 0;
    for (Memory& memory : memories) {
        Sector count = sectors_in(memory.bytes());
        pending.push_back(begin(*crypt.executor, crypt.table->io(bio_of(Op::write, at, count, &memory))));
        at += count;
    }
    crypt.device.let_go();
    for (Pending<Status>& each : pending) CHECK(each.get() == kOk);
    Memory whole(bytes_of(at));
    crypt.device.hold();
    Pending<Status> reading = begin(*crypt.executor, crypt.table->io(bio_of(Op::read, 0, at, &whole)));
    crypt.device.let_go();
    CHECK(reading.get() == kOk);
    for (Sector s = 0; s < at; s++) REQUIRE(stamped(whole.data() + bytes_of(s), 5, s));
}

TEST_CASE("a zeroing ends when its process is killed") {
    Encrypted crypt("0 4096 crypt aes-xts-plain64 " + k64 + " 0 a 0");
    Killed killed;
    Bio bio = bio_of(Op::write_zeroes, 0, 4096);
    bio.cancel = &killed;
    CHECK(crypt.io(bio) == Status(EINTR));
    CHECK(crypt.device.seen().empty());
}

TEST_CASE("all writes together take a limited memory, and one that waits can be cancelled") {
    Encrypted crypt("0 4096 crypt aes-xts-plain64 " + k64 + " 0 a 0");
    Memory memory(bytes_of(2048));
    crypt.device.hold();
    std::vector<Pending<Status>> pending;
    for (int i = 0; i < 32; i++)
        pending.push_back(begin(*crypt.executor, crypt.table->io(bio_of(Op::write, 0, 2048, &memory))));
    CHECK(soon([&] { return crypt.device.held() == 32; }));
    Cancel cancel;
    Pending<Status> one_more =
        begin(*crypt.executor, crypt.table->io(bio_of(Op::write, 0, 8, &memory, &cancel)));
    Pending<Status> another = begin(*crypt.executor, crypt.table->io(bio_of(Op::write, 0, 8, &memory)));
    a_moment();
    CHECK(crypt.device.held() == 32);
    cancel.request();
    CHECK(one_more.get() == Status(EINTR));
    crypt.device.let_go();
    for (Pending<Status>& each : pending) CHECK(each.get() == kOk);
    CHECK(another.get() == kOk);
}

TEST_CASE("requests go down as they came, or not at all") {
    Encrypted crypt("0 64 crypt aes-xts-plain64 " + k64 + " 0 a 8 2 sector_size:4096 iv_large_sectors");
    Memory memory(bytes_of(64));
    CHECK(crypt.target().io(bio_of(Op::read, 1, 8, &memory)).is_ready());
    for (Op op : {Op::read, Op::write, Op::write_zeroes}) {
        CHECK(run(*crypt.executor, crypt.target().io(bio_of(op, 1, 8, &memory))) == Status(EIO));
        CHECK(run(*crypt.executor, crypt.target().io(bio_of(op, 8, 4, &memory))) == Status(EIO));
    }
    CHECK(crypt.io(bio_of(Op::discard, 8, 8)) == Status(EOPNOTSUPP));
    CHECK(crypt.device.seen().empty());
    Bio write = bio_of(Op::write, 8, 16, &memory);
    write.fua = true;
    CHECK(crypt.io(write) == kOk);
    CHECK(crypt.io(Bio::flush()) == kOk);
    CHECK(crypt.device.seen() ==
          std::vector<FakeDevice::Seen>{{Op::write, 16, 16, true}, {Op::flush, 0, 0, false}});
    Limits limits = crypt.table->limits();
    CHECK(limits.logical_block == 4096);
    CHECK(limits.physical_block == 4096);
    CHECK(limits.io_min == 4096);
    CHECK_FALSE(limits.discard());
    CHECK_FALSE(limits.write_zeroes);
    crypt.device.fail(Op::read, EILSEQ);
    CHECK(crypt.io(bio_of(Op::read, 0, 8, &memory)) == Status(EILSEQ));
    crypt.device.fail(Op::write, ENOSPC);
    CHECK(crypt.io(bio_of(Op::write, 0, 8, &memory)) == Status(ENOSPC));
    CHECK(crypt.io(bio_of(Op::write_zeroes, 0, 8)) == Status(ENOSPC));

    Encrypted open("0 64 crypt aes-xts-plain64 " + k64 + " 0 a 8 1 allow_discards");
    CHECK(open.table->limits().discard());
    CHECK(open.io(bio_of(Op::discard, 8, 8)) == kOk);
    CHECK(open.device.seen() == std::vector<FakeDevice::Seen>{{Op::discard, 16, 8, false}});
    // What is a hole below is noise here.
    open.device.set_extents({{false, 4096}});
    CHECK(extent_of(*open.table, 0).data);
}

TEST_CASE("a row is printed as the kernel prints it, and its key only where it is asked for") {
    auto both = [](const std::string& cipher, const std::string& key, const std::string& rest) {
        Encrypted crypt(row(cipher, key, rest));
        return crypt.printed() + "|" + crypt.with_keys();
    };
    std::string zeros(32, '0');
    CHECK(both("aes-cbc-plain64", "000102030405060708090A0B0C0D0E0F", "8 a 16") ==
          "aes-cbc-plain64 " + zeros + " 8 a 16|aes-cbc-plain64 " + k16 + " 8 a 16");
    CHECK(both("cipher_null-ecb", "-", "0 a 0") == "cipher_null-ecb - 0 a 0|cipher_null-ecb - 0 a 0");
    CHECK(both("aes-ecb", k16,
               "0 a 0 9 integrity_key_size:7 iv_large_sectors sector_size:1024 NO_WRITE_WORKQUEUE "
               "integrity:16:none "
               "no_read_workqueue submit_from_crypt_cpus high_priority same_cpu_crypt allow_discards") ==
          "aes-ecb " + zeros +
              " 0 a 0 9 same_cpu_crypt high_priority submit_from_crypt_cpus no_read_workqueue "
              "no_write_workqueue "
              "integrity:16:none sector_size:1024 iv_large_sectors integrity_key_size:7|aes-ecb " +
              k16 +
              " 0 a 0 9 same_cpu_crypt high_priority submit_from_crypt_cpus no_read_workqueue "
              "no_write_workqueue "
              "integrity:16:none sector_size:1024 iv_large_sectors integrity_key_size:7");
    CHECK(both("aes-ecb", k16, "0 a 0 1 sector_size:512") ==
          "aes-ecb " + zeros + " 0 a 0|aes-ecb " + k16 + " 0 a 0");
    own_keyring().add("logon", "test:disk", parse_hex(k16));
    CHECK(both("aes-ecb", ":16:logon:test:disk", "0 a 0") ==
          "aes-ecb :16:logon:test:disk 0 a 0|aes-ecb :16:logon:test:disk 0 a 0");
    own_keyring().remove("logon", "test:disk");
    Encrypted crypt(row("aes-ecb", k16));
    CHECK(crypt.target().status(StatusKind::info).empty());
}

TEST_CASE("the kernel's errors, each with its word") {
    auto error = [](const std::string& cipher, const std::string& key, const std::string& rest = "0 a 0") {
        return refusal(row(cipher, key, rest)).error();
    };
    for (const char* cipher :
         {"capi:essiv(essiv(essiv(essiv(essiv(cbc(aes),md5),md5),md5),md5),md5)-plain64",
          "nonsense-cbc-plain", "aes-nonsense-plain", "aes-cbc-essiv:nonsense", "capi:cbc(nonsense)-plain",
          "capi:aes-plain", "aes-cbc-essiv:", "aes-adiantum-plain64"}) {
        INFO(cipher);
        CHECK(error(cipher, k32) == ENOENT);
    }
    for (const char* cipher :
         {"aes-cbc-nonsense", "aes-cbc", "aes-cbc-essiv", "aes:3-cbc-plain", "aes:0-cbc-plain",
          "aes:-cbc-plain", "xts(aes)-plain64", "aes-cbc-random", "aes-ctr-eboiv", "capi:cbc(aes)",
          "aes:65537-ecb", "blowfish-xts-plain64", "capi:gcm(aes)-random", "aes-cbc-essiv:sha512",
          "capi:adiantum(xchacha12,aes)-lmk"}) {
        INFO(cipher);
        CHECK(error(cipher, k32) == EINVAL);
    }
    for (const std::string& key :
         std::vector<std::string>{"-", "0", "00", k16 + "00", "xy" + k16.substr(2), k32 + k32 + "00", ":16",
                                  ":16:", ":16:logon", ":16:logon:", ":x:logon:a", ":16:nonsense:a",
                                  ":16:encrypted:a", ":16:trusted:a", ":99999999999:user:a"}) {
        INFO(key);
        CHECK(error("aes-ecb", key) == EINVAL);
    }
    CHECK(error("aes-ecb", ":16:logon:dmfs-nobody") == ENOKEY);
    CHECK(error("aes-ecb", ":16:user:dmfs-nobody") == ENOKEY);
    for (const char* rest :
         {"x a 0", "0 a x", "0 a 0 x", "0 a 0 10", "0 a 0 1", "0 a 0 1 nonsense", "0 a 0 1 sector_size:513",
          "0 a 0 1 sector_size:8192", "4 a 0 1 sector_size:4096", "0 a 4 1 sector_size:4096",
          "0 a 0 1 integrity:16:aead", "0 a 0 1 integrity:16", "0 a 0 1 integrity:0:none",
          "0 a 0 1 integrity_key_size:0", "0 a"}) {
        INFO(rest);
        CHECK(error("aes-ecb", k16, rest) == EINVAL);
    }
    CHECK(error("aes-ecb", k16, "0 nowhere 0") == ENOENT);
    CHECK(error("aes-cbc-lmk", k16, "0 a 0 1 sector_size:4096") == EINVAL);
    CHECK(error("aes-cbc-tcw", k64, "0 a 0 1 sector_size:4096") == EINVAL);
    CHECK(refusal("0 63 crypt aes-ecb " + k16 + " 0 a 0 1 sector_size:1024").error() == EINVAL);
    CHECK(refusal(row("aes-cbc-essiv:sha255", k16)).place().column == strlen("0 64 crypt aes-cbc-essiv:"));
    CHECK(refusal(row("aes-xts-plain64", k16 + "00")).remedy() == "32, 48 or 64 bytes");
}

TEST_CASE("a driver's name means the cipher, the mode or the hash that it computes") {
    const Bytes data = bytes_of_hex(k64 + k64 + k64 + k64 + k64 + k64 + k64 + k64);
    for (const auto& [name, same] : std::vector<std::pair<std::string, std::string>>{
             {"capi:xts-aes-aesni-plain64", "aes-xts-plain64"},
             {"capi:xts(aes-generic)-plain64", "aes-xts-plain64"},
             {"capi:xts-serpent-avx2-plain64", "serpent-xts-plain64"},
             {"capi:cbc-twofish-3way-plain", "twofish-cbc-plain"},
             {"capi:cbc(aes-aesni)-essiv:sha256-ni", "aes-cbc-essiv:sha256"},
             {"capi:essiv(cbc(aes),sha256-generic)-plain64", "aes-cbc-essiv:sha256"}}) {
        INFO(name);
        const std::string& key = same.find("xts") == std::string::npos ? k32 : k64;
        CHECK((encrypted(name, key, data, 5) == encrypted(same, key, data, 5)));
    }
    CHECK(parse_cipher("capi:xts-aes-aesni-plain64").text == "capi:xts-aes-aesni-plain64");
    for (const char* cipher : {"capi:xts-aes-plain64", "capi:aes-generic-plain64", "aes-generic-cbc-plain",
                               "capi:xts(aes-nonsense)-plain64", "capi:-generic-plain"})
        CHECK(refusal(row(cipher, k64)).error() != 0);
}

TEST_CASE("what only some kernels have is refused by its name") {
    for (const auto& [cipher, name] :
         std::vector<std::pair<std::string, std::string>>{{"aes-pcbc-plain64", "pcbc"},
                                                          {"capi:cts(cbc(aes))-plain64", "cts"},
                                                          {"capi:rfc3686(ctr(aes))-plain64", "rfc3686"},
                                                          {"capi:xctr(aes)-plain64", "xctr"},
                                                          {"fcrypt-cbc-plain64", "fcrypt"},
                                                          {"aes-cbc-essiv:streebog256", "streebog256"}}) {
        INFO(cipher);
        Refused refused = refusal(row(cipher, k32));
        CHECK(refused.error() == ENOENT);
        CHECK(refused.reason().find("'" + name + "', which some kernels have") != std::string::npos);
    }
}

TEST_CASE("essiv takes Whirlpool's short digests, as long as a key") {
    const Bytes data = bytes_of_hex(k64 + k64 + k64 + k64 + k64 + k64 + k64 + k64);
    CHECK(
        (encrypted("aes-cbc-essiv:wp256", k32, data, 5) != encrypted("aes-cbc-essiv:sha256", k32, data, 5)));
    CHECK(refusal(row("aes-cbc-essiv:wp384", k32)).error() == EINVAL);
}

TEST_CASE("no refusal has a key in it, wherever it stands") {
    const std::string key = "00112233445566778899aabbccddeeff";
    for (const std::string& table :
         {row("aes-ecb", key + "00"),
          row("aes-ecb", key.substr(0, 20) + "xyz" + key),
          row("nonsense-ecb", key),
          row("aes-ecb", "0x" + key),
          row("aes-ecb", key, "0 nowhere 0"),
          row("aes-ecb", key, "x a 0"),
          row("aes-ecb", key, "0 a 0 1 nonsense"),
          row("aes-ecb", key, "0 a 0 1 " + key),
          row(key, "aes-ecb"),
          row("aes-ecb", "0", key + " a 0"),
          row("aes-ecb", key, key + " a 0"),
          row("aes-ecb", key, "0 " + key + " 0"),
          row("aes-ecb", key, "0 a " + key),
          "0 64 crpyt aes-ecb " + key + " 0 a 0",
          "0 64 " + key,
          "0 x crypt aes-ecb " + key + " 0 a 0",
          "1 64 crypt aes-ecb " + key + " 0 a 0",
          key + " 0 a 0",
          "0 64 crypt aes-ecb " + key + " 0 a 0 # was " + key + "\n0 1 zero",
          row("aes-ecb", key) + " 1 sector_size:4096\n64 1 crypt aes-ecb " + key + " 0 a 64",
          "0 64 crypt aes:2-ecb " + key.substr(0, 14) + "\\ " + key + " 0 a 0"}) {
        std::string said = refusal(table).report("table");
        INFO(said);
        // Not even a piece of it.
        for (size_t at = 0; at + 8 <= key.size(); at++)
            CHECK(said.find(key.substr(at, 8)) == std::string::npos);
    }
}

TEST_CASE("the key can be exchanged while the volume is suspended, and only then") {
    const std::string other = "ffeeddccbbaa99887766554433221100";
    Encrypted crypt(row("aes-cbc-plain64", k16));
    Memory memory(bytes_of(64));
    auto reads = [&](const std::string& key) {
        if (crypt.io(bio_of(Op::read, 0, 64, &memory)) != kOk) return false;
        Bytes wanted(crypt.device.at(0), crypt.device.at(64));
        Converter(parse_cipher("aes-cbc-plain64"), {}, bytes_of_hex(key))
            .decrypt(wanted.data(), wanted.size(), 0);
        return memcmp(wanted.data(), memory.data(), wanted.size()) == 0;
    };
    auto refused = [&](const std::string& words) {
        try {
            crypt.tell(words);
        } catch (const Refused& refused) {
            INFO(refused.report("message"));
            CHECK(refused.report("message").find(other.substr(0, 8)) == std::string::npos);
            return refused.error();
        }
        return 0;
    };
    CHECK(reads(k16));
    CHECK(refused("key wipe") == EINVAL);
    CHECK(refused("key set " + other) == EINVAL);
    crypt.table->postsuspend();
    for (const std::string& words : std::vector<std::string>{
             "hello", "key", "key nonsense", "key set", "key wipe now", "key set " + other + "00",
             "key set -", "key set :16:logon:nobody " + other})
        CHECK(refused(words) == EINVAL);
    CHECK(refused("key set :16:logon:dmfs-nobody") == ENOKEY);
    CHECK(crypt.with_keys() == "aes-cbc-plain64 " + k16 + " 0 a 0");
    CHECK(refused("Key Set " + other) == 0);
    CHECK(test::run(crypt.executor, crypt.table->preresume(nullptr)));
    crypt.table->resume();
    CHECK(reads(other));
    CHECK(refused("key wipe") == EINVAL);
    crypt.table->postsuspend();
    CHECK(refused("key wipe") == 0);
    CHECK(crypt.with_keys() == "aes-cbc-plain64 " + std::string(32, '0') + " 0 a 0");
    CHECK(test::run(crypt.executor, crypt.table->preresume(nullptr)).why().error() == EAGAIN);
    Memory gone(bytes_of(1));
    for (Op op : {Op::read, Op::write, Op::write_zeroes})  // as when the mount ends
        CHECK(crypt.io(bio_of(op, 0, 1, op == Op::write_zeroes ? nullptr : &gone)) == Status(EIO));
    own_keyring().add("user", "test", parse_hex(k16));
    CHECK(refused("key set :16:user:test") == 0);
    own_keyring().remove("user", "test");
    CHECK(crypt.with_keys() == "aes-cbc-plain64 :16:user:test 0 a 0");
    CHECK(test::run(crypt.executor, crypt.table->preresume(nullptr)));
    CHECK(refused("key set " + other.substr(0, 30) + "xx") == EINVAL);  // as the kernel: no key is left
    CHECK(test::run(crypt.executor, crypt.table->preresume(nullptr)).why().error() == EAGAIN);
    CHECK(refused("key set " + k16) == 0);
    crypt.table->resume();
    CHECK(reads(k16));
}

TEST_CASE("what is explained is what happens") {
    Encrypted crypt("0 64 crypt aes-xts-plain64 " + k64 + " 1000 a 8");
    std::mt19937 random(5);
    Memory memory(bytes_of(64));
    for (int round = 0; round < 100; round++) {
        Op op = std::array{Op::read, Op::write, Op::discard, Op::write_zeroes, Op::flush}[random() % 5];
        Sector at = random() % 64, count = 1 + random() % (64 - at);
        if (op == Op::flush) at = count = 0;
        std::vector<FakeDevice::Seen> explained;
        crypt.target().explain(op, at, count, [&](const Step& step) {
            if (step.device != nullptr) explained.push_back({step.op, step.start, step.count, false});
        });
        crypt.device.forget();
        CHECK(crypt.io(bio_of(op, at, count, &memory)) == (op == Op::discard ? Status(EOPNOTSUPP) : kOk));
        CHECK(crypt.device.seen() == explained);
    }
    std::string runs;
    crypt.target().reverse(crypt.device, 0, 20, [&](const dmfs::Run& run) {
        runs += std::to_string(run.at) + "+" + std::to_string(run.count) + "@" + std::to_string(run.start);
    });
    CHECK(runs == "0+12@8");
}

// A sanitizer's memory takes too long to look through, and keeps what was freed.
#ifndef DMFS_SANITIZED

namespace {

// What is looked for is given changed, so that it is not found in itself.
constexpr std::byte kDisguise{0x55};

// Whether bytes hold `wanted`, taken out of its disguise.
bool are_in(const std::vector<char>& bytes, const Bytes& wanted) {
    auto same = [](char byte, std::byte disguised) {
        return static_cast<std::byte>(byte) == (disguised ^ kDisguise);
    };
    return std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end(), same) != bytes.end();
}

// Whether memory that this process may write holds these bytes, other than that which is
// kept out of core files.
bool in_memory(const Bytes& wanted) {
    constexpr size_t kWindow = 1 << 20;
    std::ifstream maps("/proc/self/smaps");
    std::ifstream memory("/proc/self/mem", std::ios::binary);
    std::string line;
    size_t from = 0, end = 0;
    while (std::getline(maps, line)) {
        size_t one = 0, two = 0;
        char mode[8] = {};
        if (sscanf(line.c_str(), "%zx-%zx %7s", &one, &two, mode) == 3) {
            from = one;
            end = mode[0] == 'r' && mode[1] == 'w' ? two : one;
        }
        if (!line.starts_with("VmFlags:") || line.find(" dd") != std::string::npos) continue;
        for (; from < end; from += kWindow) {
            std::vector<char> bytes(std::min(end - from, kWindow + wanted.size()));  // wiped when freed
            memory.clear();
            memory.seekg(static_cast<std::streamoff>(from));
            if (memory.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) &&
                are_in(bytes, wanted))
                return true;
        }
    }
    return false;
}

Bytes disguised(std::string_view text) {
    Bytes bytes;
    for (char c : text) bytes.push_back(static_cast<std::byte>(c) ^ kDisguise);
    return bytes;
}

// A key that stands nowhere in the program: made of another text.
std::string secret_digits() {
    std::string digits;
    digits.reserve(64);
    for (int i = 0; i < 64; i++) digits += "0123456789abcdef"[(i * 7 + i / 5 + 3) % 16];
    return digits;
}

}  // namespace

TEST_CASE("nothing of a key stays in memory but where it is kept") {
    Bytes wanted_text, wanted_bytes;
    {
        std::string digits = secret_digits();
        wanted_text = disguised(std::string_view(digits).substr(0, 24));
        Secret key = parse_hex(digits);
        wanted_bytes = disguised({reinterpret_cast<const char*>(key.bytes().data()), 16});
        REQUIRE(in_memory(wanted_text));  // it would be found
    }
    auto words = std::make_unique<std::string>(row("aes-xts-plain64", secret_digits()));
    wipe_stack();  // a thread begins with the registers of who makes it
    auto crypt = std::make_unique<Encrypted>(*words);
    words.reset();
    Memory memory(bytes_of(64));
    CHECK(crypt->io(bio_of(Op::write, 0, 64, &memory)) == kOk);
    CHECK_FALSE(crypt->printed().empty());
    CHECK(crypt->with_keys().find(secret_digits()) != std::string::npos);
    wipe_stack();  // of what this test has compared; the rest is the target's
    CHECK_FALSE(in_memory(wanted_text));
    CHECK_FALSE(in_memory(wanted_bytes));
    crypt->table->postsuspend();
    crypt->tell("key set " + secret_digits());
    crypt->tell("key wipe");
    crypt.reset();
    CHECK_FALSE(in_memory(wanted_text));
    CHECK_FALSE(in_memory(wanted_bytes));
}

#endif
