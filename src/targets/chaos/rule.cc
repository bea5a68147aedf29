#include "targets/chaos/rule.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/words.h"

namespace dmfs::chaos {

namespace {

constexpr unsigned kAnyOp = (1u << 5) - 1;

struct FaultForm {
    Fault fault;
    std::string_view name;
    unsigned ops;  // it can be a fault of
    unsigned default_ops;
};

constexpr unsigned kRead = bit_of(Op::read), kWrite = bit_of(Op::write);

constexpr std::array<FaultForm, 9> kFaults{{
    {Fault::error, "error", kAnyOp, kAnyOp},
    {Fault::torn, "torn", kWrite, kWrite},
    {Fault::lost, "lost", kAnyOp & ~kRead, kWrite},
    {Fault::misdirect, "misdirect", kRead | kWrite, kWrite},
    {Fault::stale, "stale", kRead, kRead},
    {Fault::flip, "flip", kRead | kWrite, kRead},
    {Fault::latent, "latent", kRead, kRead},
    {Fault::hang, "hang", kAnyOp, kAnyOp},
    {Fault::slow, "slow", kAnyOp, kAnyOp},
}};

constexpr std::array<std::string_view, 5> kOps{"read", "write", "flush", "discard", "zeroes"};

struct ErrorName {
    std::string_view name;
    int error;
};

// What the kernel's block layer makes of a device's answer (errno_to_blk_status).
constexpr std::array<ErrorName, 14> kErrors{{
    {"EIO", EIO},
    {"ENOSPC", ENOSPC},
    {"ETIMEDOUT", ETIMEDOUT},
    {"EREMOTEIO", EREMOTEIO},
    {"EILSEQ", EILSEQ},
    {"ENODATA", ENODATA},
    {"EBADE", EBADE},
    {"ENOLINK", ENOLINK},
    {"ENODEV", ENODEV},
    {"ENOMEM", ENOMEM},
    {"EBUSY", EBUSY},
    {"ETIME", ETIME},
    {"EINVAL", EINVAL},
    {"EOPNOTSUPP", EOPNOTSUPP},
}};

constexpr unsigned kMostBits = 1024;
constexpr uint64_t kMostDelayNs = 3'600'000'000'000;  // an hour

const FaultForm& form_of(Fault fault) { return kFaults[static_cast<size_t>(fault)]; }

template <class List>
std::string names_of(const List& list) {
    std::string names;
    for (const auto& each : list) names += (names.empty() ? "" : ", ") + std::string(each.name);
    return names;
}

std::string ops_text(unsigned ops) {
    if (ops == kAnyOp) return "any";
    std::string text;
    for (size_t i = 0; i < kOps.size(); i++)
        if ((ops >> i & 1) != 0) text += (text.empty() ? "" : "+") + std::string(kOps[i]);
    return text;
}

// A decimal fraction as an integer of 10^-digits; nothing if it is none, has more
// digits, or is beyond `most`.
std::optional<uint64_t> parse_fraction(std::string_view text, unsigned digits, uint64_t most) {
    size_t point = std::min(text.find('.'), text.size());
    std::optional<uint64_t> value = parse_decimal(text.substr(0, point));
    uint64_t unit = 1;
    for (unsigned i = 0; i < digits; i++) unit *= 10;
    if (!value || *value > most / unit) return std::nullopt;
    uint64_t result = *value * unit;
    if (point < text.size()) {
        std::string_view behind = text.substr(point + 1);
        if (behind.empty() || behind.size() > digits) return std::nullopt;
        for (char c : behind) {
            if (c < '0' || c > '9') return std::nullopt;
            unit /= 10;
            result += static_cast<uint64_t>(c - '0') * unit;
        }
    }
    if (result > most) return std::nullopt;
    return result;
}

std::string print_fraction(uint64_t value, unsigned digits) {
    std::string text = std::to_string(value);
    if (text.size() <= digits) text.insert(0, digits + 1 - text.size(), '0');
    text.insert(text.size() - digits, ".");
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
    return text;
}

// A piece of the word, and where it stands in it.
struct Piece {
    std::string_view text;
    size_t at = 0;

    // What stands in front of `c`; the rest stays. Without a `c`: all of it, and nothing stays.
    Piece take_until(char c) {
        size_t length = std::min(text.find(c), text.size());
        Piece piece{text.substr(0, length), at};
        size_t passed = std::min(length + 1, text.size());
        text.remove_prefix(passed);
        at += passed;
        return piece;
    }
};

class RuleParser {
  public:
    RuleParser(std::string_view word, const RuleGround& ground) : word_(word), ground_(ground) {}

    Rule parse() {
        Piece rest{word_, 0};
        Piece what = rest.take_until(',');
        name(what.take_until(':'));
        fault(what.take_until(':'));
        argument(what);
        while (!rest.text.empty()) condition(rest.take_until(','));
        if (word_.ends_with(','))
            throw refuse({word_.substr(word_.size() - 1), word_.size() - 1},
                         "a comma and no condition behind it", "nothing, or a condition");
        settle();
        return rule_;
    }

  private:
    Refused refuse(Piece piece, std::string reason, std::string remedy) const {
        // What is missing is missing where the piece would begin.
        size_t column = std::min(piece.at, word_.empty() ? 0 : word_.size() - 1);
        return Refused(EINVAL, std::move(reason), std::move(remedy))
            .at(Place{"rule", 1, std::string(word_), column, std::max<size_t>(piece.text.size(), 1)});
    }

    void name(Piece piece) {
        if (!good_name(piece.text))
            throw refuse(piece,
                         piece.text.empty() ? "a rule without a name"
                                            : "'" + std::string(piece.text) + "' is no name of a rule",
                         "NAME:FAULT, the name of letters, digits, _ - and ., at most 32");
        rule_.name = piece.text;
    }

    void fault(Piece piece) {
        for (const FaultForm& form : kFaults)
            if (form.name == piece.text) {
                rule_.fault = form.fault;
                rule_.ops = form.default_ops;
                fault_ = piece;
                return;
            }
        throw refuse(
            piece,
            piece.text.empty() ? "a rule without a fault" : "no fault '" + std::string(piece.text) + "'",
            "one of " + names_of(kFaults));
    }

    void argument(Piece piece) {
        bool given = piece.at > fault_.at + fault_.text.size();
        auto wrong = [&](std::string reason, std::string remedy) {
            return refuse(given ? piece : fault_, std::move(reason), std::move(remedy));
        };
        std::string text(piece.text);
        switch (rule_.fault) {
            case Fault::error: {
                if (!given) return;
                auto known = std::find_if(kErrors.begin(), kErrors.end(),
                                          [&](const ErrorName& each) { return each.name == text; });
                if (known == kErrors.end())
                    throw wrong("'" + text + "' is no error of a device", "one of " + names_of(kErrors));
                rule_.error = known->error;
                return;
            }
            case Fault::torn:
                if (given && text != "ok")
                    throw wrong("torn does not know '" + text + "'", "torn or torn:ok");
                rule_.acknowledged = given;
                return;
            case Fault::misdirect: {
                std::optional<uint64_t> distance = parse_decimal(text);
                if (!distance || *distance == 0 || *distance >= ground_.length ||
                    *distance % ground_.block != 0)
                    throw wrong("misdirect wants a distance within the row, in sectors" +
                                    (ground_.block > 1 ? ", a multiple of the device's block of " +
                                                             std::to_string(ground_.block)
                                                       : std::string()),
                                misdirect_remedy());
                rule_.distance = *distance;
                return;
            }
            case Fault::flip: {
                std::optional<uint64_t> bits = given ? parse_decimal(text) : 1;
                if (!bits || *bits < 1 || *bits > kMostBits)
                    throw wrong("flip wants a number of bits", "flip:1 to flip:" + std::to_string(kMostBits));
                rule_.bits = static_cast<unsigned>(*bits);
                return;
            }
            case Fault::slow: {
                std::optional<uint64_t> delay = parse_fraction(text, 6, kMostDelayNs);
                if (!delay || *delay == 0)
                    throw wrong("slow wants milliseconds", "slow:0.000001 to slow:3600000, such as slow:20");
                rule_.delay_ns = static_cast<int64_t>(*delay);
                return;
            }
            default:
                if (given)
                    throw wrong(std::string(fault_.text) + " has no argument", std::string(fault_.text));
        }
    }

    std::string misdirect_remedy() const {
        Sector most = (ground_.length - 1) / ground_.block * ground_.block;
        if (most == 0) return "a longer row";
        return "misdirect:" + std::to_string(ground_.block) + " to misdirect:" + std::to_string(most);
    }

    void condition(Piece piece) {
        Piece value = piece;
        Piece key = value.take_until('=');
        bool has_value = key.text.size() < piece.text.size();
        if (!has_value && piece.text == "always") return;
        if (!has_value && piece.text == "once") {
            note(key);
            rule_.times = 1;
            return;
        }
        note(key);
        if (key.text == "on")
            on(piece, value);
        else if (key.text == "sectors")
            sectors(value);
        else if (key.text == "from")
            rule_.since = count(value, "from");
        else if (key.text == "nth")
            rule_.nth = count(value, "nth");
        else if (key.text == "every")
            rule_.every = count(value, "every");
        else if (key.text == "times")
            rule_.times = count(value, "times");
        else if (key.text == "p")
            probability(value);
        else if (key.text == "after")
            rule_.after = named(value, "after", "a mark, such as after=go");
        else if (key.text == "mask")
            mask(value);
        else
            throw refuse(
                piece, "no condition '" + std::string(piece.text) + "'",
                "one of on=, sectors=, nth=, from=, every=, p=, after=, times=, mask=, once, always");
    }

    // Each condition once; `once` is times=1.
    void note(Piece key) {
        std::string_view same = key.text == "once" ? "times" : key.text;
        for (const Piece& each : said_)
            if ((each.text == "once" ? "times" : each.text) == same)
                throw refuse(key,
                             "'" + std::string(key.text) + "' comes behind '" + std::string(each.text) + "'",
                             "one of them");
        said_.push_back(key);
    }
    const Piece* said(std::string_view key) const {
        for (const Piece& each : said_)
            if (each.text == key) return &each;
        return nullptr;
    }

    void on(Piece whole, Piece value) {
        const FaultForm& form = form_of(rule_.fault);
        if (form.fault == Fault::latent)
            throw refuse(whole,
                         "latent sectors fail reads, and writes repair them: there is nothing to choose",
                         "no on=");
        rule_.ops = 0;
        if (value.text == "any") {
            rule_.ops = form.ops;
            return;
        }
        Piece rest = value;
        if (value.text.ends_with('+')) throw refuse(value, "a + and no request behind it", "on=read+write");
        do {
            Piece word = rest.take_until('+');
            auto known = std::find(kOps.begin(), kOps.end(), word.text);
            if (known == kOps.end())
                throw refuse(word, "no request '" + std::string(word.text) + "'",
                             "any, or some of read+write+flush+discard+zeroes");
            unsigned op = 1u << static_cast<unsigned>(known - kOps.begin());
            if ((form.ops & op) == 0)
                throw refuse(word, std::string(form.name) + " is no fault of a " + std::string(word.text),
                             ops_text(form.ops));
            rule_.ops |= op;
        } while (!rest.text.empty());
    }

    void sectors(Piece value) {
        Piece rest = value;
        Piece from = rest.take_until('+');
        bool has_count = rest.at > from.at + from.text.size();
        std::optional<uint64_t> first = parse_decimal(from.text);
        std::optional<uint64_t> many = has_count ? parse_decimal(rest.text) : 1;
        if (!first || !many || *many == 0)
            throw refuse(value, "'" + std::string(value.text) + "' are no sectors",
                         "FIRST or FIRST+COUNT, such as sectors=100+8");
        if (*first >= ground_.length || *many > ground_.length - *first)
            throw refuse(value, "sectors beyond the row, which has " + std::to_string(ground_.length),
                         *first < ground_.length
                             ? std::to_string(*first) + "+1 to " + std::to_string(*first) + "+" +
                                   std::to_string(ground_.length - *first)
                             : "0 to " + std::to_string(ground_.length - 1));
        rule_.everywhere = false;
        rule_.from = *first;
        rule_.end = *first + *many;
    }

    uint64_t count(Piece value, std::string_view key) const {
        std::optional<uint64_t> number = parse_decimal(value.text);
        if (!number || *number == 0)
            throw refuse(value, std::string(key) + " wants a number from 1 on", std::string(key) + "=1");
        return *number;
    }

    void probability(Piece value) {
        std::optional<uint64_t> p = parse_fraction(value.text, 9, Rule::kBillion);
        if (!p)
            throw refuse(value, "'" + std::string(value.text) + "' is no probability",
                         "0 to 1, with at most 9 digits behind the point, such as p=0.01");
        rule_.billionths = *p;
    }

    std::string named(Piece value, std::string_view key, std::string remedy) const {
        if (!good_name(value.text))
            throw refuse(value, std::string(key) + " wants a name", std::move(remedy));
        return std::string(value.text);
    }

    void mask(Piece value) {
        Piece rest = value;
        Piece name = rest.take_until('/');
        rule_.mask = named(name, "mask", "a name, such as mask=legs or mask=legs/8");
        if (rest.at == name.at + name.text.size()) return;
        std::optional<uint64_t> chunk = parse_decimal(rest.text);
        if (!chunk || *chunk == 0 || *chunk > UINT32_MAX)
            throw refuse(rest, "'" + std::string(rest.text) + "' is no chunk of a mask",
                         "1 to " + std::to_string(UINT32_MAX) + " sectors");
        rule_.mask_chunk = *chunk;
    }

    // What does not go together.
    void settle() const {
        if (rule_.fault == Fault::latent)
            for (std::string_view key : {"nth", "from", "every", "times", "once"})
                if (const Piece* piece = said(key))
                    throw refuse(*piece,
                                 "latent sectors are bad until they are written: requests are not counted",
                                 "sectors= and p= say which are bad");
        if (rule_.ops == bit_of(Op::flush))
            for (std::string_view key : {"sectors", "mask"})
                if (const Piece* piece = said(key))
                    throw refuse(*piece, "a flush has no sectors", "no " + std::string(key) + "=");
        if (rule_.nth == 0) return;
        for (std::string_view key : {"every", "from"})
            if (const Piece* piece = said(key))
                throw refuse(*piece, "'" + std::string(key) + "' and 'nth' do not go together",
                             "one of them");
    }

    std::string_view word_;
    RuleGround ground_;
    Rule rule_;
    Piece fault_;
    std::vector<Piece> said_;
};

std::string argument_text(const Rule& rule) {
    switch (rule.fault) {
        case Fault::error:
            return ":" + std::string(error_name(rule.error));
        case Fault::torn:
            return rule.acknowledged ? ":ok" : "";
        case Fault::misdirect:
            return ":" + std::to_string(rule.distance);
        case Fault::flip:
            return ":" + std::to_string(rule.bits);
        case Fault::slow:
            return ":" + print_fraction(static_cast<uint64_t>(rule.delay_ns), 6);
        default:
            return {};
    }
}

}  // namespace

std::string_view fault_name(Fault fault) { return form_of(fault).name; }

std::string_view op_name(Op op) { return kOps[static_cast<size_t>(op)]; }

std::string_view error_name(int error) {
    for (const ErrorName& each : kErrors)
        if (each.error == error) return each.name;
    return "?";
}

bool good_name(std::string_view name) {
    auto good = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '.';
    };
    return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), good);
}

Rule parse_rule(std::string_view word, const RuleGround& ground) { return RuleParser(word, ground).parse(); }

std::string print_rule(const Rule& rule) {
    const FaultForm& form = form_of(rule.fault);
    std::string text = rule.name + ":" + std::string(form.name) + argument_text(rule);
    auto say = [&](std::string_view key, const std::string& value) {
        text += "," + std::string(key) + "=" + value;
    };
    if (rule.ops != form.default_ops) say("on", rule.ops == form.ops ? "any" : ops_text(rule.ops));
    if (!rule.everywhere)
        say("sectors", std::to_string(rule.from) + "+" + std::to_string(rule.end - rule.from));
    if (rule.since != 0) say("from", std::to_string(rule.since));
    if (rule.nth != 0) say("nth", std::to_string(rule.nth));
    if (rule.every != 0) say("every", std::to_string(rule.every));
    if (rule.billionths != Rule::kBillion) say("p", print_fraction(rule.billionths, 9));
    if (!rule.after.empty()) say("after", rule.after);
    if (!rule.mask.empty())
        say("mask",
            rule.mask + (rule.mask_chunk == Rule::kMaskChunk ? std::string()
                                                             : "/" + std::to_string(rule.mask_chunk)));
    if (rule.times > 1) say("times", std::to_string(rule.times));
    if (rule.times == 1) text += ",once";
    return text;
}

}  // namespace dmfs::chaos
