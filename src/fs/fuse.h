// libfuse's low-level API, at the version that Debian 12 has.

#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
