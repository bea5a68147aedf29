// Runs a fuzz target on the files that are named, where there is no libFuzzer:
//
//     table_replay FILE|FOLDER...

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

size_t replayed = 0;

void replay(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) {
        for (const auto& entry : std::filesystem::directory_iterator(path)) replay(entry.path());
        return;
    }
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    // Every beginning of it too: texts that end too early.
    for (size_t size = 0; size < text.size(); size++) {
        std::string beginning = text.substr(0, size);
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(beginning.data()), size);
    }
    replayed++;
}

}  // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%zu files replayed\n", replayed);
    return replayed == 0;
}
