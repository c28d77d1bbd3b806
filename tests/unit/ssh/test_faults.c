/* SPDX-License-Identifier: MIT */
/* What goes wrong: servers that are not there, speak something else, stall, die; and closing at any moment. */
#include "config/build.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/stage.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- a server that says what it is told to --- */

struct fake {
    pid_t pid;
    uint16_t port;
};

enum after { THEN_CLOSE, THEN_WAIT, THEN_REPEAT };

static int listen_here(uint16_t *ret_port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static struct fake start_fake(const void *say, size_t len, enum after after)
{
    struct fake fake;
    int listener = listen_here(&fake.port, 5);
    fake.pid = fork();
    if (fake.pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        int fd = accept(listener, NULL, NULL);
        char byte;
        ssize_t n = recv(fd, &byte, 1, MSG_WAITALL); /* the client speaks first, at once */
        do {
            n = write(fd, say, len);
        } while (after == THEN_REPEAT && n > 0);
        if (after == THEN_CLOSE)
            shutdown(fd, SHUT_WR);
        while (read(fd, &byte, 1) > 0) {
        }
        _exit(0);
    }
    close(listener);
    return fake;
}

static void expect_failure(int status, const char *text)
{
    char whole[512];
    assert_false(rig_connect(&rig, &conn, target));
    snprintf(whole, sizeof whole, "%s:%u: %s", target->host, (unsigned)target->port, text);
    assert_string_equal(conn.text, whole);
    assert_string_equal(sl_status_name(conn.status), sl_status_name(status));
    rig_close(&conn);
}

static void expect_of_fake(const void *say, size_t len, enum after after, int status, const char *text)
{
    struct fake fake = start_fake(say, len, after);
    target->port = fake.port;
    expect_failure(status, text);
    kill(fake.pid, SIGKILL);
    waitpid(fake.pid, NULL, 0);
}

#define SAY(text) (text), sizeof(text) - 1

TEST(test_nobody_there)
{
    uint16_t port;
    int fd = listen_here(&port, 1);
    close(fd);
    target->port = port;
    expect_failure(SL_E_CONNECT, "connection refused");
    free(target->host);
    target->host = strdup("no-such-host.invalid");
    assert_false(rig_connect(&rig, &conn, target));
    assert_int_equal(conn.status, SL_E_RESOLVE);
    assert_non_null(strstr(conn.text, "the host name does not resolve"));
    rig_close(&conn);
}

/* A queue that is full: the kernel answers nothing at all. */
TEST(test_black_hole)
{
    uint16_t port;
    int fd = listen_here(&port, 0), filler[8];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 8; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(filler[i], (struct sockaddr *)&at, sizeof at);
    }
    target->port = port;
    target->policy.connect_timeout_ms = 200;
    expect_failure(SL_E_CONNECT_TIMEOUT, "no answer");
    for (int i = 0; i < 8; i++)
        close(filler[i]);
    close(fd);
}

TEST(test_other_protocols)
{
    expect_of_fake(SAY("HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"), THEN_CLOSE, SL_E_HANDSHAKE,
        "does not speak SSH: got \"HTTP/1.1 400 Bad Request\"");
    expect_of_fake(
        SAY("220 mail\x1b[31m ready"), THEN_CLOSE, SL_E_HANDSHAKE, "does not speak SSH: got \"220 mail?[31m ready\"");
    expect_of_fake(SAY(""), THEN_CLOSE, SL_E_HANDSHAKE, "the server closed the connection before its banner");
    expect_of_fake(SAY("\0\0\0\0"), THEN_WAIT, SL_E_HANDSHAKE, "does not speak SSH: got binary data");
    expect_of_fake(SAY("Exceeded MaxStartups\r\n"), THEN_CLOSE, SL_E_CONNECT,
        "the server takes no connections right now: \"Exceeded MaxStartups\"");
    /* Lines without end. */
    expect_of_fake(SAY("spam and eggs\n"), THEN_REPEAT, SL_E_HANDSHAKE, "does not speak SSH: got \"spam and eggs\"");
    expect_of_fake(SAY("spam "), THEN_REPEAT, SL_E_HANDSHAKE,
        "does not speak SSH: got \"spam spam spam spam spam spam spam spam spam spam spam spam spam spam spam spam "
        "spam "
        "spam spam spam spam spam spam spam spam sp\"");
}

TEST(test_stalls)
{
    target->policy.login_timeout_ms = 200;
    expect_of_fake(SAY(""), THEN_WAIT, SL_E_LOGIN_TIMEOUT, "the server did not answer the SSH handshake within 0.2 s");
    target->policy.login_timeout_ms = 3000; /* its banner must have been read by then, however busy the machine is */
    expect_of_fake(SAY("SSH-2.0-fake\r\n"), THEN_WAIT, SL_E_LOGIN_TIMEOUT, "the SSH handshake took longer than 3 s");
    target->policy.login_timeout_ms = 30000;
    expect_of_fake(
        SAY("SSH-2.0-fake\r\n"), THEN_CLOSE, SL_E_HANDSHAKE, "the server closed the connection during the handshake");
}

TEST(test_broken_handshake)
{
    struct fake fake = start_fake(SAY("SSH-2.0-fake\r\n\xff\xff\xff\xff garbage garbage garbage"), THEN_WAIT);
    target->port = fake.port;
    assert_false(rig_connect(&rig, &conn, target));
    assert_int_equal(conn.status, SL_E_HANDSHAKE);
    assert_non_null(strstr(conn.text, "the SSH handshake failed: "));
    rig_close(&conn);
    kill(fake.pid, SIGKILL);
    waitpid(fake.pid, NULL, 0);
    /* A DISCONNECT in the place of the key exchange (RFC 4253 section 11.1). */
    static const char packet[] = "SSH-2.0-fake\r\n\0\0\0\x2c\x08\x01\0\0\0\x02\0\0\0\x16"
                                 "too tired, come later!\0\0\0\0\0\0\0\0\0\0\0\0";
    expect_of_fake(packet, sizeof packet - 1, THEN_CLOSE, SL_E_HANDSHAKE,
        "the server closed the connection: \"too tired, come later!\" during the handshake");
}

/* --- a connection that ends --- */

TEST(test_server_killed)
{
    struct rig_stream stream, waiting;
    assert_true(rig_connect(&rig, &conn, target));
    assert_int_equal(rig_exec(&conn, &stream, "echo go; sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "go\n", 5000));
    test_sshd_signal_children(&sshd, SIGKILL);
    assert_int_equal(rig_exec(&conn, &waiting, "true"), 0);
    assert_true(rig_wait(&rig, &conn.lost, 5000));
    assert_int_equal(conn.status, SL_E_CONNECTION_LOST);
    assert_non_null(strstr(conn.text, ": the server "));
    /* The streams have been told before, and nothing is a success. */
    assert_int_equal(stream.ended, 1);
    assert_int_equal(stream.how, SL_RESULT_UNKNOWN);
    assert_string_equal(stream.text, conn.text);
    assert_int_equal(waiting.ended, 1);
    assert_int_equal(rig_exec(&conn, &waiting, "true"), SL_E_CONNECTION_LOST);
    assert_false(sl_tenant_is_clean(conn.tenant));
    rig_stream_fini(&stream);
    rig_close(&conn);
}

TEST(test_ping)
{
    assert_true(rig_connect(&rig, &conn, target));
    rig_run_ms(&rig, 100);
    for (unsigned i = 1; i <= 5; i++) {
        conn.pongs = 0;
        sl_conn_ping(conn.conn);
        sl_conn_ping(conn.conn);
        assert_int_equal(conn.pongs, 0);
        assert_true(rig_wait(&rig, &conn.pongs, 2000));
        rig_run_ms(&rig, 20);
        assert_int_equal(conn.pongs, 1);
    }
    uint64_t received = sl_conn_last_received_ms(conn.conn);
    assert_true(received <= uv_now(&rig.loop) && received + 1000 > uv_now(&rig.loop));
    /* A server that has stopped says nothing, until it goes on. */
    test_sshd_signal_children(&sshd, SIGSTOP);
    conn.pongs = 0;
    sl_conn_ping(conn.conn);
    assert_false(rig_wait(&rig, &conn.pongs, 300));
    test_sshd_signal_children(&sshd, SIGCONT);
    assert_true(rig_wait(&rig, &conn.pongs, 5000));
    struct rig_stream stream;
    rig_run(&conn, &stream, "exit 3");
    assert_int_equal(stream.exit_status, 3);
    rig_stream_fini(&stream);
    assert_true(sl_tenant_is_clean(conn.tenant));
    /* And one that is closed while it says nothing goes all the same. */
    test_sshd_signal_children(&sshd, SIGSTOP);
    rig_close(&conn);
    test_sshd_signal_children(&sshd, SIGCONT);
}

/* --- closing --- */

TEST(test_close_at_any_moment)
{
    static const unsigned ms[] = {0, 1, 2, 4, 8, 16, 24, 32, 40, 48, 64, 96, 128};
    for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
        rig_dial(&rig, &conn, target);
        if (ms[i] > 0)
            rig_run_ms(&rig, ms[i]);
        rig_close(&conn);
        assert_int_equal(conn.lost, 0);
    }
    /* Twenty at once, in the middle of it. */
    struct rig_conn many[20];
    for (int i = 0; i < 20; i++)
        rig_dial(&rig, &many[i], target);
    rig_run_ms(&rig, 60);
    for (int i = 0; i < 20; i++)
        sl_conn_close(many[i].conn);
    for (int i = 0; i < 20; i++)
        assert_true(rig_wait(&rig, &many[i].closed, 5000));
}

/* Closes the connection from within one of its own callbacks. */
enum closer { IN_OPEN, IN_DATA, IN_EOF, IN_SENT, IN_END, IN_PONG, IN_READY };
struct closing {
    enum closer when;
    struct sl_conn *conn;
    struct sl_tenant *tenant;
    unsigned closed, ended, calls_after;
};

static void close_if(struct closing *c, enum closer now)
{
    c->calls_after += c->closed;
    if (c->when == now) {
        sl_conn_close(c->conn);
        sl_conn_close(c->conn);
    }
}

static void c_open(void *arg, int status, const char *text)
{
    (void)status;
    (void)text;
    close_if(arg, IN_OPEN);
}
static void c_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    (void)fd;
    (void)data;
    (void)len;
    close_if(arg, IN_DATA);
}
static void c_eof(void *arg)
{
    close_if(arg, IN_EOF);
}
static void c_sent(void *arg, size_t len)
{
    (void)len;
    close_if(arg, IN_SENT);
}
static void c_end(void *arg, const struct sl_stream_result *result)
{
    (void)result;
    ((struct closing *)arg)->ended++;
    close_if(arg, IN_END);
}
static const struct sl_stream_handler closing_stream = {c_open, c_data, c_eof, c_sent, NULL, c_end};

static void c_ready(void *arg)
{
    struct closing *c = arg;
    struct sl_stream *stream;
    close_if(c, IN_READY);
    if (c->when == IN_READY)
        return;
    sl_conn_ping(c->conn);
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = "cat", .credit = 65536};
    assert_int_equal(sl_tenant_begin(c->conn, &c->tenant), 0);
    assert_int_equal(sl_stream_open(c->tenant, &spec, &closing_stream, c, &stream), 0);
    assert_int_equal(sl_stream_write(stream, "hello", 5), 0);
    sl_stream_eof(stream);
}
static void c_lost(void *arg, int status, const char *text)
{
    (void)arg;
    (void)status;
    (void)text;
}
static void c_pong(void *arg)
{
    close_if(arg, IN_PONG);
}
static void c_drained(void *arg, struct sl_tenant *tenant, const struct sl_drain_report *report)
{
    (void)arg;
    (void)tenant;
    (void)report;
}
static void c_closed(void *arg)
{
    ((struct closing *)arg)->closed = 1;
}
static void c_answered(void *arg)
{
    (void)arg;
}
static const struct sl_conn_handler closing_conn = {
    .on_ready = c_ready,
    .on_lost = c_lost,
    .on_answered = c_answered,
    .on_pong = c_pong,
    .on_drained = c_drained,
    .on_closed = c_closed,
};

static void on_turn(uv_prepare_t *prepare)
{
    ++*(unsigned *)prepare->data;
}

/* Turns of the loop in 50 ms in which nothing is to be done. */
static unsigned turns_at_rest(void)
{
    unsigned turns = 0;
    uv_prepare_t prepare;
    uv_prepare_init(&rig.loop, &prepare);
    prepare.data = &turns;
    uv_prepare_start(&prepare, on_turn);
    rig_run_ms(&rig, 50);
    uv_close((uv_handle_t *)&prepare, NULL);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    return turns;
}

TEST(test_close_from_callbacks)
{
    for (int when = IN_OPEN; when <= IN_READY; when++) {
        struct closing c = {.when = (enum closer)when};
        assert_int_equal(sl_conn_open(rig.transport, target, rig.compat, &closing_conn, &c, &c.conn), 0);
        assert_true(rig_wait(&rig, &c.closed, 10000));
        rig_run_ms(&rig, 20);
        assert_int_equal(c.ended, when == IN_READY ? 0 : 1);
        assert_int_equal(c.calls_after, 0);
        assert_in_range(turns_at_rest(), 1, 10);
    }
}

/* --- sessions the server does not allow --- */

TEST(test_session_limit)
{
    struct test_sshd small;
    struct rig_stream stream[4];
    struct sl_conn_info info;
    test_sshd_start(&small, "MaxSessions 2\n");
    struct sl_target_conf *narrow = rig_target(&small);
    assert_true(rig_connect(&rig, &conn, narrow));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_exec(&conn, &stream[i], "echo go; sleep 60"), 0);
        assert_true(rig_wait_out(&stream[i], "go\n", 5000));
    }
    assert_int_equal(rig_exec(&conn, &stream[2], "true"), 0);
    assert_true(rig_wait(&rig, &stream[2].ended, 10000));
    assert_int_equal(stream[2].open_status, SL_E_STREAM_LIMIT);
    assert_string_equal(stream[2].open_text, "the server opens only 2 sessions at once");
    sl_conn_info(conn.conn, &info);
    assert_int_equal(info.stream_limit, 2);
    assert_int_equal(rig_exec(&conn, &stream[3], "true"), SL_E_STREAM_LIMIT);
    for (int i = 0; i < 2; i++) {
        sl_stream_close(stream[i].stream);
        assert_true(rig_wait(&rig, &stream[i].ended, 5000));
        rig_stream_fini(&stream[i]);
    }
    for (int i = 0; i < 5; i++) {
        rig_run(&conn, &stream[0], "exit 3");
        assert_int_equal(stream[0].exit_status, 3);
        rig_stream_fini(&stream[0]);
    }
    rig_close(&conn);
    sl_target_conf_unref(narrow);
    test_sshd_stop(&small);
}

/* No session at all: the connection lives, pings, and says what it cannot. */
TEST(test_no_sessions)
{
    struct test_sshd none;
    struct rig_stream stream;
    test_sshd_start(&none, "MaxSessions 0\nClientAliveInterval 1\nClientAliveCountMax 2\n");
    struct sl_target_conf *narrow = rig_target(&none);
    assert_true(rig_connect(&rig, &conn, narrow));
    assert_int_equal(rig_exec(&conn, &stream, "true"), 0);
    assert_true(rig_wait(&rig, &stream.ended, 10000));
    assert_int_equal(stream.open_status, SL_E_STREAM_REFUSED);
    assert_string_equal(stream.open_text, "the server opens no sessions");
    sl_conn_ping(conn.conn);
    assert_true(rig_wait(&rig, &conn.pongs, 2000));
    /* The server's own keepalives are answered, or it would hang up. */
    rig_run_ms(&rig, 4000);
    assert_int_equal(conn.lost, 0);
    rig_close(&conn);
    sl_target_conf_unref(narrow);
    test_sshd_stop(&none);
}

int main(void)
{
    if (!test_sshd_available()) {
        printf("no sshd here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nobody_there, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_black_hole, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_other_protocols, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_stalls, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_broken_handshake, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_server_killed, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_ping, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_close_at_any_moment, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_close_from_callbacks, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_session_limit, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_no_sessions, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, stage_open, stage_close);
}
