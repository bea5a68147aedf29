// Where keys are after a cipher was made: nowhere but in secret memory.

#include "base/sanitized.h"

// A sanitizer's memory takes too long to look through, and keeps what was freed.
#ifndef DMFS_SANITIZED

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>

#include "catch.h"
#include "crypto/block_ciphers.h"
#include "crypto/cipher.h"
#include "crypto/support.h"

namespace dmfs {

namespace {

// A key with each bit turned, so that looking for it does not find what is looked for.
struct Sought {
    Sought() = default;
    explicit Sought(std::span<const std::byte> key) {
        for (size_t i = 0; i < turned.size(); i++) turned[i] = ~key[i];
    }
    bool is_at(const std::byte* memory) const {
        for (size_t i = 0; i < turned.size(); i++)
            if (memory[i] != ~turned[i]) return false;
        return true;
    }
    std::array<std::byte, 16> turned{};
};

struct Found {
    size_t in_secrets = 0, elsewhere = 0;
};

struct Range {
    std::byte* from;
    std::byte* to;
};

// Looks through a mapping; secrets are those that are in no core file (dd).
void look_in(Range range, bool secret, const Sought& key, Found& found) {
    for (std::byte* at = range.from; at + 16 <= range.to; at += 4)
        if (key.is_at(at)) (secret ? found.in_secrets : found.elsewhere)++;
}

// All that this process may write.
Found look_for(const Sought& key) {
    Found found;
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    Range range{};
    bool readable = false;
    while (std::getline(maps, line)) {
        if (line.find("VmFlags:") == 0) {
            if (readable) look_in(range, line.find(" dd") != std::string::npos, key, found);
            continue;
        }
        std::istringstream words(line);
        uintptr_t from = 0, to = 0;
        char dash = 0;
        std::string rights;
        if (words >> std::hex >> from >> dash >> to >> rights && dash == '-') {
            range = {reinterpret_cast<std::byte*>(from), reinterpret_cast<std::byte*>(to)};
            readable = rights.substr(0, 2) == "rw";
        }
    }
    return found;
}

// A key that was never anywhere but in secret memory.
Secret random_secret(size_t bytes) {
    Secret key(bytes);
    std::ifstream("/dev/urandom")
        .rdbuf()
        ->sgetn(reinterpret_cast<char*>(key.bytes().data()), static_cast<std::streamsize>(bytes));
    return key;
}

}  // namespace

TEST_CASE("no copy of a key is left outside of secret memory") {
    for (const CipherType& cipher : cipher_types())
        for (const ModeType& mode : mode_types()) {
            if (!mode.takes_cipher(cipher) || cipher.most_key_bytes < 16) continue;
            INFO(mode.name << " of " << cipher.name);
            size_t key_bytes = cipher.most_key_bytes;
            if (mode.name == "xts") key_bytes *= 2;
            if (mode.name == "lrw") key_bytes += 16;
            Secret key = random_secret(key_bytes);
            Sought begin(key.bytes()), end(key.bytes().last(16));
            SecretPtr<SectorCipher> made = mode.make(cipher, key.bytes());
            Found found = look_for(begin);
            CHECK(found.in_secrets >= 1);
            CHECK(found.elsewhere == 0);
            CHECK(look_for(end).elsewhere == 0);
        }
}

TEST_CASE("the round keys of AES are in secret memory and nowhere else") {
    // FIPS 197, A.3: the key, and the last round's, turned.
    std::vector<std::byte> key =
        test::unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    Sought last;
    std::ranges::copy(test::unhex("01b76f2e19e772f4fb920cbb8f939ce1"), last.turned.begin());
    for (bool cryptopp : {false, true}) {
        INFO((cryptopp ? "by Crypto++" : "in the fastest way"));
        SecretPtr<BlockCipher> made = cryptopp ? make_cryptopp_aes(key) : find_cipher("aes")->make(key);
        Found found = look_for(last);
        CHECK(found.in_secrets >= 1);
        CHECK(found.elsewhere == 0);
    }
}

}  // namespace dmfs

#endif
