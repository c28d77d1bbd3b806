/* SPDX-License-Identifier: MIT */
/* Nobody waits for a log that nobody reads; what is lost of it is counted. */
#include "base/log_sink.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINES 20000u

static int ends[2]; /* read, written */
static struct sl_log_sink *sink;
static char got[8192];
static size_t got_at, got_len;

static size_t lost_line(bool journal, char *line, size_t size, uint64_t lost)
{
    assert_true(journal);
    return (size_t)snprintf(line, size, "lost %llu\n", (unsigned long long)lost);
}

static int open_sink(void)
{
    got_at = got_len = 0;
    sink = sl_log_sink_new(ends[1], true, lost_line);
    return sink == NULL;
}

static int setup_pipe(void **state)
{
    (void)state;
    return pipe2(ends, O_CLOEXEC) != 0 || open_sink();
}

static int setup_socket(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || open_sink();
}

static int setup_file(void **state)
{
    char name[] = "/tmp/sshlease-log.XXXXXX";
    (void)state;
    ends[1] = mkostemp(name, O_CLOEXEC);
    ends[0] = open(name, O_RDONLY | O_CLOEXEC);
    unlink(name);
    return ends[0] < 0 || ends[1] < 0 || open_sink();
}

static int teardown(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void read_line(char *line, size_t size)
{
    size_t len = 0;
    while (len + 1 < size && (len == 0 || line[len - 1] != '\n')) {
        if (got_at == got_len) {
            struct pollfd one = {.fd = ends[0], .events = POLLIN};
            assert_int_equal(poll(&one, 1, 20000), 1);
            ssize_t n = read(ends[0], got, sizeof got);
            assert_true(n > 0);
            got_at = 0;
            got_len = (size_t)n;
        }
        line[len++] = got[got_at++];
    }
    line[len] = '\0';
}

static void put_number(unsigned number)
{
    char line[128];
    int len = snprintf(line, sizeof line, "%u %060d\n", number, 0);
    sl_log_sink_put(sink, line, (size_t)len);
}

/* Everything that was put before, then the number of those that were lost, then what came after. */
TEST(nobody_waits_for_a_reader)
{
    char line[128];
    unsigned long long lost;
    for (unsigned i = 0; i < LINES; i++)
        put_number(i);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* others have it, too */
    for (unsigned i = 0;; i++) {
        read_line(line, sizeof line);
        if (sscanf(line, "lost %llu", &lost) == 1) {
            assert_int_equal(lost, LINES - i);
            assert_true(i > 1000); /* a good part is kept */
            break;
        }
        assert_int_equal(strtoul(line, NULL, 10), i);
    }
    put_number(7);
    read_line(line, sizeof line);
    assert_int_equal(strtoul(line, NULL, 10), 7);
    sl_log_sink_free(sink, 20000);
}

/* What is written before the process dies of something is not lost with it. */
TEST(what_is_taken_is_written_at_once)
{
    char line[128];
    put_number(1);
    assert_true(recv(ends[0], line, sizeof line, MSG_DONTWAIT) > 0);
    assert_memory_equal(line, "1 0", 3);
    sl_log_sink_free(sink, 20000);
}

TEST(nothing_is_missing_at_the_end)
{
    char line[128];
    for (unsigned i = 0; i < 2000; i++)
        put_number(i);
    sl_log_sink_free(sink, 20000);
    for (unsigned i = 0; i < 2000; i++) {
        read_line(line, sizeof line);
        assert_int_equal(strtoul(line, NULL, 10), i);
    }
}

TEST(the_end_waits_no_longer_than_it_is_told)
{
    char line[128];
    struct timespec begun, over;
    for (unsigned i = 0; i < LINES; i++)
        put_number(i);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    sl_log_sink_free(sink, 50);
    clock_gettime(CLOCK_MONOTONIC, &over);
    assert_in_range((over.tv_sec - begun.tv_sec) * 1000 + (over.tv_nsec - begun.tv_nsec) / 1000000, 49, 5000);
    /* The thread that was left behind goes on. */
    do
        read_line(line, sizeof line);
    while (strncmp(line, "lost ", 5) != 0);
}

/* A pipe that nobody can read any more is as good as none. */
TEST(a_log_that_is_gone_is_gone)
{
    int other[2];
    close(ends[0]);
    put_number(1);
    put_number(2);
    sl_log_sink_free(sink, 20000);
    assert_int_equal(pipe2(other, O_CLOEXEC), 0); /* for the teardown to close */
    ends[0] = other[0];
    close(other[1]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_waits_for_a_reader, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(nobody_waits_for_a_reader, setup_socket, teardown),
        cmocka_unit_test_setup_teardown(what_is_taken_is_written_at_once, setup_socket, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_missing_at_the_end, setup_file, teardown),
        cmocka_unit_test_setup_teardown(the_end_waits_no_longer_than_it_is_told, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(the_end_waits_no_longer_than_it_is_told, setup_socket, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_is_gone_is_gone, setup_pipe, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_is_gone_is_gone, setup_socket, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
