#include "targets/crypt/converter.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>

namespace dmfs::crypt {

namespace {

// essiv(mode(cipher),hash): vectors are encrypted before the mode gets them, with the hash
// of the mode's key as their key.
class Essiv final : public SectorCipher {
  public:
    Essiv(SecretPtr<SectorCipher> mode, SecretPtr<BlockCipher> vectors)
        : mode_(std::move(mode)), vectors_(std::move(vectors)) {}

    size_t iv_bytes() const override { return mode_->iv_bytes(); }
    void encrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        std::array<std::byte, Run::kMost * kMostIv> encrypted;
        vectors_->encrypt(ivs, encrypted.data(), sectors);
        mode_->encrypt(in, out, sector_bytes, sectors, encrypted.data());
    }
    void decrypt(const std::byte* in, std::byte* out, size_t sector_bytes, size_t sectors,
                 const std::byte* ivs) const override {
        std::array<std::byte, Run::kMost * kMostIv> encrypted;
        vectors_->encrypt(ivs, encrypted.data(), sectors);
        mode_->decrypt(in, out, sector_bytes, sectors, encrypted.data());
    }

  private:
    SecretPtr<SectorCipher> mode_;
    SecretPtr<BlockCipher> vectors_;
};

SecretPtr<SectorCipher> make_cipher(const CipherSpec& spec, std::span<const std::byte> key) {
    SecretPtr<SectorCipher> made = spec.mode->make(*spec.cipher, key);
    // The innermost was named last.
    for (auto type = spec.essiv.rbegin(); type != spec.essiv.rend(); ++type) {
        Secret salt((*type)->digest_bytes);
        std::unique_ptr<Hash> hash = (*type)->make();
        hash->update(key);
        hash->finish(salt.bytes().data());
        made = make_secret<Essiv>(std::move(made), spec.cipher->make(salt.bytes()));
    }
    return made;
}

}  // namespace

Converter::Converter(const CipherSpec& spec, SectorForm form, std::span<const std::byte> key)
    : form_(form),
      shift_(form.iv_large ? static_cast<unsigned>(std::countr_zero(form.bytes)) - kSectorShift : 0) {
    assert(takes_key(spec, key.size()) && spec.iv_bytes() <= kMostIv);
    KeyParts parts = key_parts(spec, key.size());
    for (unsigned i = 0; i < spec.keys; i++)
        ciphers_.push_back(make_cipher(spec, key.subspan(i * parts.each, parts.each)));
    iv_ = make_iv(spec, key.subspan(parts.extra_at, parts.extra), *ciphers_.front());
}

// Sectors of one key, as many as fit a Run.
template <class Convert>
void Converter::each_run(std::byte* data, size_t bytes, Sector number, Convert convert) const {
    assert(bytes % form_.bytes == 0);
    const Sector step = sectors_in(form_.bytes);
    const size_t most = ciphers_.size() == 1 ? Run::kMost : 1;
    while (bytes > 0) {
        size_t count = std::min(bytes / form_.bytes, most);
        Run run{data, form_.bytes, count, number, step, shift_};
        convert(run, *ciphers_[number & (ciphers_.size() - 1)]);
        data += count * form_.bytes;
        bytes -= count * form_.bytes;
        number += count * step;
    }
}

void Converter::encrypt(const std::byte* in, std::byte* out, size_t bytes, Sector number) const {
    const std::byte* const start = out;
    each_run(out, bytes, number, [&](const Run& run, const SectorCipher& cipher) {
        encrypt_run(in + (run.data - start), run, cipher);
    });
    wipe_stack();  // of round keys
}

void Converter::decrypt(std::byte* data, size_t bytes, Sector number) const {
    each_run(data, bytes, number,
             [&](const Run& run, const SectorCipher& cipher) { decrypt_run(run, cipher); });
    wipe_stack();
}

void Converter::encrypt_run(const std::byte* in, const Run& run, const SectorCipher& cipher) const {
    std::array<std::byte, Run::kMost * kMostIv> ivs;
    if (iv_ && iv_->touches_data()) {  // the caller's data stay as they are
        memcpy(run.data, in, run.count * run.sector_bytes);
        in = run.data;
    }
    if (iv_) iv_->encrypting(run, ivs.data());
    cipher.encrypt(in, run.data, run.sector_bytes, run.count, ivs.data());
    if (iv_) iv_->encrypted(run);
}

void Converter::decrypt_run(const Run& run, const SectorCipher& cipher) const {
    std::array<std::byte, Run::kMost * kMostIv> ivs;
    if (iv_) iv_->decrypting(run, ivs.data());
    cipher.decrypt(run.data, run.data, run.sector_bytes, run.count, ivs.data());
    if (iv_) iv_->decrypted(run);
}

}  // namespace dmfs::crypt
