// A promise that a fuzz target checks, in every build.

#pragma once

#include <cstdio>
#include <cstdlib>

#define PROMISE(what)                                                          \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                           \
        }                                                                      \
    } while (0)
