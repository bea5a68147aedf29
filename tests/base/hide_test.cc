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
    CHECK(hide_digits(std::string(15, '1')) == std::string(15, '1'));
    CHECK(hide_digits(std::string(16, '1')) == std::string(16, '*'));
    CHECK(hide_digits(std::string(20, '1')) == std::string(20, '1'));
    CHECK(hide_digits(std::string(21, '1')) == std::string(21, '*'));
    CHECK(hide_digits("12345678-1234-1234-1234-123456789abc") == "12345678-1234-1234-1234-123456789abc");
    CHECK(hide_digits("").empty());
    // Mistyped.
    CHECK(hide_digits("key 00112233445566o78899aabbccddee a") == "key ****************************** a");
    CHECK(hide_digits("0x0123456789abcdef") == "******************");
    CHECK(hide_digits("/srv/backup-of-face/a-bad-decade.img") == "/srv/backup-of-face/a-bad-decade.img");
    CHECK(hide_digits("configuration_of_the_backing_files") == "configuration_of_the_backing_files");
}

TEST_CASE("a part is hidden as far as there is a text") {
    CHECK(hide_part("one two three", 4, 3) == "one *** three");
    CHECK(hide_part("one", 1, 99) == "o**");
    CHECK(hide_part("one", 3, 1) == "one");
    CHECK(hide_part("one", 99, 1) == "one");
}
