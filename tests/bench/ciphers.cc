// What ciphers do in a second, beside OpenSSL where it has the same: one request of 64 KiB
// after the other on one core, encrypted and decrypted in place, in sectors of 512 bytes and of
// 4 KiB. OpenSSL is used as a program would that cares: one context a key, a new IV a sector.
// Rounds take turns, so that a noisy neighbour meets both, and only time on a core counts;
// medians are printed.
//
//     ninja -C build tests/bench/ciphers && build/tests/bench/ciphers [WORD]
//
// WORD: only the rows that have it in their names.

#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "crypto/aes_fast.h"
#include "crypto/block_ciphers.h"
#include "crypto/modes.h"

using namespace dmfs;

namespace {

constexpr size_t kRequestBytes = 65536;
constexpr int kRounds = 21;
constexpr double kRoundTime = 0.008;

struct Case {
    std::string name;
    std::string_view mode, cipher;
    size_t key_bytes;
    const char* openssl = nullptr;             // its name for the same
    std::optional<AesWay> way = std::nullopt;  // aes in this way; none: by Crypto++
};

class Openssl {
  public:
    Openssl(const char* name, const std::vector<std::byte>& key, size_t iv_bytes) : iv_bytes_(iv_bytes) {
        std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> cipher(
            EVP_CIPHER_fetch(nullptr, name, nullptr), EVP_CIPHER_free);
        for (int encrypt : {0, 1}) {
            contexts_[encrypt] = EVP_CIPHER_CTX_new();
            if (cipher == nullptr ||
                EVP_CipherInit_ex(contexts_[encrypt], cipher.get(), nullptr,
                                  reinterpret_cast<const unsigned char*>(key.data()), nullptr, encrypt) != 1)
                std::abort();
            EVP_CIPHER_CTX_set_padding(contexts_[encrypt], 0);
        }
    }
    ~Openssl() {
        for (EVP_CIPHER_CTX* context : contexts_) EVP_CIPHER_CTX_free(context);
    }
    Openssl(const Openssl&) = delete;
    Openssl& operator=(const Openssl&) = delete;

    void run(bool encrypt, std::byte* data, size_t sector_bytes, const std::byte* ivs) const {
        EVP_CIPHER_CTX* context = contexts_[encrypt];
        for (size_t at = 0; at < kRequestBytes; at += sector_bytes, ivs += iv_bytes_) {
            auto* bytes = reinterpret_cast<unsigned char*>(data + at);
            int done = 0;
            if (EVP_CipherInit_ex(context, nullptr, nullptr, nullptr,
                                  reinterpret_cast<const unsigned char*>(ivs), -1) != 1 ||
                EVP_CipherUpdate(context, bytes, &done, bytes, static_cast<int>(sector_bytes)) != 1)
                std::abort();
        }
    }

  private:
    EVP_CIPHER_CTX* contexts_[2];
    size_t iv_bytes_;
};

SecretPtr<SectorCipher> make(const Case& of, const std::vector<std::byte>& key) {
    if (!of.way) return find_mode(of.mode)->make(*find_cipher(of.cipher), key);
    if (*of.way != AesWay::none) return make_fast_aes_xts(*of.way, key);
    std::span<const std::byte> whole = key;
    return make_xts(make_cryptopp_aes(whole.first(key.size() / 2)),
                    make_cryptopp_aes(whole.last(key.size() / 2)));
}

// Seconds in which this thread had a core.
double own_time() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Requests in some milliseconds, as MB/s.
template <class Request>
double rate(Request request) {
    double begin = own_time(), taken = 0;
    size_t requests = 0;
    do {
        for (int i = 0; i < 8; i++) request();
        requests += 8;
        taken = own_time() - begin;
    } while (taken < kRoundTime);
    return static_cast<double>(requests * kRequestBytes) / taken / 1e6;
}

double median(std::vector<double> values) {
    std::ranges::nth_element(values, values.begin() + static_cast<long>(values.size() / 2));
    return values[values.size() / 2];
}

// That both say the same, else no figure is worth anything.
void compare(const SectorCipher& ours, const Openssl& theirs, const std::vector<std::byte>& data,
             size_t sector_bytes, const std::byte* ivs) {
    std::vector<std::byte> mine = data, other = data;
    ours.encrypt(mine.data(), mine.data(), sector_bytes, kRequestBytes / sector_bytes, ivs);
    theirs.run(true, other.data(), sector_bytes, ivs);
    bool same = mine == other;
    ours.decrypt(mine.data(), mine.data(), sector_bytes, kRequestBytes / sector_bytes, ivs);
    theirs.run(false, other.data(), sector_bytes, ivs);
    if (same && mine == data && other == data) return;
    std::printf("differs from OpenSSL\n");
    std::exit(1);
}

void measure(const Case& of, size_t sector_bytes) {
    std::mt19937_64 random(1);
    std::vector<std::byte> key(of.key_bytes), data(kRequestBytes), ivs(kRequestBytes / sector_bytes * 32);
    for (auto* bytes : {&key, &data, &ivs})
        for (std::byte& byte : *bytes) byte = static_cast<std::byte>(random());
    SecretPtr<SectorCipher> ours = make(of, key);
    alignas(4096) static std::byte request[kRequestBytes];
    std::ranges::copy(data, request);
    std::unique_ptr<Openssl> theirs;
    if (of.openssl != nullptr) theirs = std::make_unique<Openssl>(of.openssl, key, ours->iv_bytes());
    if (theirs != nullptr) compare(*ours, *theirs, data, sector_bytes, ivs.data());

    size_t sectors = kRequestBytes / sector_bytes;
    std::vector<double> rates[4], ratios[2];
    for (int round = 0; round < kRounds; round++) {
        rates[0].push_back(rate([&] { ours->encrypt(request, request, sector_bytes, sectors, ivs.data()); }));
        if (theirs) rates[1].push_back(rate([&] { theirs->run(true, request, sector_bytes, ivs.data()); }));
        rates[2].push_back(rate([&] { ours->decrypt(request, request, sector_bytes, sectors, ivs.data()); }));
        if (theirs) rates[3].push_back(rate([&] { theirs->run(false, request, sector_bytes, ivs.data()); }));
        for (size_t i = 0; theirs && i < 2; i++)
            ratios[i].push_back(rates[2 * i].back() / rates[2 * i + 1].back());
    }
    std::printf("| %s | %zu | %.0f | %.0f |", of.name.c_str(), sector_bytes, median(rates[0]),
                median(rates[2]));
    if (theirs)
        std::printf(" %.0f | %.0f | %.2f | %.2f |\n", median(rates[1]), median(rates[3]), median(ratios[0]),
                    median(ratios[1]));
    else
        std::printf(" | | | |\n");
    std::fflush(stdout);
}

}  // namespace

int main(int count, char** words) {
    const Case cases[] = {
        {"aes-256-xts", "xts", "aes", 64, "AES-256-XTS"},
        {"aes-256-xts, AVX2", "xts", "aes", 64, "AES-256-XTS", AesWay::two_blocks},
        {"aes-256-xts, AES-NI", "xts", "aes", 64, "AES-256-XTS", AesWay::one_block},
        {"aes-256-xts, Crypto++", "xts", "aes", 64, "AES-256-XTS", AesWay::none},
        {"aes-128-xts", "xts", "aes", 32, "AES-128-XTS"},
        {"aes-256-cbc", "cbc", "aes", 32, "AES-256-CBC"},
        {"aes-256-ctr", "ctr", "aes", 32, "AES-256-CTR"},
        {"aes-256-lrw", "lrw", "aes", 48},
        {"adiantum, 12 rounds", "adiantum", "xchacha12,aes", 32},
        {"adiantum, 20 rounds", "adiantum", "xchacha20,aes", 32},
        {"serpent-256-xts", "xts", "serpent", 64},
        {"twofish-256-xts", "xts", "twofish", 64},
        {"camellia-256-xts", "xts", "camellia", 64},
        {"camellia-256-cbc", "cbc", "camellia", 32, "CAMELLIA-256-CBC"},
        {"cast6-256-xts", "xts", "cast6", 64},
        {"sm4-cbc", "cbc", "sm4", 16, "SM4-CBC"},
        {"sm4-ctr", "ctr", "sm4", 16, "SM4-CTR"},
        {"3des-cbc", "cbc", "des3_ede", 24, "DES-EDE3-CBC"},
        {"blowfish-cbc", "cbc", "blowfish", 16},
        {"cast5-cbc", "cbc", "cast5", 16},
    };
    std::printf(
        "MB/s. enc, dec: encrypted, decrypted.\n\n"
        "| cipher | sector | enc | dec | OpenSSL enc | dec | ratio enc | dec |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (const Case& each : cases)
        if (each.way && !has_way(*each.way))
            std::printf("| %s | this processor has not | | | | | | |\n", each.name.c_str());
        else if (count < 2 || each.name.find(words[1]) != std::string::npos)
            for (size_t sector_bytes : {512, 4096}) measure(each, sector_bytes);
}
