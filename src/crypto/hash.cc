#include "crypto/hash.h"

#include <crypto++/blake2.h>
#define CRYPTOPP_ENABLE_NAMESPACE_WEAK 1
#include <crypto++/md4.h>
#include <crypto++/md5.h>
#include <crypto++/ripemd.h>
#include <crypto++/sha.h>
#include <crypto++/sha3.h>
#include <crypto++/sm3.h>
#include <crypto++/whrlpool.h>

#include <algorithm>

namespace dmfs {

namespace {

template <class Algorithm>
class CryptoppHash final : public Hash {
  public:
    size_t digest_bytes() const override { return Algorithm::DIGESTSIZE; }

    void update(std::span<const std::byte> bytes) override {
        algorithm_.Update(reinterpret_cast<const CryptoPP::byte*>(bytes.data()), bytes.size());
    }

    void finish(std::byte* digest) override { algorithm_.Final(reinterpret_cast<CryptoPP::byte*>(digest)); }

    std::unique_ptr<Hash> copy() const override { return std::make_unique<CryptoppHash>(*this); }

    void become(const Hash& other) override {
        algorithm_ = static_cast<const CryptoppHash&>(other).algorithm_;
    }

  private:
    Algorithm algorithm_;
};

// The library's BLAKE2 takes the length of the digest when it is made.
template <size_t kBytes>
struct Blake2b : CryptoPP::BLAKE2b {
    static constexpr int DIGESTSIZE = kBytes;
    Blake2b() : CryptoPP::BLAKE2b(false, kBytes) {}
};
template <size_t kBytes>
struct Blake2s : CryptoPP::BLAKE2s {
    static constexpr int DIGESTSIZE = kBytes;
    Blake2s() : CryptoPP::BLAKE2s(false, kBytes) {}
};

// The beginning of Whirlpool's digest: Linux' wp256 and wp384.
template <size_t kBytes>
struct ShortWhirlpool : CryptoPP::Whirlpool {
    static constexpr int DIGESTSIZE = kBytes;
    unsigned int DigestSize() const override { return kBytes; }
};

template <class Algorithm>
std::unique_ptr<Hash> make() {
    return std::make_unique<CryptoppHash<Algorithm>>();
}

template <class Algorithm>
HashType type(std::string_view name) {
    return {name, Algorithm::DIGESTSIZE, Algorithm::BLOCKSIZE, make<Algorithm>};
}

}  // namespace

const std::vector<HashType>& hash_types() {
    static const std::vector<HashType> types = {
        type<CryptoPP::Weak::MD4>("md4"),     type<CryptoPP::Weak::MD5>("md5"),
        type<CryptoPP::SHA1>("sha1"),         type<CryptoPP::SHA224>("sha224"),
        type<CryptoPP::SHA256>("sha256"),     type<CryptoPP::SHA384>("sha384"),
        type<CryptoPP::SHA512>("sha512"),     type<CryptoPP::SHA3_224>("sha3-224"),
        type<CryptoPP::SHA3_256>("sha3-256"), type<CryptoPP::SHA3_384>("sha3-384"),
        type<CryptoPP::SHA3_512>("sha3-512"), type<CryptoPP::RIPEMD160>("rmd160"),
        type<CryptoPP::Whirlpool>("wp512"),   type<CryptoPP::SM3>("sm3"),
        type<ShortWhirlpool<32>>("wp256"),    type<ShortWhirlpool<48>>("wp384"),
        type<Blake2b<20>>("blake2b-160"),     type<Blake2b<32>>("blake2b-256"),
        type<Blake2b<48>>("blake2b-384"),     type<Blake2b<64>>("blake2b-512"),
        type<Blake2s<16>>("blake2s-128"),     type<Blake2s<20>>("blake2s-160"),
        type<Blake2s<28>>("blake2s-224"),     type<Blake2s<32>>("blake2s-256"),
    };
    return types;
}

const HashType* find_hash(std::string_view name) {
    auto at = std::ranges::find(hash_types(), name, &HashType::name);
    return at == hash_types().end() ? nullptr : &*at;
}

}  // namespace dmfs
