/* SPDX-License-Identifier: MIT */
/* What command lines of ssh are taken for. */
#include "daemon/front/mux/cmdline.h"
#include "tests/support/test.h"

#include <string.h>

/* `line`: the words, with | between them. */
static struct sl_mux_words words_of(const char *line)
{
    char words[512];
    size_t len = strlen(line) + 1;
    struct sl_mux_words read;
    memcpy(words, line, len);
    for (size_t i = 0; i < len; i++)
        if (words[i] == '|')
            words[i] = '\0';
    sl_mux_words_read(words, len, &read);
    return read;
}

static void expect_control(const char *line, bool control, bool forward)
{
    const struct sl_mux_words words = words_of(line);
    if (!words.known || words.control != control || words.forward != forward)
        fail_msg("%s: known %d control %d forward %d", line, words.known, words.control, words.forward);
}

static void expect_session(const char *line, bool no_shell, bool fork)
{
    const struct sl_mux_words words = words_of(line);
    if (!words.known || words.control || words.no_shell != no_shell || words.fork != fork)
        fail_msg("%s: known %d control %d no_shell %d fork %d", line, words.known, words.control, words.no_shell,
            words.fork);
}

TEST(control_commands_are_told_apart)
{
    expect_control("ssh|-O|forward|-L|8080:web:80|t", true, true);
    expect_control("ssh|-L|8080:web:80|t|-O|forward", true, true);
    expect_control("/usr/bin/ssh|-Oforward|-R|0:web:80|t", true, true);
    expect_control("ssh|-F|file|-fNO|forward|-D|1080|t", true, true);
    expect_control("ssh|-O|forwards|t", true, false);
    expect_control("ssh|-O|cancel|-L|8080:web:80|t", true, false);
    expect_control("ssh|-L|8080:web:80|t|ls|-O", false, false);
    expect_control("ssh|-L|8080:web:80|t|--|-O|forward", false, false);
    expect_control("ssh|-oControlPath=/run/O|-o|ProxyCommand=nc -O forward|t|ls|-l|/O", false, false);
}

TEST(a_session_without_a_shell)
{
    expect_session("ssh|-N|t", true, false);
    expect_session("ssh|t|-N", true, false);
    expect_session("ssh|-fNT|-L|8080:web:80|t", true, true);
    expect_session("ssh|-nNf|-D1080|t", true, true);
    expect_session("ssh|-4fL8080:web:80|-N|--|t", true, true);
    expect_session("ssh|-o|SessionType=none|-o|ForkAfterAuthentication=yes|t", true, true);
    expect_session("ssh|-oSessionType none|t", true, false);
    expect_session("ssh|-o| sessiontype = NONE|t|-f", true, true);
    expect_session("ssh|-o|SessionType=none|-o|SessionType=default|t", true, false);
}

TEST(a_session_with_one)
{
    expect_session("ssh|t", false, false);
    expect_session("ssh|-f|t|sleep 10", false, true);
    expect_session("ssh|t|ls|-N", false, false);
    expect_session("ssh|t|--|-N", false, false);
    expect_session("ssh|--|t|-N", true, false);
    expect_session("ssh|-l|-N|t", false, false);
    expect_session("ssh|-L|8080:web:80|-o|ProxyCommand=nc -N %h %p|t", false, false);
    expect_session("ssh|-o|SessionType=default|-o|SessionType=none|t", false, false);
    expect_session("ssh|-o|SessionTypes=none|-o|ForkAfterAuthentication=no|t", false, false);
    expect_session("ssh|-i|N|-pN|t", false, false);
}

TEST(where_socks_may_lead)
{
    assert_true(words_of("ssh|-oPermitRemoteOpen=none|-R|1080|t").limited);
    assert_true(words_of("ssh|-R|1080|-o|permitremoteopen web:80 web:443|t").limited);
    assert_false(words_of("ssh|-R|1080|-o|PermitRemoteOpen=any|t").limited);
    assert_false(words_of("ssh|-R|1080|-o|PermitLocalCommand=yes|t").limited);
    assert_false(words_of("ssh|-R|1080|t|ls|-oPermitRemoteOpen=none").limited);
}

TEST(what_is_no_command_line_of_ssh_is_not_judged)
{
    struct sl_mux_words words;
    sl_mux_words_read("", 0, &words);
    assert_false(words.known);
    assert_false(words_of("ssh|t|-O").known);
    assert_false(words_of("other|-Z|-O|forward|t").known);
    assert_false(words_of("other|--mode|-fO|t").known);
    /* No control command, and nothing else is known of it. */
    expect_session("ssh|-N", false, false);
    expect_session("ssh|-f|-N|--", false, false);
    expect_session("other|-N|-Z|t", false, false);
    expect_session("other|--fOrward|-N|t", false, false);
    sl_mux_words_read("ssh\0-N\0t", 8, &words); /* cut */
    assert_false(words.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_commands_are_told_apart),
        cmocka_unit_test(a_session_without_a_shell),
        cmocka_unit_test(a_session_with_one),
        cmocka_unit_test(where_socks_may_lead),
        cmocka_unit_test(what_is_no_command_line_of_ssh_is_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
