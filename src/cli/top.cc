#include "cli/commands.h"
namespace dmfs::cli { int top(Invocation&) { return 0; } }
