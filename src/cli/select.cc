// --select: which volumes a command is about, by what their fields say.
//
//     selection:  all ( '||' all )*
//     all:        one ( '&&' one )*
//     one:        '!' one | '(' selection ')' | FIELD OPERATOR VALUE
//     operator:   =  !=  =~  !~  <  <=  >  >=
//
// A value ends at a blank or an operator, or stands between quotes. Numbers compare
// as numbers, =~ takes an extended regular expression.

#include <regex>

#include "base/words.h"
#include "cli/fields.h"

namespace dmfs::cli {

namespace {

constexpr size_t kDeepest = 100;  // nested parentheses

// Fields are whole numbers; of what they are compared with dmsetup drops a fraction.
std::optional<uint64_t> whole_part(std::string_view number) {
    const size_t point = number.find('.');
    if (point != std::string_view::npos &&
        number.find_first_not_of("0123456789", point + 1) != std::string_view::npos)
        return std::nullopt;
    return parse_decimal(number.substr(0, point));
}

class Selection {
  public:
    Selection(const std::string& text, Facts& facts) : text_(text), facts_(facts) {}

    bool matches() {
        bool result = any();
        if (skip_blanks() != text_.size()) refuse("words behind its end");
        return result;
    }

  private:
    bool any() {
        bool result = all();
        while (take("||") || take("#")) result |= all();
        return result;
    }

    bool all() {
        bool result = one();
        while (take("&&") || take(",")) result &= one();
        return result;
    }

    bool one() {
        if (++depth_ > kDeepest) refuse("too many parentheses");
        bool result;
        if (take("!")) {
            result = !one();
        } else if (take("(")) {
            result = any();
            if (!take(")")) refuse("a ')' is missing");
        } else {
            result = comparison();
        }
        depth_--;
        return result;
    }

    bool comparison() {
        size_t from = skip_blanks();
        while (at_ < text_.size() && (isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_'))
            at_++;
        std::string name = text_.substr(from, at_ - from);
        const Field* field = find_field(name);
        if (field == nullptr) {
            at_ = from;
            refuse(name.empty() ? "a field's name is missing" : "unknown field '" + name + "'");
        }
        for (const char* known : {"!=", "!~", "=~", "<=", ">=", "=", "<", ">"})
            if (take(known)) return compare(*field, known, value());
        refuse("an operator is missing: = != =~ !~ < <= > >=");
    }

    bool compare(const Field& field, std::string_view how, const std::string& wanted) {
        std::string found = field.value(facts_);
        if (how == "=~" || how == "!~") {
            try {
                bool match = std::regex_search(found, std::regex(wanted, std::regex::extended));
                return match == (how == "=~");
            } catch (const std::regex_error&) {
                refuse("'" + wanted + "' is no regular expression");
            }
        }
        int order = found.compare(wanted);
        if (field.number) {
            std::optional<uint64_t> a = parse_decimal(found), b = whole_part(wanted);
            if (!b) refuse(std::string(field.name) + " is a number, '" + wanted + "' is none");
            order = a.value_or(0) < *b ? -1 : a.value_or(0) > *b ? 1 : 0;
        }
        if (how == "=") return order == 0;
        if (how == "!=") return order != 0;
        if (how == "<") return order < 0;
        if (how == "<=") return order <= 0;
        return how == ">" ? order > 0 : order >= 0;
    }

    std::string value() {
        skip_blanks();
        std::string out;
        if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
            size_t end = text_.find(text_[at_], at_ + 1);
            if (end == std::string::npos) refuse("a quote is not closed");
            out = text_.substr(at_ + 1, end - at_ - 1);
            at_ = end + 1;
            return out;
        }
        while (at_ < text_.size() && std::string_view(" \t,#)").find(text_[at_]) == std::string_view::npos &&
               text_.compare(at_, 2, "&&") != 0 && text_.compare(at_, 2, "||") != 0)
            out += text_[at_++];
        return out;
    }

    size_t skip_blanks() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) at_++;
        return at_;
    }

    bool take(std::string_view token) {
        skip_blanks();
        if (text_.compare(at_, token.size(), token) != 0) return false;
        at_ += token.size();
        return true;
    }

    [[noreturn]] void refuse(const std::string& reason) const {
        throw Refused(EINVAL, reason, "`dmfs help -c` lists the fields")
            .at(Place{"--select", 1, text_, at_, 1});
    }

    const std::string& text_;
    Facts& facts_;
    size_t at_ = 0;
    size_t depth_ = 0;
};

}  // namespace

bool selected(const std::string& selection, Facts& facts) { return Selection(selection, facts).matches(); }

bool selected(Invocation& invocation, const std::string& name) {
    if (!invocation.options.select) return true;
    Facts facts(invocation, name);
    return selected(*invocation.options.select, facts);
}

}  // namespace dmfs::cli
