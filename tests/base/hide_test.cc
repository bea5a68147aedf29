#include "base/hide.h"

#include "catch.h"

using namespace dmfs;

TEST_CASE("runs of hexadecimal digits as long as a key are hidden, numbers are not") {
    CHECK(hide_digits("0 2048 crypt aes 00112233445566778899aabbccddeeff 0") ==
          "0 2048 crypt aes ******************************** 0");
    CHECK(hide_digits("0123456789abcdef") == "****************");
    CHECK(hide_digits("0123456789ABCDEF:x") == "****************:x");
    CHECK(hide_digits("0123456789abcde") == "0123456789abcde");
    CHECK(hide_digits("18446744073709551616 sectors") == "18446744073709551616 sectors");
    CHECK(hide_digits(std::string(31, '1')) == std::string(31, '1'));
    CHECK(hide_digits(std::string(32, '1')) == std::string(32, '*'));
    CHECK(hide_digits("12345678-1234-1234-1234-123456789abc") == "12345678-1234-1234-1234-123456789abc");
    CHECK(hide_digits("").empty());
}

TEST_CASE("a part is hidden as far as there is a text") {
    CHECK(hide_part("one two three", 4, 3) == "one *** three");
    CHECK(hide_part("one", 1, 99) == "o**");
    CHECK(hide_part("one", 3, 1) == "one");
    CHECK(hide_part("one", 99, 1) == "one");
}
