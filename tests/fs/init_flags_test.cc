#include "fs/init_flags.h"

#include <linux/fuse.h>

#include <cstring>
#include <string>

#include "catch.h"

using namespace dmfs::fs;

namespace {

constexpr uint32_t kWanted = 1U << 4;

std::string request(uint32_t opcode, uint64_t unique, fuse_init_in init) {
    fuse_in_header header{};
    header.opcode = opcode;
    header.unique = unique;
    header.len = sizeof header + sizeof init;
    std::string message(header.len, 0);
    memcpy(message.data(), &header, sizeof header);
    memcpy(message.data() + sizeof header, &init, sizeof init);
    return message;
}

fuse_init_in offering(uint32_t flags2) {
    fuse_init_in init{};
    init.major = 7;
    init.minor = 45;
    init.flags = FUSE_INIT_EXT;
    init.flags2 = flags2;
    return init;
}

// What becomes of the answer to request `unique`.
fuse_init_out answered(InitFlags& flags, uint64_t unique, int error = 0,
                       size_t bytes = sizeof(fuse_init_out)) {
    fuse_out_header header{};
    header.unique = unique;
    header.error = error;
    fuse_init_out init{};
    init.major = 7;
    init.minor = 31;
    iovec parts[2] = {{&header, sizeof header}, {&init, bytes}};
    flags.answer_written(parts, error == 0 ? 2 : 1);
    return init;
}

}  // namespace

TEST_CASE("a flag that the kernel offers is in the answer to INIT, once") {
    InitFlags flags(kWanted);
    std::string init = request(FUSE_INIT, 2, offering(kWanted | 1));
    flags.request_read(init.data(), init.size());
    CHECK(answered(flags, 0).flags2 == 0);  // a notice
    fuse_init_out out = answered(flags, 2);
    CHECK(out.flags2 == kWanted);
    CHECK(out.flags == FUSE_INIT_EXT);
    CHECK(answered(flags, 2).flags2 == 0);
}

TEST_CASE("an INIT that offers nothing of it is answered as it is") {
    fuse_init_in old = offering(kWanted), narrow = old;
    old.minor = 35;
    narrow.flags = 0;
    for (const fuse_init_in& init : {offering(1), old, narrow}) {
        InitFlags flags(kWanted);
        std::string message = request(FUSE_INIT, 2, init);
        flags.request_read(message.data(), message.size());
        fuse_init_out out = answered(flags, 2);
        CHECK(out.flags2 == 0);
        CHECK(out.flags == 0);
    }
}

TEST_CASE("messages that are short, fail, or are none of INIT's stay as they are") {
    std::string init = request(FUSE_INIT, 2, offering(kWanted)),
                other = request(FUSE_LOOKUP, 2, offering(kWanted));
    for (size_t bytes : {size_t{0}, size_t{39}, size_t{56}, init.size() - 1}) {
        InitFlags flags(kWanted);
        flags.request_read(init.data(), bytes);
        CHECK(answered(flags, 2).flags2 == 0);
    }
    InitFlags none(kWanted), refused(kWanted), cut(kWanted);
    none.request_read(other.data(), other.size());
    CHECK(answered(none, 2).flags2 == 0);
    refused.request_read(init.data(), init.size());
    CHECK(answered(refused, 2, -EPROTO).flags2 == 0);
    cut.request_read(init.data(), init.size());
    CHECK(answered(cut, 2, 0, 24).flags2 == 0);
}
