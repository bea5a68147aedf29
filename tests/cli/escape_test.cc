#include "cli/escape.h"

#include "catch.h"

using namespace dmfs::cli;

TEST_CASE("what a name may do to a terminal is written out") {
    CHECK(printable("plain äöü 日本 \U0001f600") == "plain äöü 日本 \U0001f600");
    CHECK(printable("a\nb\tc\x1b[31m\x7f") == "a\\x0ab\\x09c\\x1b[31m\\x7f");
    CHECK(printable("\xff\xc3") == "\\xff\\xc3");
    CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");               // overlong
    CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");      // a surrogate
    CHECK(printable("\xf4\x90\x80\x80").starts_with("\\xf4"));  // beyond Unicode
    CHECK(printable("\xe2\x80\xae") == "\\u{202e}");            // turns the text round
    CHECK(printable("\xc2\x85") == "\\u{85}");
    CHECK(printable("\xef\xbf\xbf") == "\\u{ffff}");  // no character of XML
    CHECK(printable("\xef\xbf\xbd") == "\xef\xbf\xbd");
}

TEST_CASE("names mean nothing in XML and DOT") {
    CHECK(xml("<a href=\"x\">&'") == "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    CHECK(xml("a]]>\nb") == "a]]&gt;\\x0ab");
    CHECK(dot("say \"hi\" \\N & go") == "say \\\"hi\\\" \\\\N &amp; go");
    CHECK(dot("\n") == "\\\\x0a");
}

TEST_CASE("texts are cut between characters") {
    CHECK(characters("äöü") == 3);
    CHECK(shortened("äöü", 3) == "äöü");
    CHECK(shortened("äöüß", 3) == "äö…");
    CHECK(shortened("abc", 1) == "…");
    CHECK(shortened("abc", 0).empty());
}

TEST_CASE("sizes have three digits") {
    CHECK(size_text(0) == "0 B");
    CHECK(size_text(512) == "512 B");
    CHECK(size_text(1024) == "1 KiB");
    CHECK(size_text(1536) == "1.5 KiB");
    CHECK(size_text((1 << 20) - 1) == "1 MiB");
    CHECK(size_text(12 * 1024 + 300) == "12.3 KiB");
    CHECK(size_text(100 << 10) == "100 KiB");
    CHECK(size_text(UINT64_MAX) == "16 EiB");
    CHECK(range_text(8, 4) == "[8, 12)");
}
