#include "targets/crypt/spec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <vector>

#include "base/words.h"

namespace dmfs::crypt {

namespace {

constexpr unsigned kMostKeys = 1 << 16;
constexpr size_t kMostEssiv = 4;
constexpr unsigned kLmkKeys = 64;
constexpr size_t kLmkMostIv = 16;  // an MD5 digest
constexpr size_t kTcwWhitening = 16;
constexpr size_t kMostElephant = 32;

struct IvName {
    std::string_view name;
    IvKind kind;
};

constexpr std::array<IvName, 10> kIvs{{
    {"plain", IvKind::plain},
    {"plain64", IvKind::plain64},
    {"plain64be", IvKind::plain64be},
    {"essiv", IvKind::plain64},  // and the mode encrypts it
    {"benbi", IvKind::benbi},
    {"null", IvKind::null},
    {"lmk", IvKind::lmk},
    {"tcw", IvKind::tcw},
    {"eboiv", IvKind::eboiv},
    {"elephant", IvKind::elephant},
}};

// The crypto API's modes that keep a tag beside the data.
constexpr std::array<std::string_view, 8> kAuthenticated{"gcm",     "ccm",        "authenc",  "authencesn",
                                                         "rfc7539", "rfc7539esp", "aegis128", "morus640"};

// What some kernels have besides; a refusal says so.
constexpr std::array<std::string_view, 8> kOtherCiphers{"aria", "anubis", "khazad", "tea",
                                                        "xtea", "xeta",   "fcrypt", "arc4"};
constexpr std::array<std::string_view, 8> kOtherModes{"pcbc",  "cts", "xctr", "rfc3686",
                                                      "hctr2", "kw",  "ofb",  "cfb"};
constexpr std::array<std::string_view, 2> kOtherHashes{"streebog256", "streebog512"};

// Parts of the names that drivers have: implementations of a cipher, a mode of it or a hash,
// which all compute the same.
constexpr std::array<std::string_view, 18> kDrivers{
    "generic",   "aesni", "vaes", "asm",   "sse2", "ssse3", "avx",  "avx2", "avx10_256",
    "avx10_512", "3way",  "ni",   "fixed", "time", "ce",    "neon", "arm",  "arm64"};

// "aes" of "aes-generic" or "aes-aesni-avx"; anything else as it is.
std::string_view without_driver(std::string_view name) {
    for (size_t dash; (dash = name.rfind('-')) != std::string_view::npos && dash > 0;) {
        if (std::ranges::find(kDrivers, name.substr(dash + 1)) == kDrivers.end()) break;
        name = name.substr(0, dash);
    }
    return name;
}

template <class List>
std::string names_of(const List& list) {
    std::string names;
    for (const auto& each : list) names += (names.empty() ? "" : ", ") + std::string(each.name);
    return names;
}

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) { spec_.text = text; }

    CipherSpec parse() {
        if (text_.starts_with("capi:"))
            by_api(text_.substr(5));
        else
            by_parts();
        return std::move(spec_);
    }

  private:
    // A piece of the text, up to `end` or all of it; nothing if there is none. Takes it away.
    static std::optional<std::string_view> take(std::optional<std::string_view>& rest, char end) {
        if (!rest) return std::nullopt;
        std::string_view all = *rest;
        size_t length = std::min(all.find(end), all.size());
        if (length == all.size())
            rest.reset();
        else
            rest = all.substr(length + 1);
        return all.substr(0, length);
    }

    // CIPHER[:KEYS]-MODE-IV[:OPTION]
    void by_parts() {
        if (size_t at = text_.find('('); at != std::string_view::npos)
            throw refuse(EINVAL, text_.substr(at, 1),
                         "a name of the crypto API stands behind capi:", "capi:NAME-IV, or CIPHER-MODE-IV");
        std::optional<std::string_view> rest = text_;
        std::optional<std::string_view> keys = take(rest, '-');
        std::string_view cipher = *take(keys, ':');
        if (keys) count_keys(*keys);
        std::optional<std::string_view> mode = take(rest, '-');
        std::optional<std::string_view> iv = take(rest, ':');
        if (!mode || (*mode == "plain" && !iv)) {
            mode = "cbc";
            iv = "plain";
        }
        if (*mode != "ecb" && !iv)
            throw refuse(EINVAL, text_, "the mode " + std::string(*mode) + " needs vectors",
                         "CIPHER-MODE-IV, IV one of " + names_of(kIvs));
        find_essiv(iv, rest);
        find(*mode, cipher, text_);
        find_iv(iv);
    }

    void count_keys(std::string_view word) {
        std::optional<uint64_t> count = parse_decimal(word);
        if (!count || *count > kMostKeys || !std::has_single_bit(*count))
            throw refuse(EINVAL, word, "'" + std::string(word) + "' is no number of keys",
                         "1, 2, 4, ... " + std::to_string(kMostKeys));
        spec_.keys = static_cast<unsigned>(*count);
    }

    // NAME-IV[:OPTION]; the ends are sought from behind, since a hash has dashes, too.
    void by_api(std::string_view name) {
        std::optional<std::string_view> iv, option;
        if (size_t at = name.rfind(':'); at != std::string_view::npos) {
            option = name.substr(at + 1);
            name = name.substr(0, at);
        }
        if (size_t at = name.rfind('-'); at != std::string_view::npos) {
            iv = name.substr(at + 1);
            name = name.substr(0, at);
        }
        if (iv == "lmk") spec_.keys = kLmkKeys;
        find_essiv(iv, option);
        find_by_api(name);
        find_iv(iv);
        if (spec_.iv_bytes() != 0 && spec_.iv == IvKind::none)
            throw refuse(EINVAL, text_, "the mode " + std::string(spec_.mode->name) + " needs vectors",
                         "capi:NAME-IV, IV one of " + names_of(kIvs));
    }

    // mode(cipher), essiv(mode(cipher),hash)
    void find_by_api(std::string_view name) {
        while (name.starts_with("essiv(") && name.ends_with(")")) {
            if (spec_.essiv.size() == kMostEssiv)
                throw refuse(ENOENT, name.substr(0, name.find('(')), "essiv stands in essiv too often",
                             "essiv(MODE(CIPHER),HASH)");
            std::string_view both = name.substr(6, name.size() - 7);
            size_t comma = both.rfind(',');
            if (comma == std::string_view::npos)
                throw refuse(ENOENT, name, "essiv(...) names no hash", "essiv(MODE(CIPHER),HASH)");
            find_hash_named(both.substr(comma + 1));
            name = both.substr(0, comma);
        }
        size_t open = name.find('(');
        std::string_view mode = name.substr(0, open);
        if (open == std::string_view::npos) return find_by_driver(name);
        if (std::ranges::find(kAuthenticated, mode) != kAuthenticated.end()) throw keeps_tags(mode);
        if (!name.ends_with(")")) throw no_mode_of_a_cipher(name);
        std::string_view cipher = name.substr(open + 1, name.size() - open - 2);
        find(mode, mode == "adiantum" ? cipher : without_driver(cipher), name);
    }

    // mode-cipher-driver, such as xts-aes-aesni
    void find_by_driver(std::string_view name) {
        std::string_view plain = without_driver(name);
        size_t dash = plain.find('-');
        if (std::ranges::find(kAuthenticated, name) != kAuthenticated.end()) throw keeps_tags(name);
        if (plain.size() == name.size() || dash == std::string_view::npos) throw no_mode_of_a_cipher(name);
        find(plain.substr(0, dash), plain.substr(dash + 1), name);
    }

    Refused no_mode_of_a_cipher(std::string_view name) const {
        return refuse(ENOENT, name, "'" + std::string(name) + "' is no cipher in a mode",
                      "MODE(CIPHER), as xts(aes)");
    }

    Refused keeps_tags(std::string_view mode) const {
        return refuse(EINVAL, mode,
                      std::string(mode) +
                          " keeps tags beside the data: that comes with the target integrity, which there "
                          "is not yet",
                      "a mode without them: " + names_of(mode_types()));
    }

    // What there is not here, and what may be in a kernel.
    template <class Others>
    static std::string absent(const char* what, std::string_view name, const Others& others) {
        std::string text = std::string("no ") + what + " '" + std::string(name) + "'";
        if (std::ranges::find(others, name) != others.end()) text += ", which some kernels have";
        return text;
    }

    void find_essiv(const std::optional<std::string_view>& iv,
                    const std::optional<std::string_view>& option) {
        if (iv != "essiv") return;
        if (!option) throw refuse(EINVAL, *iv, "essiv needs a hash", "essiv:sha256");
        find_hash_named(*option);
    }

    void find_hash_named(std::string_view name) {
        const HashType* hash = find_hash(name);
        if (hash == nullptr) hash = find_hash(without_driver(name));
        if (hash == nullptr)
            throw refuse(ENOENT, name, absent("hash", name, kOtherHashes),
                         "one of " + names_of(hash_types()));
        spec_.essiv.push_back(hash);
    }

    void find(std::string_view mode, std::string_view cipher, std::string_view both) {
        if (std::ranges::find(kOtherModes, mode) != kOtherModes.end())  // of what it has in brackets
            throw refuse(ENOENT, mode, absent("mode", mode, kOtherModes), "one of " + names_of(mode_types()));
        spec_.cipher = find_cipher(cipher);
        if (spec_.cipher == nullptr)
            throw refuse(ENOENT, cipher, absent("cipher", cipher, kOtherCiphers),
                         "one of " + names_of(cipher_types()));
        spec_.mode = find_mode(mode);
        if (spec_.mode == nullptr)
            throw refuse(ENOENT, mode, "no mode '" + std::string(mode) + "'",
                         "one of " + names_of(mode_types()));
        if (!spec_.mode->takes_cipher(*spec_.cipher)) {
            bool names_two =
                mode == "adiantum" || spec_.cipher->make == nullptr;  // a stream and a block cipher
            throw refuse(names_two ? ENOENT : EINVAL, both,
                         "there is no " + std::string(mode) + " of " + std::string(cipher), takers(mode));
        }
        for (const HashType* hash : spec_.essiv)
            if (spec_.iv_bytes() != spec_.cipher->block_bytes || !spec_.cipher->takes_key(hash->digest_bytes))
                throw refuse(EINVAL, both,
                             "essiv encrypts vectors with a hash as key, and " + std::string(hash->name) +
                                 " has " + std::to_string(hash->digest_bytes) + " bytes",
                             "a hash as long as a key of " + std::string(cipher) + ", as sha256 for aes");
    }

    std::string takers(std::string_view mode) const {
        std::string names;
        for (const CipherType& each : cipher_types())
            if (spec_.mode->takes_cipher(each)) names += (names.empty() ? "" : ", ") + std::string(each.name);
        return std::string(mode) + " is there of " + names;
    }

    // A mode without vectors is not told of any.
    void find_iv(const std::optional<std::string_view>& iv) {
        if (!iv || spec_.iv_bytes() == 0) return;
        if (*iv == "random")
            throw refuse(EINVAL, *iv,
                         "random vectors are kept beside the data: that comes with the target integrity, "
                         "which there is not yet",
                         "one of " + names_of(kIvs));
        auto found = std::ranges::find(kIvs, *iv, &IvName::name);
        if (found == kIvs.end())
            throw refuse(EINVAL, *iv, "no vectors '" + std::string(*iv) + "'", "one of " + names_of(kIvs));
        spec_.iv = found->kind;
        // The kernel reads beyond the digest then.
        if (spec_.iv == IvKind::lmk && spec_.iv_bytes() > kLmkMostIv)
            throw refuse(EINVAL, *iv, "lmk has vectors of at most " + std::to_string(kLmkMostIv) + " bytes",
                         "cbc of a block cipher, as aes:64-cbc-lmk");
        bool encrypts = spec_.iv == IvKind::eboiv || spec_.iv == IvKind::elephant;
        if (encrypts && spec_.block_bytes() != spec_.iv_bytes())
            throw refuse(EINVAL, *iv, std::string(*iv) + " needs vectors as long as a block",
                         "a mode as cbc or xts");
    }

    // `part` is one of the text; a part that was filled in stands for all of it.
    Refused refuse(int error, std::string_view part, std::string reason, std::string remedy) const {
        bool inside = part.data() >= text_.data() && part.data() + part.size() <= text_.data() + text_.size();
        size_t column = inside && !part.empty() ? static_cast<size_t>(part.data() - text_.data()) : 0;
        size_t length = inside && !part.empty() ? part.size() : std::max<size_t>(text_.size(), 1);
        return Refused(error, std::move(reason), std::move(remedy))
            .at(Place{"cipher", 1, std::string(text_), column, length});
    }

    std::string_view text_;
    CipherSpec spec_;
};

}  // namespace

size_t CipherSpec::block_bytes() const { return mode->name == "ctr" ? 1 : cipher->block_bytes; }

CipherSpec parse_cipher(std::string_view text) { return Parser(text).parse(); }

KeyParts key_parts(const CipherSpec& spec, size_t key_bytes) {
    size_t extra = 0;
    if (spec.iv == IvKind::elephant) extra = key_bytes / 2;
    // loop-AES has a seed if one more key of the same length is there.
    if (spec.iv == IvKind::lmk && key_bytes % spec.keys != 0) extra = key_bytes / (spec.keys + 1);
    if (spec.iv == IvKind::tcw) extra = spec.iv_bytes() + kTcwWhitening;
    size_t each = extra < key_bytes ? (key_bytes - extra) / spec.keys : 0;
    // The seed stands where the next key would: what is left over follows it.
    return {each, extra, spec.iv == IvKind::lmk ? spec.keys * extra : key_bytes - extra};
}

bool takes_key(const CipherSpec& spec, size_t key_bytes) {
    KeyParts parts = key_parts(spec, key_bytes);
    if (!spec.mode->takes_key(*spec.cipher, parts.each)) return false;
    if (spec.iv == IvKind::tcw) return key_bytes > parts.extra;
    if (spec.iv != IvKind::elephant) return true;
    return parts.extra <= kMostElephant && find_cipher("aes")->takes_key(parts.extra);
}

std::string key_sizes(const CipherSpec& spec) {
    // One more key than there are, of the longest that a cipher and a mode take together.
    constexpr size_t kMost = 192, kShown = 6;
    std::vector<std::string> sizes;
    for (size_t bytes = 0, most = kMost * (spec.keys + 1); bytes <= most; bytes++) {
        // A rest that no key gets is taken, but not recommended.
        KeyParts parts = key_parts(spec, bytes);
        if (takes_key(spec, bytes) && parts.each * spec.keys + parts.extra == bytes)
            sizes.push_back(std::to_string(bytes));
    }
    if (sizes.empty()) return "none";
    if (sizes.size() > kShown) return sizes.front() + " to " + sizes.back();
    std::string text = sizes.front();
    for (size_t i = 1; i < sizes.size(); i++) text += (i + 1 == sizes.size() ? " or " : ", ") + sizes[i];
    return text;
}

}  // namespace dmfs::crypt
