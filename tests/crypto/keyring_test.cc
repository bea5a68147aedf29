#include "crypto/keyring.h"

#include "catch.h"
#include "crypto/hex.h"
#include "dm/keyring.h"

using namespace dmfs;

namespace {

template <class Act>
Refused refusal(Act act) {
    try {
        act();
    } catch (const Refused& refused) {
        return refused;
    }
    FAIL("not refused");
    return Refused(0, "");
}

}  // namespace

TEST_CASE("digits are bytes, and what they are not is pointed at without being shown") {
    CHECK(hex_of(parse_hex("00fFa5").bytes()) == "00ffa5");
    CHECK(parse_hex("").size() == 0);
    Refused digit = refusal([] { parse_hex("00112233445566g78899"); });
    CHECK(digit.place().column == 14);
    CHECK(digit.reason() == "character 15 of the key is no hexadecimal digit");
    CHECK(refusal([] { parse_hex("001"); }).error() == EINVAL);
}

TEST_CASE("a keyring gives what was put into it, until it is taken out") {
    Keyring keyring;
    Secret found;
    CHECK_FALSE(keyring.find("logon", "a", &found));
    keyring.add("logon", "a", parse_hex("0102"));
    keyring.add("user", "a", parse_hex("03"));
    keyring.add("logon", "a", parse_hex("040506"));
    CHECK(keyring.find("logon", "a", &found));
    CHECK(hex_of(found.bytes()) == "040506");
    CHECK(keyring.list().size() == 2);
    CHECK(keyring.list()[0].bytes == 3);
    keyring.remove("logon", "a");
    CHECK_FALSE(keyring.find("logon", "a", &found));
    CHECK(refusal([&] { keyring.remove("logon", "a"); }).error() == ENOKEY);
    for (const char* description : {"", "a b", "a\tb"})
        CHECK(refusal([&] { keyring.add("logon", description, parse_hex("00")); }).error() == EINVAL);
    CHECK(refusal([&] { keyring.add("encrypted", "a", parse_hex("00")); }).error() == EINVAL);
    CHECK(refusal([&] { keyring.add("logon", "a", Secret()); }).error() == EINVAL);
    CHECK(refusal([&] { keyring.add("logon", "a", Secret(40000)); }).error() == EINVAL);
}

TEST_CASE("the control file adds and removes keys, lists them, and shows none") {
    const std::string key = "00112233445566778899aabbccddeeff";
    keyring_request("add logon test:b " + key + "\n");
    keyring_request("add user test:a\\\\b 0102\n");
    CHECK(keyring_text() == "logon test:b 16\nuser test:a\\\\b 2\n");
    Secret found = find_key("logon", "test:b");
    CHECK(hex_of(found.bytes()) == key);
    keyring_request("remove logon test:b");
    keyring_request("remove user test:a\\\\b");
    CHECK(keyring_text().empty());
    for (const std::string& text :
         {"add logon x " + key + "0", "add logon x " + key.substr(0, 20) + "xy" + key, "add " + key,
          "add x x " + key, key, "add logon x " + key + " more", "add logon x y " + key, "remove x " + key,
          std::string("\n"), std::string("add logon x 00112233445566q7")}) {
        std::string said = refusal([&] { keyring_request(text); }).report("keyring");
        INFO(said);
        CHECK(said.find("00112233") == std::string::npos);
    }
    CHECK(keyring_text().empty());
}
