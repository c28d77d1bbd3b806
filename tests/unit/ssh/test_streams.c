/* SPDX-License-Identifier: MIT */
/* Streams against a real sshd: input and output, results, many at once, terminals, keys exchanged anew under load. */
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes asked of malloc() and calloc(), freed or not. */
static size_t allocated;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    allocated += size;
    return __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    allocated += count * size;
    return __real_calloc(count, size);
}

static int group_setup(void **state)
{
    (void)state;
    return stage_open_with("RekeyLimit 1M\n");
}

TEST(test_exit_codes)
{
    static const int code[] = {0, 1, 7, 127, 255};
    for (size_t i = 0; i < sizeof code / sizeof code[0]; i++) {
        struct rig_stream stream;
        char command[64];
        snprintf(command, sizeof command, "echo out; echo err >&2; exit %d", code[i]);
        rig_run(&conn, &stream, command);
        assert_int_equal(stream.opened, 1);
        assert_int_equal(stream.open_status, 0);
        assert_string_equal(rig_out(&stream), "out\n");
        assert_string_equal((const char *)stream.out[1], "err\n");
        assert_int_equal(stream.eof, 1);
        assert_int_equal(stream.how, SL_RESULT_STATUS);
        assert_int_equal(stream.exit_status, code[i]);
        rig_stream_fini(&stream);
    }
    assert_true(sl_tenant_is_clean(conn.tenant));
}

/* A child has the output open when the command is over: that is told, once, and the output goes on. */
TEST(test_exit_before_the_output_ends)
{
    struct rig_stream stream;
    char child[300], command[350];
    snprintf(child, sizeof child,
        "sh -c 'trap \"kill \\$!; echo late; exit\" USR1; sleep 4000 & echo $$ waits; wait' </dev/null & ");
    snprintf(command, sizeof command, "%sexit 3", child);
    assert_int_equal(rig_exec(&conn, &stream, command), 0);
    assert_true(rig_wait(&rig, &stream.exited, 5000));
    assert_true(rig_wait_out(&stream, "waits", 5000));
    assert_int_equal(stream.exit_how, SL_RESULT_STATUS);
    assert_int_equal(stream.exit_code, 3);
    assert_int_equal(stream.eof + stream.ended, 0);
    assert_int_equal(kill(atoi(rig_out(&stream)), SIGUSR1), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_non_null(strstr(rig_out(&stream), "waits\nlate\n"));
    assert_int_equal(stream.exited, 1);
    assert_int_equal(stream.how, SL_RESULT_STATUS);
    assert_int_equal(stream.exit_status, 3);
    rig_stream_fini(&stream);

    snprintf(command, sizeof command, "%skill -TERM $$", child);
    assert_int_equal(rig_exec(&conn, &stream, command), 0);
    assert_true(rig_wait(&rig, &stream.exited, 5000));
    assert_int_equal(stream.exit_how, SL_RESULT_SIGNAL);
    assert_string_equal(stream.signal, "TERM");
    assert_int_equal(stream.ended, 0);
    assert_true(rig_wait_out(&stream, "waits", 5000));
    assert_int_equal(kill(atoi(rig_out(&stream)), SIGUSR1), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.how, SL_RESULT_SIGNAL);
    rig_stream_fini(&stream);
}

TEST(test_stdin_echo)
{
    struct rig_stream stream;
    assert_int_equal(rig_exec(&conn, &stream, "cat"), 0);
    /* Before the server has answered. */
    assert_int_equal(sl_stream_write(stream.stream, "hello ", 6), 0);
    assert_true(rig_wait_out(&stream, "hello ", 5000));
    assert_int_equal(sl_stream_write(stream.stream, "world\0!", 7), 0);
    sl_stream_eof(stream.stream);
    assert_int_equal(sl_stream_write(stream.stream, "x", 1), SL_E_PROTOCOL);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.out_len[0], 13);
    assert_memory_equal(stream.out[0], "hello world\0!", 13);
    assert_int_equal(stream.sent, 13);
    assert_int_equal(stream.exit_status, 0);
    rig_stream_fini(&stream);
}

TEST(test_window_towards_the_server)
{
    struct rig_stream stream;
    static uint8_t data[SL_STREAM_WINDOW];
    assert_int_equal(rig_exec(&conn, &stream, "sleep 0.3; wc -c"), 0);
    assert_int_equal(sl_stream_write(stream.stream, data, sizeof data), 0);
    assert_int_equal(sl_stream_write(stream.stream, data, 1), SL_E_PROTOCOL);
    size_t written = sizeof data;
    while (written < 4 * sizeof data) {
        assert_true(stream.ended == 0);
        size_t room = sizeof data - (written - stream.sent);
        if (room > 0) {
            assert_int_equal(sl_stream_write(stream.stream, data, room), 0);
            written += room;
        }
        rig_run_ms(&rig, 5);
    }
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 10000));
    assert_int_equal(atoi(rig_out(&stream)), (int)written);
    assert_int_equal(stream.sent, written);
    rig_stream_fini(&stream);
}

/* A client that writes byte by byte to a command that does not read costs no more than its window, twice at most. */
TEST(test_input_in_small_pieces)
{
    struct rig_stream stream;
    static uint8_t data[SL_STREAM_WINDOW];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    assert_int_equal(rig_exec(&conn, &stream, "cat"), 0);
    size_t before = allocated;
    for (size_t i = 0; i < sizeof data; i++) {
        assert_int_equal(sl_stream_write(stream.stream, data + i, 1), 0);
        if (i % 4096 == 0)
            sl_stream_signal(stream.stream, "CONT"); /* what comes between keeps its place */
    }
    assert_in_range(allocated - before, sizeof data, 2 * sizeof data + 65536);
    assert_int_equal(sl_stream_write(stream.stream, data, 1), SL_E_PROTOCOL);
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 10000));
    assert_int_equal(stream.out_len[0], sizeof data);
    assert_memory_equal(stream.out[0], data, sizeof data);
    assert_int_equal(stream.sent, sizeof data);
    rig_stream_fini(&stream);
}

/* What comes after the command's end is dropped, and reported as sent. */
TEST(test_input_nobody_reads)
{
    struct rig_stream stream;
    static uint8_t data[SL_STREAM_WINDOW];
    assert_int_equal(rig_exec(&conn, &stream, "exit 3"), 0);
    assert_int_equal(sl_stream_write(stream.stream, data, sizeof data), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.exit_status, 3);
    rig_stream_fini(&stream);
    rig_run(&conn, &stream, "true");
    assert_int_equal(stream.exit_status, 0);
    rig_stream_fini(&stream);
}

TEST(test_signals)
{
    struct rig_stream stream;
    assert_int_equal(rig_exec(&conn, &stream, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "go\n", 5000));
    sl_stream_signal(stream.stream, "TERM");
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.how, SL_RESULT_SIGNAL);
    assert_string_equal(stream.signal, "TERM");
    rig_stream_fini(&stream);
    /* With more input than the server takes, a signal must not wait behind it. */
    static uint8_t data[SL_STREAM_WINDOW];
    assert_int_equal(rig_exec(&conn, &stream, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "go\n", 5000));
    for (int i = 0; i < 40; i++) {
        size_t room = sizeof data;
        if (sl_stream_write(stream.stream, data, room) != 0)
            break;
        rig_run_ms(&rig, 20);
    }
    assert_int_equal(sl_stream_write(stream.stream, data, sizeof data), SL_E_PROTOCOL);
    sl_stream_signal(stream.stream, "INT");
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.how, SL_RESULT_SIGNAL);
    assert_string_equal(stream.signal, "INT");
    rig_stream_fini(&stream);
}

TEST(test_credit_holds_output_back)
{
    struct rig_stream stream;
    const struct sl_stream_spec spec = {
        .kind = SL_SPEC_EXEC, .command = "head -c 9000000 /dev/zero; echo err >&2", .credit = 1000};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    stream.credit = RIG_CREDIT_NEVER;
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    rig_run_ms(&rig, 300);
    assert_int_equal(stream.out_len[0] + stream.out_len[1], 1000);
    assert_int_equal(stream.ended, 0);
    struct sl_conn_info info;
    sl_conn_info(conn.conn, &info);
    assert_true(info.bytes_in < 4500000); /* the server was held back too */
    sl_stream_credit(stream.stream, 5000);
    rig_run_ms(&rig, 100);
    assert_int_equal(stream.out_len[0] + stream.out_len[1], 6000);
    stream.credit = RIG_CREDIT_ALWAYS;
    sl_stream_credit(stream.stream, 65536);
    assert_true(rig_wait(&rig, &stream.ended, 20000));
    assert_int_equal(stream.out_len[0], 9000000);
    assert_int_equal(stream.out_len[1], 4);
    assert_int_equal(stream.exit_status, 0);
    rig_stream_fini(&stream);
}

TEST(test_environment)
{
    struct rig_stream stream;
    const struct sl_stream_env env[] = {
        {"LC_ONE", "1 and\n2"}, {"SECRET", "no"}, {"LC_TWO", ""}, {"LC_SSHLEASE", "forged"}, {"LANG", "C.UTF-8"}};
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC,
        .command = "env | grep -c LC_ONE; echo \"$LC_ONE,$SECRET,${LC_TWO-unset},$LANG\"; echo $LC_SSHLEASE | grep -c "
                   "forged",
        .env = env,
        .env_count = 5,
        .credit = 65536};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_string_equal(rig_out(&stream), "1\n1 and\n2,,,C.UTF-8\n0\n");
    rig_stream_fini(&stream);
}

TEST(test_pty)
{
    struct rig_stream stream;
    uint8_t modes[600];
    /* More modes than libssh2 takes; the first says that echo is off. */
    for (size_t i = 0; i + 5 <= sizeof modes; i += 5)
        memcpy(modes + i, "\x35\0\0\0\0", 5);
    modes[sizeof modes - 1] = 0;
    const struct sl_stream_pty pty = {
        .term = "xterm", .cols = 81, .rows = 33, .modes = modes, .modes_len = sizeof modes};
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC,
        .command = "stty size; echo $TERM; stty -a | grep -c -e '-echo '; trap 'stty size; exit 5' WINCH; echo ready; "
                   "while :; do sleep 0.05; done",
        .pty = &pty,
        .credit = 65536};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    assert_true(rig_wait_out(&stream, "ready\r\n", 5000));
    assert_non_null(strstr(rig_out(&stream), "33 81\r\nxterm\r\n1\r\n"));
    sl_stream_resize(stream.stream, 70, 20, 0, 0);
    sl_stream_resize(stream.stream, 100, 40, 0, 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_non_null(strstr(rig_out(&stream), "40 100\r\n"));
    assert_int_equal(stream.exit_status, 5);
    rig_stream_fini(&stream);
}

TEST(test_shell_and_subsystem)
{
    struct rig_stream stream;
    struct sl_stream_spec spec = {.kind = SL_SPEC_SHELL, .credit = 65536};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    assert_int_equal(sl_stream_write(stream.stream, "echo shell; exit 9\n", 19), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_string_equal(rig_out(&stream), "shell\n");
    assert_int_equal(stream.exit_status, 9);
    rig_stream_fini(&stream);
    spec = (struct sl_stream_spec){.kind = SL_SPEC_SUBSYSTEM, .command = "nonsense", .credit = 65536};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    assert_string_equal(stream.open_text, "the server refuses this subsystem");
    assert_int_equal(stream.how, SL_RESULT_UNKNOWN);
    rig_stream_fini(&stream);
    rig_run(&conn, &stream, "exit 4");
    assert_int_equal(stream.exit_status, 4);
    rig_stream_fini(&stream);
}

TEST(test_eight_at_once)
{
    struct rig_stream stream[9];
    for (unsigned i = 0; i < 8; i++) {
        char command[64];
        snprintf(command, sizeof command, "sleep 0.1; echo %u; exit %u", i, i + 1);
        assert_int_equal(rig_exec(&conn, &stream[i], command), 0);
    }
    assert_int_equal(rig_exec(&conn, &stream[8], "true"), SL_E_STREAM_LIMIT);
    struct sl_conn_info info;
    sl_conn_info(conn.conn, &info);
    assert_int_equal(info.streams, 8);
    assert_int_equal(info.stream_limit, 8);
    assert_false(sl_tenant_is_clean(conn.tenant));
    for (unsigned i = 0; i < 8; i++) {
        char expected[16];
        assert_true(rig_wait(&rig, &stream[i].ended, 10000));
        snprintf(expected, sizeof expected, "%u\n", i);
        assert_string_equal(rig_out(&stream[i]), expected);
        assert_int_equal(stream[i].exit_status, i + 1);
        rig_stream_fini(&stream[i]);
    }
    assert_true(sl_tenant_is_clean(conn.tenant));
    /* Slots that come back late are waited for. */
    for (unsigned i = 0; i < 40; i++) {
        rig_run(&conn, &stream[0], "exit 2");
        assert_int_equal(stream[0].open_status, 0);
        assert_int_equal(stream[0].exit_status, 2);
        rig_stream_fini(&stream[0]);
    }
}

/* Answers of one channel that arrive while another is asking are not taken for its own. */
TEST(test_many_requests_at_once)
{
    const struct sl_stream_env env[] = {{"LC_A", "a"}, {"LC_B", "b"}, {"LC_C", "c"}};
    for (unsigned round = 0; round < 8; round++) {
        struct rig_stream stream[8];
        for (unsigned i = 0; i < 8; i++) {
            char command[32];
            snprintf(command, sizeof command, "echo $LC_A$LC_B$LC_C; exit %u", i);
            const struct sl_stream_spec spec = {
                .kind = SL_SPEC_EXEC, .command = command, .env = env, .env_count = i % 4, .credit = 65536};
            assert_int_equal(rig_open_spec(&conn, &stream[i], &spec), 0);
        }
        for (unsigned i = 0; i < 8; i++) {
            char expected[8] = "abc";
            assert_true(rig_wait(&rig, &stream[i].ended, 10000));
            strcpy(expected + i % 4, "\n");
            assert_string_equal(rig_out(&stream[i]), expected);
            assert_int_equal(stream[i].how, SL_RESULT_STATUS);
            assert_int_equal(stream[i].exit_status, i);
            rig_stream_fini(&stream[i]);
        }
    }
}

/* Six streams of data both ways while the server asks for new keys after every megabyte. */
TEST(test_rekeying)
{
    enum { STREAMS = 6, TOTAL = 4 * 1024 * 1024 };
    struct rig_stream stream[STREAMS];
    size_t written[STREAMS] = {0};
    uint8_t *data = malloc(TOTAL);
    assert_non_null(data);
    uint32_t chance = 1;
    for (size_t i = 0; i < TOTAL; i++) {
        chance = chance * 1664525u + 1013904223u;
        data[i] = (uint8_t)(chance >> 24);
    }
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(rig_exec(&conn, &stream[i], "cat"), 0);
    uint64_t deadline = uv_hrtime() + 60ull * 1000000000;
    for (int left = STREAMS; left > 0 && uv_hrtime() < deadline;) {
        left = STREAMS;
        for (int i = 0; i < STREAMS; i++) {
            if (stream[i].ended != 0) {
                left--;
                continue;
            }
            size_t room = SL_STREAM_WINDOW - (written[i] - stream[i].sent);
            room = room < TOTAL - written[i] ? room : TOTAL - written[i];
            if (room > 0) {
                assert_int_equal(sl_stream_write(stream[i].stream, data + written[i], room), 0);
                written[i] += room;
                if (written[i] == TOTAL)
                    sl_stream_eof(stream[i].stream);
            }
        }
        if (left > 0)
            uv_run(&rig.loop, UV_RUN_ONCE);
    }
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(stream[i].ended, 1);
        assert_int_equal(stream[i].exit_status, 0);
        assert_int_equal(stream[i].out_len[0], TOTAL);
        assert_memory_equal(stream[i].out[0], data, TOTAL);
        rig_stream_fini(&stream[i]);
    }
    free(data);
    struct sl_conn_info info;
    sl_conn_info(conn.conn, &info);
    assert_true(info.bytes_in > (uint64_t)STREAMS * TOTAL);
}

TEST(test_close_ends_the_command)
{
    struct rig_stream stream;
    target->policy.kill_grace_ms = 200;
    /* One that ends on TERM, and one that does not. */
    assert_int_equal(rig_exec(&conn, &stream, "echo $$; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "\n", 5000));
    pid_t pid = (pid_t)atoi(rig_out(&stream));
    sl_stream_close(stream.stream);
    sl_stream_close(stream.stream);
    assert_int_equal(stream.ended, 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.how, SL_RESULT_SIGNAL);
    assert_string_equal(stream.signal, "TERM");
    assert_true(test_wait_gone(pid, 1000));
    rig_stream_fini(&stream);
    assert_int_equal(rig_exec(&conn, &stream, "trap '' TERM; echo $$; while :; do sleep 0.1; done"), 0);
    assert_true(rig_wait_out(&stream, "\n", 5000));
    pid = (pid_t)atoi(rig_out(&stream));
    sl_stream_close(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.how, SL_RESULT_SIGNAL);
    assert_string_equal(stream.signal, "KILL");
    assert_true(test_wait_gone(pid, 1000));
    rig_stream_fini(&stream);
    /* One that was not even asked for yet. */
    assert_int_equal(rig_exec(&conn, &stream, "sleep 60"), 0);
    sl_stream_close(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.opened, 0);
    rig_stream_fini(&stream);
    assert_true(sl_tenant_is_clean(conn.tenant));
    target->policy.kill_grace_ms = 2000;
}

TEST(test_long_command_is_refused)
{
    struct rig_stream stream;
    char *command = malloc(262002);
    assert_non_null(command);
    memset(command, 'x', 262001);
    command[262001] = '\0';
    assert_int_equal(rig_exec(&conn, &stream, command), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    free(command);
    rig_stream_fini(&stream);
    const size_t len = 34000; /* whatever the library */
    char *fits = malloc(len + 1);
    assert_non_null(fits);
    memset(fits, ' ', len);
    memcpy(fits, "exit 6", 6);
    fits[len] = '\0';
    rig_run(&conn, &stream, fits);
    assert_int_equal(stream.exit_status, 6);
    free(fits);
    rig_stream_fini(&stream);
}

/* The end of input goes with the command; data has to wait for the window that sshd gives with its answer. */
TEST(test_input_goes_behind_the_command)
{
    struct rig_stream stream;
    struct sl_conn_info before, after;
    size_t burst[2];
    for (int eof = 0; eof < 2; eof++) {
        rig_run_ms(&rig, 300);
        sl_conn_info(conn.conn, &before);
        assert_int_equal(rig_exec(&conn, &stream, "cat"), 0);
        if (eof == 1)
            sl_stream_eof(stream.stream);
        uv_run(&rig.loop, UV_RUN_NOWAIT);
        sl_conn_info(conn.conn, &after);
        burst[eof] = after.bytes_out - before.bytes_out;
        if (eof == 0) {
            assert_int_equal(sl_stream_write(stream.stream, "0123456789", 10), 0);
            sl_stream_eof(stream.stream);
        }
        assert_true(rig_wait(&rig, &stream.ended, 5000));
        assert_string_equal(rig_out(&stream), eof == 1 ? "" : "0123456789");
        rig_stream_fini(&stream);
    }
    assert_true(burst[1] > burst[0]);
    /* A server that refuses drops it. */
    const struct sl_stream_spec spec = {.kind = SL_SPEC_SUBSYSTEM, .command = "nonsense", .credit = 65536};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    assert_int_equal(sl_stream_write(stream.stream, "0123456789", 10), 0);
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    rig_stream_fini(&stream);
    rig_run(&conn, &stream, "exit 3");
    assert_int_equal(stream.exit_status, 3);
    rig_stream_fini(&stream);
}

/* The whole of a warm command: one burst to the server, sent before the loop waits again. */
TEST(test_warm_command_is_one_burst)
{
    struct rig_stream stream;
    struct sl_conn_info before, after;
    rig_run_ms(&rig, 200); /* the pre-opened channel, and its cookie */
    sl_conn_info(conn.conn, &before);
    assert_int_equal(rig_exec(&conn, &stream, "true"), 0);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    sl_conn_info(conn.conn, &after);
    assert_true(after.bytes_out > before.bytes_out);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    rig_stream_fini(&stream);
}

int main(void)
{
    if (!test_sshd_available()) {
        printf("no sshd here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exit_codes, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_exit_before_the_output_ends, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_stdin_echo, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_window_towards_the_server, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_input_in_small_pieces, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_input_nobody_reads, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_signals, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_credit_holds_output_back, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_environment, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_pty, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_shell_and_subsystem, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_eight_at_once, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_many_requests_at_once, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_rekeying, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_close_ends_the_command, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_long_command_is_refused, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_input_goes_behind_the_command, stage_setup_connected, stage_teardown),
        cmocka_unit_test_setup_teardown(test_warm_command_is_one_burst, stage_setup_connected, stage_teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, stage_close);
}
