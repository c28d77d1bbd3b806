/* Escapes in what is typed. Each case is fed in one piece and byte by byte: the outcome is the same. */
#include "daemon/front/mux/escape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static void what_is_no_escape_goes_through(void **state)
{
    (void)state;
    expect('~', "", "");
    expect('~', "ls -l ~/x\r", "ls -l ~/x\r");
    expect('~', "a~.", "a~.");
    expect('~', "~user\r", "~user\r");
    expect('~', "a\r~/bin\r", "a\r~/bin\r");
}

static void escapes_at_the_start_of_a_line(void **state)
{
    (void)state;
    expect('~', "~.", "[.]");
    expect('~', "ls\r~.", "ls\r[.]");
    expect('~', "ls\n~?x", "ls\n[?]x");
    expect('~', "~?~.", "[?][.]");
    expect('~', "~BB", "[B]B");
    expect('~', "~C", "[C]");
    expect('~', "~\x1a", "[\x1a]");
}

static void twice_is_once(void **state)
{
    (void)state;
    expect('~', "~~", "~");
    expect('~', "~~.", "~."); /* the line has begun */
    expect('~', "~~~", "~~");
}

static void a_line_may_follow_it(void **state)
{
    (void)state;
    expect('~', "~\r~.", "~\r[.]");
}

static void an_escape_waits_for_what_follows(void **state)
{
    (void)state;
    expect('~', "~", "");
    expect('~', "x\r~", "x\r");
    expect('~', "x~", "x~");
}

static void another_character_or_none(void **state)
{
    (void)state;
    expect('^', "~.\r^.", "~.\r[.]");
    expect(0xffffffffu, "~.\r~.", "~.\r~.");
    expect(0xfffffffeu, "~.\r\xfe.", "~.\r\xfe.");
    expect(0xfe, "\xfe.", "[.]");
}

static void the_help_names_the_character_in_use(void **state)
{
    struct sl_mux_escape escape;
    char text[1024];
    (void)state;
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
