// doctor: what of this host would hurt a mount, and how it is mended. It changes nothing.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/doctor_checks.h"
#include "cli/escape.h"

namespace dmfs::cli {

namespace {

const char* word_of(Grade grade) {
    return grade == Grade::ok ? "ok" : grade == Grade::warning ? "warning" : "problem";
}

const char* colour_of(Grade grade) {
    return grade == Grade::ok ? "\033[32m" : grade == Grade::warning ? "\033[33m" : "\033[31m";
}

bool colours() {
    const char* none = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) == 1 && (none == nullptr || *none == 0);
}

void print(const Findings& findings) {
    size_t width = 0;
    for (const Finding& one : findings) width = std::max(width, std::min<size_t>(characters(one.check), 24));
    bool coloured = colours();
    for (const Finding& one : findings) {
        size_t padding = width - std::min(width, characters(one.check));
        fmt::print("{}{:<8}{} {}{}  {}\n", coloured ? colour_of(one.grade) : "", word_of(one.grade),
                   coloured ? "\033[0m" : "", one.check, std::string(padding, ' '), one.why);
        if (!one.mend.empty()) fmt::print("         {}  {}\n", std::string(width, ' '), one.mend);
    }
}

}  // namespace

int doctor(Invocation& invocation) {
    const Options& options = invocation.options;
    Host host(options.root);
    std::vector<std::string> files = invocation.arguments;
    for (std::string& file : files) {
        file = std::filesystem::absolute(file).lexically_normal();
        if (file.size() > 1 && file.back() == '/') file.pop_back();
    }
    Findings findings = examine(host, files);
    auto count = [&](Grade grade) {
        return std::count_if(findings.begin(), findings.end(),
                             [&](const Finding& one) { return one.grade == grade; });
    };
    if (options.json) {
        Json list = Json::array();
        for (const Finding& one : findings)
            list.push_back({{"grade", word_of(one.grade)},
                            {"check", one.check},
                            {"why", one.why},
                            {"mend", one.mend.empty() ? Json(nullptr) : Json(one.mend)}});
        print_json(
            {{"findings", list}, {"warnings", count(Grade::warning)}, {"problems", count(Grade::problem)}});
    } else {
        print(findings);
        fmt::print("{} ok, {} warnings, {} problems\n", count(Grade::ok), count(Grade::warning),
                   count(Grade::problem));
    }
    return count(Grade::problem) == 0 ? 0 : 1;
}

}  // namespace dmfs::cli
