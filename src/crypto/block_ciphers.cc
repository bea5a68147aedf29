// The block ciphers, by Crypto++.
//
// Two of the library's habits are not ours:
//
// 1. Some of its objects keep round keys in blocks of the heap, which is neither locked
//    nor kept out of core files (aes, camellia, sm4). Housed moves these blocks: an
//    object with a key of zeros says how large they are; another one is given secret
//    memory of that size, which the library finds large enough and keeps.
// 2. Some compute in memory of the object although it is const (sm4, cast5, cast6; aes on
//    processors without AES instructions), so two threads must not use it at once.
//    Such a cipher has several objects, Lanes, and each call takes one of its own.
//
// And a key's first use leaves it on the stack: the library's own copies, and all registers,
// which the dynamic linker saves at the first call of each function. So a cipher is used
// once when it is made, and then the stack below is wiped.

#include <crypto++/blowfish.h>
#include <crypto++/camellia.h>
#include <crypto++/cast.h>
#include <crypto++/cpu.h>
#include <crypto++/des.h>
#include <crypto++/rijndael.h>
#include <crypto++/seed.h>
#include <crypto++/serpent.h>
#include <crypto++/sm4.h>
#include <crypto++/twofish.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "crypto/aes_fast.h"
#include "crypto/block_ciphers.h"

namespace dmfs {

namespace {

using Bytes = std::span<const std::byte>;

const CryptoPP::byte* raw(const std::byte* bytes) { return reinterpret_cast<const CryptoPP::byte*>(bytes); }
CryptoPP::byte* raw(std::byte* bytes) { return reinterpret_cast<CryptoPP::byte*>(bytes); }

// A block of the library's, opened.
template <class Block>
struct Opened : Block {
    using Block::m_ptr;
    using Block::m_size;
};
template <class Block>
auto& pointer_of(Block& block) {
    return block.*(&Opened<Block>::m_ptr);
}
template <class Block>
auto& size_of(Block& block) {
    return block.*(&Opened<Block>::m_size);
}

// The library's object, by a class that names its blocks of the heap: blocks(visit).
template <class Keyed>
class Housed : public Keyed {
  public:
    // The destructor also runs if this throws, since an object was already made.
    explicit Housed(Bytes key) : Housed() {
        Keyed sample;
        std::array<CryptoPP::byte, 64> zeros{};
        sample.SetKey(zeros.data(), key.size());
        size_t sizes[kMost] = {}, next = 0;
        sample.blocks([&](auto& block) { sizes[next++] = block.size(); });
        next = 0;
        this->blocks([&](auto& block) {
            homes_[next] = Secret(std::max<size_t>(sizes[next], 1) * sizeof(*block.data()));
            place(block, homes_[next].bytes().data(), sizes[next]);
            next++;
        });
        this->SetKey(raw(key.data()), key.size());
        next = 0;
        this->blocks([&](auto& block) {
            if (!is_at_home(block, next++))
                throw std::logic_error("a cipher's round keys are not in secret memory");
        });
    }
    Housed(const Housed&) = delete;
    Housed& operator=(const Housed&) = delete;
    // Takes them away before the library would free them.
    ~Housed() {
        size_t next = 0;
        this->blocks([&](auto& block) {
            if (is_at_home(block, next++)) place(block, nullptr, 0);
        });
    }

  private:
    static constexpr size_t kMost = 2;

    Housed() = default;
    template <class Block>
    static void place(Block& block, std::byte* memory, size_t size) {
        pointer_of(block) = reinterpret_cast<decltype(block.data())>(memory);
        size_of(block) = size;
    }
    template <class Block>
    bool is_at_home(Block& block, size_t i) {
        return block.data() != nullptr &&
               reinterpret_cast<std::byte*>(block.data()) == homes_[i].bytes().data();
    }

    std::array<Secret, kMost> homes_;
};

template <class Object>
struct RijndaelBlocks : Object {
    template <class Visit>
    void blocks(Visit visit) {
        visit(this->m_key);
        visit(this->m_aliasBlock);
    }
};
template <class Object>
struct CamelliaBlocks : Object {
    template <class Visit>
    void blocks(Visit visit) {
        visit(this->m_key);
    }
};
template <class Object>
struct Sm4Blocks : Object {
    template <class Visit>
    void blocks(Visit visit) {
        visit(this->m_rkeys);
        visit(this->m_wspace);
    }
};

// The library's object, whose round keys are all within it.
template <class Object>
struct Inline : Object {
    explicit Inline(Bytes key) { this->SetKey(raw(key.data()), key.size()); }
};

// Objects of which each call takes one, if they compute in themselves.
template <class Object, size_t kCount>
class Lanes {
  public:
    explicit Lanes(Bytes key) {
        for (SecretPtr<Lane>& lane : lanes_) lane = make_secret<Lane>(key);
    }

    void run(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const {
        if constexpr (kCount == 1)
            return process(lanes_[0]->object, in, mask, out, blocks);
        else
            for (size_t at = 0;; at = (at + 1) % kCount) {
                Lane& lane = *lanes_[at];
                if (!lane.taken.test_and_set(std::memory_order_acquire)) {
                    process(lane.object, in, mask, out, blocks);
                    lane.taken.clear(std::memory_order_release);
                    return;
                }
                if (at == kCount - 1) std::this_thread::yield();
            }
    }

  private:
    struct Lane {
        explicit Lane(Bytes key) : object(key) {}
        Object object;
        std::atomic_flag taken = ATOMIC_FLAG_INIT;
    };

    static void process(const Object& object, const std::byte* in, const std::byte* mask, std::byte* out,
                        size_t blocks) {
        using Transformation = CryptoPP::BlockTransformation;
        static_cast<const Transformation&>(object).AdvancedProcessBlocks(
            raw(in), raw(mask), raw(out), blocks * Object::BLOCKSIZE, Transformation::BT_AllowParallel);
    }

    std::array<SecretPtr<Lane>, kCount> lanes_;
};

template <class Encryption, class Decryption, size_t kLanes>
class CryptoppCipher final : public BlockCipher {
  public:
    explicit CryptoppCipher(Bytes key) : encryption_(key), decryption_(key) {}

    size_t block_bytes() const override { return Encryption::BLOCKSIZE; }
    void encrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const override {
        encryption_.run(in, mask, out, blocks);
    }
    void decrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const override {
        decryption_.run(in, mask, out, blocks);
    }

  private:
    Lanes<Encryption, kLanes> encryption_;
    Lanes<Decryption, kLanes> decryption_;
};

constexpr size_t kManyLanes = 8;  // more threads than that in one cipher wait for one another

template <class Cipher>
[[gnu::noinline]] SecretPtr<Cipher> make_and_use(Bytes key) {
    constexpr size_t kBlocks = 65;  // some many at once, and one
    std::byte data[kBlocks * 16] = {}, mask[kBlocks * 16] = {};
    SecretPtr<Cipher> cipher = make_secret<Cipher>(key);
    for (const std::byte* masked :
         {static_cast<const std::byte*>(nullptr), static_cast<const std::byte*>(mask)}) {
        cipher->encrypt(data, masked, data, kBlocks);
        cipher->decrypt(data, masked, data, kBlocks);
    }
    return cipher;
}

template <class Cipher>
SecretPtr<BlockCipher> make_used(Bytes key) {
    SecretPtr<BlockCipher> cipher = make_and_use<Cipher>(key);
    wipe_stack();
    return cipher;
}

template <class Algorithm, size_t kLanes = 1>
SecretPtr<BlockCipher> make(Bytes key) {
    using Encryption = Inline<typename Algorithm::Encryption>;
    using Decryption = Inline<typename Algorithm::Decryption>;
    return make_used<CryptoppCipher<Encryption, Decryption, kLanes>>(key);
}

template <class Algorithm, template <class> class Blocks, size_t kLanes = 1>
SecretPtr<BlockCipher> make_housed(Bytes key) {
    using Encryption = Housed<Blocks<typename Algorithm::Encryption>>;
    using Decryption = Housed<Blocks<typename Algorithm::Decryption>>;
    return make_used<CryptoppCipher<Encryption, Decryption, kLanes>>(key);
}

// Any length up to 32 stands for itself, a one and zeros; so Serpent's paper has it,
// while the library takes only some lengths.
SecretPtr<BlockCipher> make_serpent(Bytes key) {
    Secret whole(32);
    std::ranges::copy(key, whole.bytes().begin());
    if (key.size() < 32) whole.bytes()[key.size()] = std::byte{1};
    return make<CryptoPP::Serpent>(whole.bytes());
}

// Linux' cipher_null: everything is as it was.
class NullCipher final : public BlockCipher {
  public:
    size_t block_bytes() const override { return 1; }
    void encrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const override {
        for (size_t i = 0; i < blocks; i++) out[i] = mask == nullptr ? in[i] : in[i] ^ mask[i];
    }
    void decrypt(const std::byte* in, const std::byte* mask, std::byte* out, size_t blocks) const override {
        encrypt(in, mask, out, blocks);
    }
};

SecretPtr<BlockCipher> make_null(Bytes) { return make_secret<NullCipher>(); }

}  // namespace

SecretPtr<BlockCipher> make_cryptopp_aes(Bytes key) {
    if (CryptoPP::HasAESNI()) return make_housed<CryptoPP::Rijndael, RijndaelBlocks>(key);
    return make_housed<CryptoPP::Rijndael, RijndaelBlocks, kManyLanes>(key);
}

namespace {

SecretPtr<BlockCipher> make_aes(Bytes key) {
    AesWay way = best_aes_way();
    return way == AesWay::none ? make_cryptopp_aes(key) : make_fast_aes(way, key);
}

}  // namespace

const std::vector<CipherType>& cipher_types() {
    // The lengths of keys are those that Linux takes.
    static const std::vector<CipherType> types = {
        {"aes", 16, 16, 32, 8, make_aes},
        {"serpent", 16, 0, 32, 1, make_serpent},
        {"twofish", 16, 16, 32, 8, make<CryptoPP::Twofish>},
        {"camellia", 16, 16, 32, 8, make_housed<CryptoPP::Camellia, CamelliaBlocks>},
        {"cast5", 8, 5, 16, 1, make<CryptoPP::CAST128, kManyLanes>},
        {"cast6", 16, 16, 32, 4, make<CryptoPP::CAST256, kManyLanes>},
        {"blowfish", 8, 4, 56, 1, make<CryptoPP::Blowfish>},
        {"des3_ede", 8, 24, 24, 0, make<CryptoPP::DES_EDE3>},
        {"des", 8, 8, 8, 0, make<CryptoPP::DES>},
        {"sm4", 16, 16, 16, 0, make_housed<CryptoPP::SM4, Sm4Blocks, kManyLanes>},
        {"seed", 16, 16, 16, 0, make<CryptoPP::SEED>},
        {"cipher_null", 1, 0, 0, 0, make_null},
        {"xchacha12,aes", 16, 32, 32, 0, nullptr},
        {"xchacha20,aes", 16, 32, 32, 0, nullptr},
    };
    return types;
}

const CipherType* find_cipher(std::string_view name) {
    auto at = std::ranges::find(cipher_types(), name, &CipherType::name);
    return at == cipher_types().end() ? nullptr : &*at;
}

}  // namespace dmfs
