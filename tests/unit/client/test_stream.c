/* SPDX-License-Identifier: MIT */
/* Streams: what is sent, reading with and without waiting, and every way one can end. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW 262144u /* what the library gives */

static const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "cat"};

static struct sshlease_stream *open_stream(struct sshlease *lease)
{
    struct sshlease_stream *stream = NULL;
    int status = sshlease_stream_open(lease, &command, 10000, &stream);
    if (status != 0)
        fail_msg("stream_open: %s", sshlease_error(lease));
    return stream;
}

static void checks_all_of_open(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    struct sl_reader env = open->env;
    struct sl_bytes name, value;
    if (open->kind != SL_KIND_SUBSYSTEM || open->command.len != 4 || open->window != WINDOW || !open->pty ||
        open->pty_req.cols != 132 || open->pty_req.rows != 50 || open->pty_req.width_px != 1 ||
        open->pty_req.height_px != 2 || open->pty_req.modes.len != 1 || open->pty_req.term.len != 5 ||
        open->env_count != 2)
        fake_fail(f, "STREAM_OPEN says something else than the command");
    if (!sl_msg_env_next(&env, &name, &value) || name.len != 1 || value.len != 3 || memcmp(value.data, "b=c", 3) != 0 ||
        !sl_msg_env_next(&env, &name, &value) || name.len != 4 || value.len != 0 ||
        sl_msg_env_next(&env, &name, &value))
        fake_fail(f, "STREAM_OPEN has another environment");
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_OPENED,
                     .stream_opened = {.rid = open->rid, .stream = open->stream, .window = 10}});
    uint32_t stream = open->stream;
    const struct sl_msg *msg = fake_take(f, SL_MSG_SIGNAL);
    if (msg->signal.stream != stream || msg->signal.name.len != 4)
        fake_fail(f, "another SIGNAL");
    msg = fake_take(f, SL_MSG_WINDOW_CHANGE);
    if (msg->window_change.cols != 80 || msg->window_change.height_px != 4)
        fake_fail(f, "another WINDOW_CHANGE");
    fake_take(f, SL_MSG_EOF);
    fake_take(f, SL_MSG_CLOSE);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = stream, .how = SL_END_SIGNAL, .signal = sl_bytes_of("TERM")}});
    fake_release(f);
    fake_take_end(f);
}

TEST(everything_a_stream_can_be_told)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, checks_all_of_open);
    const struct sshlease_env env[] = {{"A", "b=c"}, {"NONE", ""}};
    const struct sshlease_pty pty = {
        .term = "xterm", .cols = 132, .rows = 50, .width_px = 1, .height_px = 2, .modes = "", .modes_len = 1};
    const struct sshlease_command all = {
        .kind = SSHLEASE_SUBSYSTEM, .command = "sftp", .env = env, .env_count = 2, .pty = &pty};
    struct sshlease_stream *stream;
    assert_int_equal(sshlease_stream_open(lease, &all, 10000, &stream), 0);
    assert_int_equal(sshlease_stream_signal(stream, ""), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_stream_signal(stream, "TERM"), 0);
    assert_int_equal(sshlease_stream_resize(stream, 80, 24, 3, 4), 0);
    assert_int_equal(sshlease_stream_eof(stream), 0);
    assert_int_equal(sshlease_stream_eof(stream), 0); /* said once */
    assert_int_equal(sshlease_stream_write(stream, "x", 1, 10000), SSHLEASE_E_INVALID);
    sshlease_stream_free(stream);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static void grants_and_hears_nothing(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_take_end(f);
}

static void expect_refused(struct sshlease *lease, const struct sshlease_command *wrong, const char *text)
{
    struct sshlease_stream *stream = NULL;
    assert_int_equal(sshlease_stream_start(lease, wrong, &stream), SSHLEASE_E_INVALID);
    assert_null(stream);
    assert_true(sshlease_error_unsent(lease));
    if (strstr(sshlease_error(lease), text) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", sshlease_error(lease), text);
}

TEST(commands_the_protocol_has_no_room_for)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, grants_and_hears_nothing);
    char *much = malloc(300001);
    struct sshlease_env env[129], bad[] = {{"", "x"}}, large[8];
    assert_non_null(much);
    memset(much, 'x', 300000);
    much[300000] = '\0';
    for (size_t i = 0; i < 129; i++)
        env[i] = (struct sshlease_env){"A", "b"};
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_EXEC, .command = much}, "it may have 262000");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_EXEC}, "command is empty");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_EXEC, .command = ""}, "command is empty");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_SUBSYSTEM}, "no name");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_SUBSYSTEM, .command = much}, "may have 255");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_SHELL, .command = "x"}, "takes no command");
    expect_refused(lease, &(struct sshlease_command){.kind = (enum sshlease_kind)9}, "unknown kind");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_SHELL, .env = env, .env_count = 129}, "129");
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_SHELL, .env = bad, .env_count = 1}, "no name");
    env[0].value = much;
    expect_refused(
        lease, &(struct sshlease_command){.kind = SSHLEASE_SHELL, .env = env, .env_count = 1}, "may have 32768");
    expect_refused(lease,
        &(struct sshlease_command){.kind = SSHLEASE_SHELL, .pty = &(struct sshlease_pty){.term = much}},
        "terminal's name");
    expect_refused(lease,
        &(struct sshlease_command){
            .kind = SSHLEASE_SHELL, .pty = &(struct sshlease_pty){.modes = much, .modes_len = 1025}},
        "terminal modes");
    /* Each within its limit, together beyond a frame. */
    much[32768] = '\0';
    for (size_t i = 0; i < 8; i++)
        large[i] = (struct sshlease_env){"A", much};
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_SHELL, .env = large, .env_count = 8}, "together");
    free(much);
    sshlease_free(lease);
    fake_stop(&f);
}

static void is_an_older_one(struct fake *f)
{
    fake_greet_in(f, 2);
    fake_grant(f);
    fake_take_end(f);
}

TEST(a_command_that_an_older_daemon_has_no_room_for)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, is_an_older_one);
    char *much = malloc(131074);
    assert_non_null(much);
    memset(much, 'x', 131073);
    much[131073] = '\0';
    expect_refused(lease, &(struct sshlease_command){.kind = SSHLEASE_EXEC, .command = much}, "it may have 131072");
    free(much);
    sshlease_free(lease);
    fake_stop(&f);
}

static void refuses_streams(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_send_error(f, fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.rid, SSHLEASE_E_STREAM_REFUSED, false,
        "web1: the server refused the command");
    fake_send_error(
        f, fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.rid, SSHLEASE_E_STREAM_LIMIT, true, "8 streams are open");
    fake_take(f, SL_MSG_EOF); /* behind the open: late by now */
    fake_release(f);
    fake_take_end(f);
}

TEST(refused_streams)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, refuses_streams);
    struct sshlease_stream *stream = NULL;
    struct sshlease_result result;
    char byte;
    assert_int_equal(sshlease_stream_open(lease, &command, 10000, &stream), SSHLEASE_E_STREAM_REFUSED);
    assert_null(stream);
    assert_string_equal(sshlease_error(lease), "web1: the server refused the command");
    assert_false(sshlease_error_unsent(lease));

    assert_int_equal(sshlease_stream_start(lease, &command, &stream), 0);
    assert_int_equal(sshlease_stream_opened(stream), SSHLEASE_E_AGAIN);
    assert_false(sshlease_stream_result(stream, &result));
    assert_int_equal(sshlease_stream_eof(stream), 0);
    assert_int_equal(sshlease_stream_read(stream, &byte, 1, NULL, 10000), SSHLEASE_E_STREAM_LIMIT);
    assert_true(sshlease_error_unsent(lease));
    assert_int_equal(sshlease_stream_opened(stream), SSHLEASE_E_STREAM_LIMIT);
    assert_int_equal(sshlease_stream_write(stream, "x", 1, 0), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_stream_signal(stream, "TERM"), SSHLEASE_E_STREAM_LIMIT);
    assert_int_equal(sshlease_stream_wait(stream, 10000, &result), SSHLEASE_E_STREAM_LIMIT);
    assert_true(sshlease_stream_result(stream, &result));
    assert_int_equal(result.how, SSHLEASE_UNKNOWN);
    assert_string_equal(result.text, "8 streams are open");
    sshlease_stream_free(stream);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static void writes_to_both_outputs(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_send_data(f, stream, SL_DATA_STDOUT, "one", 3);
    fake_send_data(f, stream, SL_DATA_STDOUT, "two", 3);
    fake_send_data(f, stream, SL_DATA_STDERR, "", 0);
    fake_send_data(f, stream, SL_DATA_STDERR, "err\0or", 6);
    fake_send_data(f, stream, SL_DATA_STDOUT, "three", 5);
    fake_send_end(f, stream, 7);
    fake_take(f, SL_MSG_STATUS);
    fake_release(f);
    fake_take_end(f);
}

TEST(output_comes_in_order_and_survives_the_end)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, writes_to_both_outputs);
    struct sshlease_stream *stream = open_stream(lease);
    struct sshlease_result result;
    char data[16], *json;
    int fd = 0;
    while (!sshlease_stream_result(stream, &result)) {
        struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, 10000), 1);
        assert_int_equal(sshlease_process(lease), 0);
    }
    assert_int_equal(sshlease_admin_status(lease, 0, &json), SSHLEASE_E_AGAIN);
    /* Runs of the same output are one; a read ends where the output changes. */
    assert_int_equal(sshlease_stream_read(stream, data, 4, &fd, 0), 4);
    assert_memory_equal(data, "onet", 4);
    assert_int_equal(fd, 1);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, &fd, 0), 2);
    assert_memory_equal(data, "wo", 2);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, &fd, 0), 6);
    assert_memory_equal(data, "err\0or", 6);
    assert_int_equal(fd, 2);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, NULL, 0), 5);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, &fd, 0), 0);
    assert_int_equal(sshlease_stream_read(stream, data, 0, &fd, 0), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_stream_wait(stream, 0, &result), 0);
    assert_int_equal(result.how, SSHLEASE_EXITED);
    assert_int_equal(result.exit_status, 7);
    assert_int_equal(sshlease_stream_signal(stream, "TERM"), SSHLEASE_E_NO_STREAM);
    assert_int_equal(sshlease_stream_write(stream, "x", 1, 0), SSHLEASE_E_NO_STREAM);
    sshlease_stream_free(stream);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static void never_answers_streams(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_take(f, SL_MSG_STREAM_OPEN);
    fake_take(f, SL_MSG_CLOSE);
    uint32_t stream = fake_open_stream(f, 4);
    fake_take(f, SL_MSG_DATA);
    fake_take(f, SL_MSG_CLOSE);
    /* What was on its way when the stream was closed is dropped, and counts as read. */
    static const uint8_t block[SL_MSG_DATA_MAX];
    for (size_t i = 0; i < WINDOW / 2 / sizeof block; i++)
        fake_send_data(f, stream, 0, block, sizeof block);
    uint32_t rid = fake_take(f, SL_MSG_RELOAD)->request.rid;
    if (fake_take(f, SL_MSG_WINDOW)->window.stream != stream)
        fake_fail(f, "credit for another stream");
    fake_send_end(f, stream, 0);
    fake_send_data(f, stream, 0, block, 1); /* late: nobody minds */
    fake_send_ok(f, rid);
    fake_take_end(f);
}

TEST(time_runs_out)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, never_answers_streams);
    struct sshlease_stream *stream = NULL;
    struct sshlease_result result;
    char byte;
    assert_int_equal(sshlease_stream_open(lease, &command, 20, &stream), SSHLEASE_E_TIMEOUT);
    assert_null(stream);
    stream = open_stream(lease);
    assert_int_equal(sshlease_stream_read(stream, &byte, 1, NULL, 0), SSHLEASE_E_AGAIN);
    assert_int_equal(sshlease_stream_read(stream, &byte, 1, NULL, 10), SSHLEASE_E_TIMEOUT);
    assert_int_equal(sshlease_stream_wait(stream, 0, &result), SSHLEASE_E_AGAIN);
    assert_int_equal(sshlease_stream_wait(stream, 10, &result), SSHLEASE_E_TIMEOUT);
    assert_int_equal(sshlease_stream_write(stream, "123456", 6, 10), 4); /* as far as the credit goes */
    assert_int_equal(sshlease_stream_write(stream, "56", 2, 10), SSHLEASE_E_TIMEOUT);
    assert_int_equal(sshlease_stream_write(stream, "56", 2, 0), SSHLEASE_E_AGAIN);
    sshlease_stream_free(stream);
    assert_int_equal(sshlease_admin_reload(lease, 10000), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static int gate[2];

static void listens_late(struct fake *f)
{
    char byte;
    fake_greet(f);
    fake_grant(f);
    fake_open_stream(f, 0);
    if (read(gate[0], &byte, 1) != 1)
        fake_fail(f, "no word from the test");
    while (fake_peek(f) == SL_MSG_SIGNAL)
        fake_take(f, SL_MSG_SIGNAL);
    fake_take(f, SL_MSG_CLOSE);
    fake_take_end(f);
}

TEST(a_full_queue_takes_a_close)
{
    struct fake f = {0};
    assert_int_equal(pipe(gate), 0);
    struct sshlease *lease = fake_lease(&f, listens_late);
    struct sshlease_stream *stream = open_stream(lease);
    int status;

    while ((status = sshlease_stream_signal(stream, "USR1")) == 0)
        continue;
    assert_int_equal(status, SSHLEASE_E_AGAIN);
    sshlease_stream_free(stream);
    assert_int_equal(write(gate[1], "", 1), 1);
    while (sshlease_want(lease) & SSHLEASE_WANT_WRITE) {
        struct pollfd p = {.fd = sshlease_fd(lease), .events = POLLOUT};
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(sshlease_process(lease), 0);
    }
    sshlease_free(lease);
    fake_stop(&f);
    close(gate[0]);
    close(gate[1]);
}

static void exits_before_its_output_ends(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_EXITED, .exited = {.stream = stream, .exit_status = 3}});
    fake_send_data(f, stream, 0, "late", 4);
    fake_take(f, SL_MSG_EOF);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = stream, .how = SL_END_UNKNOWN, .text = sl_bytes_of("lost")}});
    fake_take_end(f);
}

TEST(an_exit_is_known_before_the_end)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, exits_before_its_output_ends);
    struct sshlease_stream *stream;
    struct sshlease_result result;
    char data[8];
    assert_int_equal(sshlease_stream_open(lease, &command, 5000, &stream), 0);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, NULL, 5000), 4);
    assert_true(sshlease_stream_exited(stream, &result));
    assert_int_equal(result.how, SSHLEASE_EXITED);
    assert_int_equal(result.exit_status, 3);
    assert_false(sshlease_stream_result(stream, &result));
    assert_int_equal(sshlease_stream_eof(stream), 0);
    assert_int_equal(sshlease_stream_wait(stream, 5000, &result), 0);
    assert_int_equal(result.how, SSHLEASE_UNKNOWN); /* the end has the last word */
    assert_true(sshlease_stream_exited(stream, &result));
    assert_int_equal(result.how, SSHLEASE_UNKNOWN);
    sshlease_free(lease);
    fake_stop(&f);
}

static void ends_in_three_ways(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = fake_open_stream(f, 0),
                         .how = SL_END_SIGNAL,
                         .signal = sl_bytes_of("a-name-longer-than-any-signal-has-been-given-yet"),
                         .core_dumped = true,
                         .text = sl_bytes_of("said \x1b[31m \xc2\x9bm\xe2\x80\xae the \xff server")}});
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = fake_open_stream(f, 0),
                         .how = SL_END_UNKNOWN,
                         .exit_status = 0,
                         .text = sl_bytes_of("no exit status came")}});
    uint32_t stream = fake_open_stream(f, 0), other = fake_open_stream(f, 0);
    fake_send_data(f, stream, 0, "last words", 10);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = other, .how = SL_END_UNKNOWN, .text = sl_bytes_of("lost")}});
    fake_send(f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED,
                     .lease_ended = {.lease = 7,
                         .code = (uint32_t)-SSHLEASE_E_CONNECTION_LOST,
                         .text = sl_bytes_of("web1: the connection was lost")}});
    fake_take_end(f);
}

TEST(how_streams_end)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, ends_in_three_ways);
    struct sshlease_stream *stream = open_stream(lease), *other;
    struct sshlease_result result;
    char data[32];
    assert_int_equal(sshlease_stream_wait(stream, 10000, &result), 0);
    assert_int_equal(result.how, SSHLEASE_SIGNALLED);
    assert_int_equal(result.exit_status, -1);
    assert_true(result.core_dumped);
    assert_string_equal(result.signal, "a-name-longer-than-any-signal-h");
    assert_string_equal(result.text, "said ?[31m ??m??? the ? server");
    sshlease_stream_free(stream);

    stream = open_stream(lease);
    assert_int_equal(sshlease_stream_wait(stream, 10000, &result), 0);
    assert_int_equal(result.how, SSHLEASE_UNKNOWN);
    assert_int_equal(result.exit_status, -1);
    assert_string_equal(result.text, "no exit status came");
    sshlease_stream_free(stream);

    /* A stream the lease's end took: its output first, then why. */
    assert_int_equal(sshlease_stream_start(lease, &command, &stream), 0);
    assert_int_equal(sshlease_stream_start(lease, &command, &other), 0);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, NULL, 10000), 10);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, NULL, 10000), SSHLEASE_E_CONNECTION_LOST);
    assert_string_equal(sshlease_error(lease), "web1: the connection was lost");
    assert_int_equal(sshlease_stream_wait(other, 10000, &result), SSHLEASE_E_CONNECTION_LOST);
    assert_true(sshlease_stream_result(stream, &result));
    assert_int_equal(result.how, SSHLEASE_UNKNOWN);
    assert_int_equal(sshlease_stream_start(lease, &command, &other), SSHLEASE_E_CONNECTION_LOST);
    sshlease_stream_free(stream);
    sshlease_free(lease); /* the other with it */
    fake_stop(&f);
}

static void vanishes_under_a_stream(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_send_data(f, fake_open_stream(f, 0), 0, "abc", 3);
    fake_take(f, SL_MSG_SIGNAL);
}

TEST(the_daemon_goes_away_under_a_stream)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, vanishes_under_a_stream);
    struct sshlease_stream *stream = open_stream(lease);
    char data[8];
    assert_int_equal(sshlease_stream_signal(stream, "TERM"), 0);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, NULL, 10000), 3);
    assert_int_equal(sshlease_stream_read(stream, data, sizeof data, NULL, 10000), SSHLEASE_E_DAEMON_GONE);
    assert_false(sshlease_error_unsent(lease));
    assert_int_equal(sshlease_stream_write(stream, "x", 1, 0), SSHLEASE_E_DAEMON_GONE);
    assert_int_equal(sshlease_stream_eof(stream), SSHLEASE_E_DAEMON_GONE);
    assert_int_equal(sshlease_process(lease), SSHLEASE_E_DAEMON_GONE);
    assert_int_equal(sshlease_id(lease), 0);
    sshlease_stream_free(stream);
    sshlease_free(lease);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_a_stream_can_be_told),
        cmocka_unit_test(commands_the_protocol_has_no_room_for),
        cmocka_unit_test(a_command_that_an_older_daemon_has_no_room_for),
        cmocka_unit_test(refused_streams),
        cmocka_unit_test(output_comes_in_order_and_survives_the_end),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(a_full_queue_takes_a_close),
        cmocka_unit_test(how_streams_end),
        cmocka_unit_test(an_exit_is_known_before_the_end),
        cmocka_unit_test(the_daemon_goes_away_under_a_stream),
    };
    return cmocka_run_group_tests_name("client.stream", tests, NULL, NULL);
}
