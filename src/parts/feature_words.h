// FeatureWords: "COUNT WORD...", as what is optional stands at the end of a row.
//
//     FeatureWords words(setup, 4, "feature words", 11);
//     while (words.next()) {
//         if (words.is("error_reads")) ...
//         else if (words.is("fec_roots")) roots = words.number("fec_roots", 2, 24);   takes the word after it
//         else if (std::optional<std::string_view> bytes = words.value_of("sector_size")) ...   NAME:VALUE
//         else throw words.unknown("one of ...");
//     }
//
// As in the kernel (dm_read_arg_group), names are compared without regard to case, and what stands
// after the words that were counted is passed over.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/target.h"

namespace dmfs {

class FeatureWords {
  public:
    // The count is word `at`; where the row ends before it there are none. `what` names them in a
    // refusal. Throws Refused where they are more than `most`, or more than follow.
    FeatureWords(TargetSetup& setup, size_t at, std::string_view what, uint64_t most);

    // Goes on to the next name; false at the end.
    bool next();

    // Where the name stands, and which it is.
    size_t index() const { return name_; }
    const std::string& name() const { return setup_.word(name_); }
    bool is(std::string_view wanted) const;
    // The VALUE of "NAME:VALUE", which may be empty. This name counts with its case.
    std::optional<std::string_view> value_of(std::string_view wanted) const;
    Refused refuse(std::string reason, std::string remedy) const;
    Refused unknown(std::string remedy) const;

    // The words after the name that belong to it. They have to be among those that were counted.
    void need(size_t words, std::string_view usage) const;
    size_t argument(std::string_view usage);
    uint64_t number(std::string_view what, uint64_t least, uint64_t most);

  private:
    TargetSetup& setup_;
    const std::string what_;
    size_t name_ = 0, next_ = 0, end_ = 0;
};

}  // namespace dmfs
