// What all simulators do:
//
//     NAME [--seed N] [--runs N]      so many runs, of the seeds N, N + 1 ...; prints the seed of the
//                                     first that fails, and ends with 1
//
// Without a seed it is a random one; without a number, 100 runs. SIM_LOG in the environment: what the
// engine logs goes to stderr.

#pragma once

#include <cstdint>

namespace dmfs::sim {

// main() of the simulator `name`. simulate(): one run; throws if it fails. Its memory may be left then.
int run_all(int argc, char** argv, const char* name, void (*simulate)(uint64_t seed));

}  // namespace dmfs::sim
