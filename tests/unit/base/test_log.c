/* SPDX-License-Identifier: MIT */
/* Log lines: one line whatever comes from outside, levels, and the journal's form. */
#include "base/log.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char text[8192];

static const char *logged(int fd)
{
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

TEST(test_one_line_per_fact)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    struct sl_log log = {.level = SL_LOG_INFO, .journal = true, .fd = fds[1]};
    sl_log(&log, SL_LOG_INFO, "conn", "text=%s n=%d", "a\nb\x1b[0m", 3);
    assert_string_equal(logged(fds[0]), "<6>conn text=a\\x0ab\\x1b[0m n=3\n");
    sl_log(&log, SL_LOG_INFO, "conn", "text=%s",
        "gr\xc3\xbc\xc2\x9b"
        "1m\xff");
    assert_string_equal(logged(fds[0]), "<6>conn text=gr\xc3\xbc\\xc2\\x9b"
                                        "1m\\xff\n");
    sl_log(&log, SL_LOG_DEBUG, "conn", "hidden=%d", 1);
    assert_string_equal(logged(fds[0]), "");
    sl_log(NULL, SL_LOG_ERROR, "conn", "nowhere=%d", 1);
    log.journal = false;
    sl_log(&log, SL_LOG_WARNING, "lease", "id=%d", 7);
    assert_non_null(strstr(logged(fds[0]), "Z warning lease id=7\n"));
    assert_int_equal(text[4], '-');
    close(fds[0]);
    close(fds[1]);
}

TEST(test_long_lines_are_cut)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    struct sl_log log = {.level = SL_LOG_INFO, .journal = true, .fd = fds[1]};
    char big[5000];
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    sl_log(&log, SL_LOG_INFO, "conn", "text=%s", big);
    logged(fds[0]);
    assert_true(strlen(text) <= 2048);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    close(fds[0]);
    close(fds[1]);
}

TEST(test_quote)
{
    char buf[SL_LOG_QUOTE_SIZE];
    assert_string_equal(sl_log_quote(buf, sizeof buf, "a \"b\" \\ \n\x01"), "\"a \\\"b\\\" \\\\ \\n\\x01\"");
    char tiny[12];
    sl_log_quote(tiny, sizeof tiny, "\x01\x01\x01\x01\x01\x01");
    assert_true(strlen(tiny) < sizeof tiny);
    assert_int_equal(tiny[strlen(tiny) - 1], '"');
}

TEST(test_journal_is_recognised)
{
    struct stat st;
    char named[64];
    struct sl_log log;
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(named, sizeof named, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", named, 1);
    sl_log_init(&log, SL_LOG_NOTICE);
    assert_true(log.journal);
    setenv("JOURNAL_STREAM", "1:1", 1);
    sl_log_init(&log, SL_LOG_NOTICE);
    assert_false(log.journal);
    unsetenv("JOURNAL_STREAM");
    assert_int_equal(log.level, SL_LOG_NOTICE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line_per_fact),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_journal_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
