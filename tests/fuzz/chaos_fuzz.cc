// The rules of chaos: any bytes are a rule or a refusal that points into them. What a
// rule prints is taken again, and means the same.

#include <string>

#include "fuzz/check.h"
#include "targets/chaos/rule.h"

using namespace dmfs;
using namespace dmfs::chaos;

namespace {

void try_rule(const std::string& word, const RuleGround& ground) {
    Rule rule;
    try {
        rule = parse_rule(word, ground);
    } catch (const Refused& refused) {
        PROMISE(refused.error() > 0);
        PROMISE(!refused.reason().empty());
        PROMISE(!refused.remedy().empty());
        const Place& place = refused.place();
        PROMISE(place.source == word && place.length > 0);
        PROMISE(word.empty() || place.column < word.size());
        PROMISE(word.empty() || place.column + place.length <= word.size());
        return;
    }
    PROMISE(good_name(rule.name) && rule.ops != 0 && rule.billionths <= Rule::kBillion);
    PROMISE(rule.everywhere || (rule.from < rule.end && rule.end <= ground.length));
    PROMISE(rule.distance < ground.length && rule.distance % ground.block == 0);
    std::string printed = print_rule(rule);
    PROMISE(printed.find_first_of(" \t\n\\#") == std::string::npos);
    PROMISE(print_rule(parse_rule(printed, ground)) == printed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string word(reinterpret_cast<const char*>(data), size);
    for (const RuleGround& ground : {RuleGround{1, 1}, RuleGround{2048, 1}, RuleGround{kMaxSectors, 8}})
        try_rule(word, ground);
    return 0;
}
