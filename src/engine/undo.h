// What is half done is taken back, unless all of it was done.
//
//     Undo undo;
//     Task<Outcome> steps = insert_steps(..., &undo);     each step says how it is taken back:
//                                                         undo.add([=] { return let_in_again(...); });
//     Task<Outcome> whole = undo.unless_done(std::move(steps));
//     Outcome outcome = co_await whole;
//
// Taking back waits for what it must, and asks nobody's Cancel: whoever may be killed meanwhile is
// seen to by control_errand() (engine/errand.h).

#pragma once

#include <functional>
#include <vector>

#include "base/refused.h"
#include "engine/task.h"

namespace dmfs {

class Undo {
  public:
    using Step = std::function<Task<Outcome>()>;

    // Taken back before those that were added earlier. What the step uses lives as long as this.
    void add(Step step) { steps_.push_back(std::move(step)); }

    // Awaits `work`. Where it is refused, all steps are taken back: one that fails keeps no other
    // from it, and is told after the refusal.
    Task<Outcome> unless_done(Task<Outcome> work);

  private:
    std::vector<Step> steps_;
};

// Both, where both failed: the second happened because of the first.
Outcome and_then(Outcome first, const Outcome& second);

}  // namespace dmfs
