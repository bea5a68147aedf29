// dmfs.toml: any bytes are a configuration or a refusal, and one that was taken can
// be written and read again.

#include <string>

#include "base/refused.h"
#include "dm/config.h"
#include "fuzz/check.h"

using namespace dmfs;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Config config;
    try {
        config = parse_config(std::string_view(reinterpret_cast<const char*>(data), size), "dmfs.toml");
    } catch (const Refused& refused) {
        PROMISE(refused.error() > 0 && !refused.report("configuration").empty());
        return 0;
    }
    Config again = parse_config(format_config(config), "again");
    PROMISE(again.options == config.options);
    PROMISE(again.volumes.size() == config.volumes.size());
    for (size_t i = 0; i < again.volumes.size(); i++) {
        Config::Volume &a = again.volumes[i], &b = config.volumes[i];
        a.line = b.line;
        a.table_line = b.table_line;
        PROMISE(a == b);
    }
    return 0;
}
