#include "base/log.h"

#include "catch.h"

using namespace dmfs;

TEST_CASE("the log keeps its lines in order, and no more than twenty a second") {
    log_to_stderr(false);
    for (int i = 0; i < 100; i++) log_line(Severity::warning, "marked line " + std::to_string(i) + ";");
    log_to_stderr(true);
    std::string text = log_text();
    size_t lines = 0, last = 0;
    for (size_t at = text.find("warning: marked line "); at != std::string::npos;
         at = text.find("warning: marked line ", at + 1)) {
        lines++;
        CHECK(at >= last);
        last = at;
    }
    CHECK(lines <= 60);  // the second may have changed twice
    CHECK(text.back() == '\n');
}
