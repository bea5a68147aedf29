#include "parts/feature_words.h"

#include <strings.h>

namespace dmfs {

FeatureWords::FeatureWords(TargetSetup& setup, size_t at, std::string_view what, uint64_t most)
    : setup_(setup), what_(what) {
    if (setup.words() <= at) return;
    const uint64_t count = setup.number(at, "number of " + what_, 0, most);
    next_ = at + 1;
    const size_t left = setup.words() - next_;
    if (count > left)
        throw setup.refuse(
            at, std::to_string(count) + " " + what_ + " are announced, " + std::to_string(left) + " follow",
            std::to_string(left));
    end_ = next_ + count;
}

bool FeatureWords::next() {
    if (next_ == end_) return false;
    name_ = next_++;
    return true;
}

bool FeatureWords::is(std::string_view wanted) const {
    const std::string& word = name();
    return word.size() == wanted.size() && strncasecmp(word.data(), wanted.data(), wanted.size()) == 0;
}

std::optional<std::string_view> FeatureWords::value_of(std::string_view wanted) const {
    const std::string_view word = name();
    if (word.size() <= wanted.size() || !word.starts_with(wanted) || word[wanted.size()] != ':') return {};
    return word.substr(wanted.size() + 1);
}

Refused FeatureWords::refuse(std::string reason, std::string remedy) const {
    return setup_.refuse(name_, std::move(reason), std::move(remedy));
}

Refused FeatureWords::unknown(std::string remedy) const {
    return refuse("there is no '" + name() + "' among the " + what_, std::move(remedy));
}

void FeatureWords::need(size_t words, std::string_view usage) const {
    const size_t left = end_ - next_;
    if (left >= words) return;
    throw refuse(name() + " wants " + std::to_string(words) + (words == 1 ? " word" : " words") +
                     " after it, and of those announced " + std::to_string(left) +
                     (left == 1 ? " is" : " are") + " left",
                 std::string(usage));
}

size_t FeatureWords::argument(std::string_view usage) {
    need(1, usage);
    return next_++;
}

uint64_t FeatureWords::number(std::string_view what, uint64_t least, uint64_t most) {
    return setup_.number(argument("both count as " + what_), what, least, most);
}

}  // namespace dmfs
