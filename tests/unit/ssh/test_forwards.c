/* SPDX-License-Identifier: MIT */
/* Forwards against a real sshd: TCP and Unix sockets it connects to, refusals with their reasons, a server that
 * connects into the void. */
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/far.h"
#include "tests/unit/ssh/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int group_setup(void **state)
{
    (void)state;
    return stage_open_with("RekeyLimit 1M\nMaxSessions 3\n");
}

/* --- the server connects --- */

TEST(test_tcp_both_ways_and_half_closed)
{
    struct rig_stream stream;
    uint16_t port;
    int listener = far_listen(&port, 4);
    assert_int_equal(far_open_tcp(&conn, &stream, port), 0);
    assert_int_equal(sl_stream_write(stream.stream, "up\0!", 4), 0); /* before it is open */
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    assert_int_equal(stream.open_status, 0);
    rig_run_ms(&rig, 1);
    int far = accept(listener, NULL, NULL);
    assert_true(far >= 0);
    far_expect(far, "up\0!", 4);
    char c;
    assert_int_equal(recv(far, &c, 1, 0), 0); /* our end of input; the other way is open */
    assert_int_equal(send(far, "down\0", 5, 0), 5);
    assert_true(rig_wait_out(&stream, "down", 5000));
    assert_int_equal(stream.eof, 0);
    close(far);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.out_len[0], 5);
    assert_memory_equal(stream.out[0], "down\0", 5);
    assert_int_equal(stream.eof, 1);
    assert_int_equal(stream.how, SL_RESULT_CLOSED);
    assert_int_equal(stream.sent, 4);
    assert_true(sl_tenant_is_clean(conn.tenant));
    rig_stream_fini(&stream);
    close(listener);
}

TEST(test_the_far_end_closes_first)
{
    struct rig_stream stream;
    uint16_t port;
    int listener = far_listen(&port, 4);
    assert_int_equal(far_open_tcp(&conn, &stream, port), 0);
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    int far = accept(listener, NULL, NULL);
    assert_int_equal(send(far, "bye", 3, 0), 3);
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    assert_true(rig_wait(&rig, &stream.eof, 5000));
    assert_string_equal(rig_out(&stream), "bye");
    assert_int_equal(stream.ended, 0);
    assert_int_equal(sl_stream_write(stream.stream, "still", 5), 0);
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    far_expect(far, "still", 5);
    assert_int_equal(stream.how, SL_RESULT_CLOSED);
    rig_stream_fini(&stream);
    close(far);
    close(listener);
}

/* A child that sends everything back. */
static pid_t start_echo(int listener)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static char buf[65536];
        int fd = accept(listener, NULL, NULL);
        ssize_t n;
        while ((n = read(fd, buf, sizeof buf)) > 0) {
            for (ssize_t at = 0, m; at < n; at += m)
                if ((m = write(fd, buf + at, (size_t)(n - at))) <= 0)
                    _exit(1);
        }
        _exit(0);
    }
    return pid;
}

TEST(test_bulk_across_new_keys)
{
    enum { TOTAL = 6 << 20, PIECE = 32768 };
    uint8_t *data = malloc(TOTAL);
    assert_non_null(data);
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 11);
    struct rig_stream stream;
    uint16_t port;
    int listener = far_listen(&port, 4);
    pid_t echo = start_echo(listener);
    assert_int_equal(far_open_tcp(&conn, &stream, port), 0);
    size_t written = 0;
    for (int turns = 0; written < TOTAL && turns < 20000 && stream.ended == 0; turns++) {
        while (written < TOTAL && written - stream.sent + PIECE <= SL_STREAM_WINDOW) {
            assert_int_equal(sl_stream_write(stream.stream, data + written, PIECE), 0);
            written += PIECE;
        }
        rig_run_ms(&rig, 1);
    }
    assert_int_equal(written, TOTAL);
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 20000));
    assert_int_equal(stream.how, SL_RESULT_CLOSED);
    assert_int_equal(stream.out_len[0], TOTAL);
    assert_memory_equal(stream.out[0], data, TOTAL);
    int status;
    assert_int_equal(waitpid(echo, &status, 0), echo);
    rig_stream_fini(&stream);
    free(data);
    close(listener);
}

TEST(test_unix)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    test_path(&sshd, "far.sock", at.sun_path, sizeof at.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(chmod(at.sun_path, 0777), 0);
    assert_int_equal(listen(listener, 4), 0);
    struct rig_stream stream;
    const struct sl_stream_spec spec = {.kind = SL_SPEC_UNIX, .path = at.sun_path, .credit = 65536};
    assert_int_equal(rig_open_spec(&conn, &stream, &spec), 0);
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    assert_string_equal(stream.open_text, "");
    int far = accept(listener, NULL, NULL);
    assert_int_equal(send(far, "over unix", 9, 0), 9);
    close(far);
    assert_true(rig_wait_out(&stream, "over unix", 5000));
    sl_stream_eof(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.how, SL_RESULT_CLOSED);
    rig_stream_fini(&stream);
    close(listener);
    unlink(at.sun_path);

    struct rig_stream nobody;
    assert_int_equal(rig_open_spec(&conn, &nobody, &spec), 0);
    assert_true(rig_wait(&rig, &nobody.ended, 5000));
    assert_int_equal(nobody.open_status, SL_E_STREAM_REFUSED);
    assert_non_null(strstr(nobody.open_text, "far.sock"));
    assert_non_null(strstr(nobody.open_text, "connect failed"));
}

TEST(test_nobody_listens)
{
    struct rig_stream stream;
    uint16_t port;
    close(far_listen(&port, 1));
    assert_int_equal(far_open_tcp(&conn, &stream, port), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.opened, 1);
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    char where[32];
    snprintf(where, sizeof where, "127.0.0.1:%u", (unsigned)port);
    assert_non_null(strstr(stream.open_text, where));
    assert_non_null(strstr(stream.open_text, "connect failed"));
    assert_true(sl_tenant_is_clean(conn.tenant));
}

TEST(test_forbidden)
{
    struct test_sshd strict;
    test_sshd_start(&strict, "AllowTcpForwarding no\n");
    struct sl_target_conf *other = rig_target(&strict);
    struct rig_conn refusing;
    assert_true(rig_connect(&rig, &refusing, other));
    struct rig_stream stream;
    const struct sl_stream_spec spec = {.kind = SL_SPEC_TCP, .host = "::1", .port = 80};
    assert_int_equal(rig_open_spec(&refusing, &stream, &spec), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    assert_string_equal(stream.open_text, "the server does not connect to [::1]:80: administratively prohibited");
    rig_close(&refusing);
    sl_target_conf_unref(other);
    test_sshd_stop(&strict);
}

/* Sessions are few here, forwards are none of them. */
TEST(test_more_than_sessions)
{
    enum { COUNT = SL_FORWARDS_MAX };
    static struct rig_stream stream[COUNT];
    struct rig_stream one_more, command;
    uint16_t port;
    int listener = far_listen(&port, COUNT + 1);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(far_open_tcp(&conn, &stream[i], port), 0);
    assert_int_equal(far_open_tcp(&conn, &one_more, port), SL_E_STREAM_LIMIT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(rig_wait(&rig, &stream[i].opened, 10000));
        assert_string_equal(stream[i].open_text, "");
    }
    rig_run(&conn, &command, "echo here");
    assert_string_equal(rig_out(&command), "here\n");
    rig_stream_fini(&command);
    for (size_t i = 0; i < COUNT; i++)
        sl_stream_close(stream[i].stream);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(rig_wait(&rig, &stream[i].ended, 10000));
    assert_true(sl_tenant_is_clean(conn.tenant));
    close(listener);
}

/* --- into the void --- */

TEST(test_no_answer)
{
    struct far_hole hole;
    far_dig(&hole);
    target->policy.connect_timeout_ms = 300;
    struct rig_stream stream, command;
    assert_int_equal(far_open_tcp(&conn, &stream, hole.port), 0);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    assert_non_null(strstr(stream.open_text, "no answer within 0.3 s"));
    /* Whatever the server says of it later is nobody's; what is opened from here on is not mixed up with it. */
    assert_false(sl_tenant_is_clean(conn.tenant));
    far_fill(&hole);
    uint16_t port;
    int listener = far_listen(&port, 4);
    struct rig_stream another;
    assert_int_equal(far_open_tcp(&conn, &another, port), 0);
    assert_true(rig_wait(&rig, &another.opened, 5000));
    assert_int_equal(another.open_status, 0);
    sl_stream_close(another.stream);
    assert_true(rig_wait(&rig, &another.ended, 5000));
    rig_run(&conn, &command, "echo still here");
    assert_string_equal(rig_out(&command), "still here\n");
    rig_stream_fini(&command);
    close(listener);
}

/* Whoever closes it need not wait, and nor do the others for longer than a moment. */
TEST(test_closed_while_it_connects)
{
    struct far_hole hole;
    far_dig(&hole);
    struct rig_stream stream, behind;
    assert_int_equal(far_open_tcp(&conn, &stream, hole.port), 0);
    rig_run_ms(&rig, 50);
    uint16_t port;
    int listener = far_listen(&port, 4);
    assert_int_equal(far_open_tcp(&conn, &behind, port), 0);
    rig_run_ms(&rig, 50);
    assert_int_equal(behind.opened, 0);
    sl_stream_close(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 500));
    assert_int_equal(stream.opened, 0);
    assert_int_equal(stream.how, SL_RESULT_UNKNOWN);
    assert_true(rig_wait(&rig, &behind.opened, 4000));
    assert_int_equal(behind.open_status, 0);
    sl_stream_close(behind.stream);
    assert_true(rig_wait(&rig, &behind.ended, 5000));
    assert_false(sl_tenant_is_clean(conn.tenant));
    far_fill(&hole);
    close(listener);
}

int main(void)
{
    if (!test_sshd_available()) {
        fprintf(stderr, "no sshd here\n");
        return 77;
    }
#define ENTRY(name) cmocka_unit_test_setup_teardown(name, stage_setup_connected, stage_teardown)
    const struct CMUnitTest tests[] = {
        ENTRY(test_tcp_both_ways_and_half_closed),
        ENTRY(test_the_far_end_closes_first),
        ENTRY(test_bulk_across_new_keys),
        ENTRY(test_unix),
        ENTRY(test_nobody_listens),
        ENTRY(test_forbidden),
        ENTRY(test_more_than_sessions),
        ENTRY(test_no_answer),
        ENTRY(test_closed_while_it_connects),
    };
    return cmocka_run_group_tests(tests, group_setup, stage_close);
}
