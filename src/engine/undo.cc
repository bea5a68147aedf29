#include "engine/undo.h"

namespace dmfs {

Task<Outcome> Undo::unless_done(Task<Outcome> work) {
    Outcome outcome = co_await work;
    while (!outcome && !steps_.empty()) {
        Step step = std::move(steps_.back());
        steps_.pop_back();
        Task<Outcome> undoing = step();
        Outcome failed = co_await undoing;
        outcome = and_then(std::move(outcome), failed);
    }
    steps_.clear();
    co_return outcome;
}

Outcome and_then(Outcome first, const Outcome& second) {
    if (first) return second;
    if (second) return first;
    std::string remedy = first.why().remedy();
    if (!second.why().remedy().empty()) remedy += (remedy.empty() ? "" : "; then: ") + second.why().remedy();
    return Refused(first.why().error(), first.why().reason() + "; and then: " + second.why().reason(), remedy)
        .at(first.why().place());
}

}  // namespace dmfs
