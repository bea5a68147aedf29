// The concise form: any bytes are volumes or a refusal, and volumes come back as they were.

#include <string>

#include "base/refused.h"
#include "dm/concise.h"
#include "fuzz/check.h"

using namespace dmfs;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::vector<ConciseVolume> volumes;
    try {
        volumes = parse_concise(std::string_view(reinterpret_cast<const char*>(data), size));
    } catch (const Refused& refused) {
        PROMISE(refused.error() > 0 && !refused.report("volumes").empty());
        return 0;
    }
    std::string again;
    for (const ConciseVolume& volume : volumes) again += (again.empty() ? "" : ";") + format_concise(volume);
    PROMISE(parse_concise(again) == volumes);
    return 0;
}
