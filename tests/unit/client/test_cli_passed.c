/* SPDX-License-Identifier: MIT */
/* sshlease exec, and the library's passing of descriptors, with a daemon that plays a script in version 2: the bytes go
 * by the descriptors. */
#include "fake_daemon.h"
#include "run_cli.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* STREAM_OPEN_FDS with these descriptors, answered; the stream's id. */
static uint32_t take_open(struct fake *f, uint32_t fds, unsigned count)
{
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN_FDS)->stream_open;
    uint32_t stream = open->stream;
    if (open->fds != fds || f->passed_count != count)
        fake_fail(f, "fds %u and %u descriptors", open->fds, f->passed_count);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_OPENED, .stream_opened = {.rid = open->rid, .stream = stream}});
    return stream;
}

static void put(struct fake *f, int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        fake_fail(f, "a passed descriptor cannot be written");
}

static void serves(struct fake *f)
{
    char buf[16];
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = take_open(f, 7, 3);
    if (read(f->passed[0], buf, sizeof buf) != 5 || memcmp(buf, "input", 5) != 0)
        fake_fail(f, "another input");
    if ((fcntl(f->passed[0], F_GETFL) & O_NONBLOCK) != 0)
        fake_fail(f, "its flags were changed");
    put(f, f->passed[1], "out");
    put(f, f->passed[2], "warning\n");
    fake_close_passed(f);
    fake_send_end(f, stream, 7);
    fake_release(f);
    fake_take_end(f);
}

TEST(bytes_go_by_the_descriptors)
{
    struct fake f = {0};
    fake_start(&f, serves);
    run_start((const char *const[]){"exec", "--socket", f.path, "web1", "--", "cat", NULL});
    assert_int_equal(write(ran.in, "input", 5), 5);
    run_finish();
    expect_exit(7);
    assert_string_equal(ran.stderr_text, "warning\n");
    assert_int_equal(ran.stdout_len, 3);
    assert_memory_equal(ran.stdout_text, "out", 3);
    fake_stop(&f);
}

static void serves_without_input(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = take_open(f, 6, 2);
    fake_close_passed(f);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(no_stdin_is_not_passed)
{
    struct fake f = {0};
    fake_start(&f, serves_without_input);
    RUN("exec", "--socket", f.path, "-n", "web1", "--", "true");
    expect_exit(0);
    fake_stop(&f);
}

static void loses_output(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = take_open(f, 7, 3);
    fake_close_passed(f);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_OUTPUT_LOST,
                     .output_lost = {.stream = stream,
                         .code = f->number,
                         .text = sl_bytes_of(f->number == 7 ? "No space left on device" : "Broken pipe")}});
    fake_take_end(f);
}

TEST(output_that_is_lost_ends_it)
{
    struct fake f = {.number = 34};
    fake_start(&f, loses_output);
    RUN("exec", "--socket", f.path, "web1", "--", "yes");
    assert_true(WIFSIGNALED(ran.status));
    assert_int_equal(WTERMSIG(ran.status), SIGPIPE);
    fake_stop(&f);
    f = (struct fake){.number = 7};
    fake_start(&f, loses_output);
    RUN("exec", "--socket", f.path, "web1", "--", "yes");
    expect_exit(255);
    expect_line("cannot write the command's output: No space left on device");
    fake_stop(&f);
}

static void hears_signals(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = take_open(f, 7, 3);
    put(f, f->passed[1], "ready");
    const struct sl_msg_signal *signal = &fake_take(f, SL_MSG_SIGNAL)->signal;
    if (signal->name.len != 3 || memcmp(signal->name.data, "INT", 3) != 0)
        fake_fail(f, "another signal");
    fake_close_passed(f);
    fake_send_end(f, stream, 130);
    fake_release(f);
    fake_take_end(f);
}

TEST(signals_reach_the_command)
{
    struct fake f = {0};
    char buf[8];
    fake_start(&f, hears_signals);
    run_start((const char *const[]){"exec", "--socket", f.path, "web1", "--", "sleep", "9", NULL});
    assert_int_equal(read(ran.out, buf, sizeof buf), 5);
    assert_int_equal(kill(ran.pid, SIGINT), 0);
    run_finish();
    expect_exit(130);
    fake_stop(&f);
}

static void never_ends(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    (void)take_open(f, 7, 3);
    fake_close_passed(f);
    fake_take_end(f);
}

TEST(a_time_limit)
{
    struct fake f = {0};
    fake_start(&f, never_ends);
    RUN("exec", "--socket", f.path, "--timeout=100ms", "web1", "--", "sleep", "9");
    expect_exit(124);
    expect_line("still running");
    fake_stop(&f);
}

/* --- what is not passed --- */

static void carries(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    if (f->passed_count > 0)
        fake_fail(f, "descriptors were passed");
    if (f->number == 0)
        fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 0, "out", 3);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_file_for_output_is_not_passed)
{
    struct fake f = {0};
    char script[512], got[8] = "", path[] = "/tmp/sshlease-out-XXXXXX";
    int fd = mkstemp(path);
    fake_start(&f, carries);
    snprintf(script, sizeof script, "exec %s exec --socket %s web1 -- x </dev/null >%s", SSHLEASE_CLI, f.path, path);
    run_start_program("/bin/sh", (const char *const[]){"-c", script, NULL});
    run_finish();
    expect_exit(0);
    assert_int_equal(read(fd, got, sizeof got), 3);
    assert_string_equal(got, "out");
    (void)close(fd);
    (void)unlink(path);
    fake_stop(&f);
}

/* --- the library --- */

static void is_asked_twice(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = take_open(f, 2, 1);
    put(f, f->passed[0], "x");
    fake_close_passed(f);
    fake_send_end(f, stream, 0);
    fake_take_end(f);
}

TEST(the_library_passes_and_refuses)
{
    struct fake f = {0};
    const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "true"};
    struct sshlease *lease = fake_lease(&f, is_asked_twice);
    struct sshlease_stream *stream;
    struct sshlease_result result;
    int fd[2], closed[3] = {-1, 1000000, -1};
    char byte;
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    assert_int_equal(sshlease_stream_start_passed(lease, &command, closed, &stream), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_stream_start_passed(lease, &command, (int[]){-1, fd[1], -1}, &stream), 0);
    (void)close(fd[1]); /* passed already */
    assert_int_equal(sshlease_stream_write(stream, "x", 1, 0), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_stream_read(stream, &byte, 1, NULL, SSHLEASE_FOREVER), 0);
    assert_true(sshlease_stream_result(stream, &result));
    assert_int_equal(result.exit_status, 0);
    assert_int_equal(sshlease_stream_output_status(stream), 0);
    assert_int_equal(read(fd[0], &byte, 1), 1);
    assert_int_equal(read(fd[0], &byte, 1), 0);
    (void)close(fd[0]);
    sshlease_free(lease);
    fake_stop(&f);
}

static void speaks_version_1(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    fake_take_end(f);
}

TEST(an_older_daemon_is_not_asked)
{
    struct fake f = {0};
    const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "true"};
    struct sshlease *lease = fake_lease(&f, speaks_version_1);
    struct sshlease_stream *stream;
    assert_int_equal(sshlease_stream_start_passed(lease, &command, (int[]){-1, -1, -1}, &stream), SSHLEASE_E_VERSION);
    sshlease_free(lease);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_by_the_descriptors),
        cmocka_unit_test(no_stdin_is_not_passed),
        cmocka_unit_test(output_that_is_lost_ends_it),
        cmocka_unit_test(signals_reach_the_command),
        cmocka_unit_test(a_time_limit),
        cmocka_unit_test(a_file_for_output_is_not_passed),
        cmocka_unit_test(the_library_passes_and_refuses),
        cmocka_unit_test(an_older_daemon_is_not_asked),
    };
    return cmocka_run_group_tests_name("client.cli_passed", tests, NULL, NULL);
}
