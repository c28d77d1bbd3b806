/* SPDX-License-Identifier: MIT */
/* Escapes in what is typed. Each case is fed in one piece and byte by byte: the outcome is the same. */
#include "daemon/front/mux/escape.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

/* What is sent, with the verbs between it as [.], [?] and [x] for an unsupported x. */
static void feed(uint32_t character, const char *typed, size_t piece, char *trace)
{
    struct sl_mux_escape escape;
    const uint8_t *at = (const uint8_t *)typed, *end = at + strlen(typed);
    sl_mux_escape_init(&escape, character);
    while (at < end) {
        size_t len = (size_t)(end - at) < piece ? (size_t)(end - at) : piece, out_len;
        uint8_t *out = malloc(len + 1); /* no more than it may use */
        enum sl_mux_verb verb;
        assert_non_null(out);
        at += sl_mux_escape_feed(&escape, at, len, out, &out_len, &verb);
        assert_true(out_len <= len + 1);
        memcpy(trace, out, out_len);
        trace += out_len;
        free(out);
        if (verb != SL_MUX_VERB_NONE) {
            *trace++ = '[';
            *trace++ = verb == SL_MUX_VERB_DISCONNECT ? '.' : verb == SL_MUX_VERB_HELP ? '?' : escape.asked;
            *trace++ = ']';
        }
    }
    *trace = '\0';
}

static void expect(uint32_t character, const char *typed, const char *expected)
{
    char trace[256];
    for (size_t piece = 1; piece <= strlen(typed) + 1; piece++) {
        feed(character, typed, piece, trace);
        assert_string_equal(trace, expected);
    }
}

TEST(what_is_no_escape_goes_through)
{
    expect('~', "", "");
    expect('~', "ls -l ~/x\r", "ls -l ~/x\r");
    expect('~', "a~.", "a~.");
    expect('~', "~user\r", "~user\r");
    expect('~', "a\r~/bin\r", "a\r~/bin\r");
}

TEST(escapes_at_the_start_of_a_line)
{
    expect('~', "~.", "[.]");
    expect('~', "ls\r~.", "ls\r[.]");
    expect('~', "ls\n~?x", "ls\n[?]x");
    expect('~', "~?~.", "[?][.]");
    expect('~', "~BB", "[B]B");
    expect('~', "~C", "[C]");
    expect('~', "~\x1a", "[\x1a]");
}

TEST(twice_is_once)
{
    expect('~', "~~", "~");
    expect('~', "~~.", "~."); /* the line has begun */
    expect('~', "~~~", "~~");
}

TEST(a_line_may_follow_it)
{
    expect('~', "~\r~.", "~\r[.]");
}

TEST(an_escape_waits_for_what_follows)
{
    expect('~', "~", "");
    expect('~', "x\r~", "x\r");
    expect('~', "x~", "x~");
}

TEST(another_character_or_none)
{
    expect('^', "~.\r^.", "~.\r[.]");
    expect(0xffffffffu, "~.\r~.", "~.\r~.");
    expect(0xfffffffeu, "~.\r\xfe.", "~.\r\xfe.");
    expect(0xfe, "\xfe.", "[.]");
}

TEST(the_help_names_the_character_in_use)
{
    struct sl_mux_escape escape;
    char text[1024];
    sl_mux_escape_init(&escape, '%');
    assert_non_null(strstr(sl_mux_escape_help(&escape, text, sizeof text), " %. "));
    assert_non_null(strstr(text, " %% "));
    assert_null(strchr(text, '~'));
    assert_true(strlen(text) < sizeof text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_escape_goes_through),
        cmocka_unit_test(escapes_at_the_start_of_a_line),
        cmocka_unit_test(twice_is_once),
        cmocka_unit_test(a_line_may_follow_it),
        cmocka_unit_test(an_escape_waits_for_what_follows),
        cmocka_unit_test(another_character_or_none),
        cmocka_unit_test(the_help_names_the_character_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
