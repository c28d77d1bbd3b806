/* SPDX-License-Identifier: MIT */
/* What of a text from outside is shown, and where it is cut. */
#include "base/text.h"
#include "tests/support/test.h"

#include <string.h>

static const char *clean(const char *text)
{
    static char out[64];
    return sl_text_clean(out, sizeof out, text, strlen(text));
}

TEST(what_can_be_shown_stays)
{
    assert_string_equal(clean(""), "");
    assert_string_equal(clean(" ~ plain, \"quoted\" \\ "), " ~ plain, \"quoted\" \\ ");
    assert_string_equal(clean("gr\xc3\xbc\xc3\x9f"
                              "e \xe2\x82\xac \xf0\x9f\x94\x91"),
        "gr\xc3\xbc\xc3\x9f"
        "e \xe2\x82\xac \xf0\x9f\x94\x91");
    assert_string_equal(
        clean("\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"), "\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
}

TEST(controls_do_not)
{
    assert_string_equal(clean("\x01\x1b[2J\x7f\r\n\t"), "??[2J????");
    assert_string_equal(clean("a\xc2\x9b"
                              "31m"),
        "a??31m"); /* CSI as one character */
    assert_string_equal(clean("a\xc2\x80\xc2\x9f\xc2\xa1"), "a????\xc2\xa1");
    assert_string_equal(clean("a\xe2\x80\xae"
                              "b\xe2\x81\xa9\xe2\x80\xa8"),
        "a???b??????"); /* turns the direction */
}

TEST(broken_utf8_does_not)
{
    assert_string_equal(clean("\x80\xbf\xc0\xaf\xc1\xbf\xf5\xff"), "????????");
    assert_string_equal(clean("\xe0\x9f\xbf"), "???");      /* overlong */
    assert_string_equal(clean("\xf0\x8f\xbf\xbf"), "????"); /* overlong */
    assert_string_equal(clean("\xed\xa0\x80"), "???");      /* a surrogate */
    assert_string_equal(clean("\xf4\x90\x80\x80"), "????"); /* beyond the last */
    assert_string_equal(clean("\xe2\x82"), "??");
    assert_string_equal(clean("\xe2\x82"
                              "a\xc3"),
        "??a?");
    /* What follows the length is not looked at. */
    assert_int_equal(sl_text_shown("\xc3\xbc", 1), 0);
    assert_int_equal(sl_text_shown("\xc3\xbc", 2), 2);
}

TEST(it_is_cut_between_characters)
{
    char out[5] = "xxxx";
    assert_string_equal(sl_text_clean(out, 5, "abcdef", 6), "abcd");
    assert_string_equal(sl_text_clean(out, 5, "abc\xc3\xbc", 5), "abc");
    assert_string_equal(sl_text_clean(out, 5, "ab\xc3\xbcz", 5), "ab\xc3\xbc");
    assert_string_equal(sl_text_clean(out, 1, "abc", 3), "");
    strcpy(out, "a\nb");
    assert_string_equal(sl_text_clean(out, sizeof out, out, 3), "a?b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_be_shown_stays),
        cmocka_unit_test(controls_do_not),
        cmocka_unit_test(broken_utf8_does_not),
        cmocka_unit_test(it_is_cut_between_characters),
    };
    return cmocka_run_group_tests_name("base.text", tests, NULL, NULL);
}
