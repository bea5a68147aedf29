#include "sim/runs.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <random>
#include <string>

#include "base/log.h"
#include "targets/snapshot/exceptions.h"

namespace dmfs::sim {

namespace {

struct Options {
    uint64_t seed = std::random_device()(), runs = 100;
};

const char* simulator = "";
uint64_t current_seed = 0;

std::optional<Options> parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        const std::string option = argv[i];
        if (i + 1 == argc || (option != "--seed" && option != "--runs")) return std::nullopt;
        (option == "--seed" ? options.seed : options.runs) = strtoull(argv[i + 1], nullptr, 10);
    }
    return options;
}

// Nothing is taken down: what failed is in no state for that.
[[noreturn]] void end_run(const std::string& why) {
    printf("%s: --seed %llu --runs 1: %s\n", simulator, static_cast<unsigned long long>(current_seed),
           why.c_str());
    fflush(stdout);
    _Exit(1);
}

void end_by_signal(int signal) { end_run("signal " + std::to_string(signal)); }

}  // namespace

int run_all(int argc, char** argv, const char* name, void (*simulate)(uint64_t seed)) {
    simulator = name;
    const std::optional<Options> options = parse(argc, argv);
    if (!options) {
        fprintf(stderr, "usage: %s [--seed N] [--runs N]\n", argv[0]);
        return 2;
    }
    log_to_stderr(getenv("SIM_LOG") != nullptr);
    snapshot::Exceptions::fix_hash(1);  // random in each process, and a seed is to be a schedule
    for (int each : {SIGSEGV, SIGABRT, SIGBUS}) signal(each, end_by_signal);
    for (uint64_t run = 0; run < options->runs; run++) {
        current_seed = options->seed + run;
        try {
            simulate(current_seed);
        } catch (const std::exception& error) {
            end_run(error.what());
        }
    }
    printf("%s: %llu runs from seed %llu\n", name, static_cast<unsigned long long>(options->runs),
           static_cast<unsigned long long>(options->seed));
    return 0;
}

}  // namespace dmfs::sim
