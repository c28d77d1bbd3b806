/* SPDX-License-Identifier: MIT */
/* Ports that a real sshd listens on for us, and what a reclaim, a close and a loss make of them and of forwards. */
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/far.h"
#include "tests/unit/ssh/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the server listens --- */

struct rig_remote {
    struct sl_remote *remote;
    unsigned listening, connections, closed;
    int status;
    uint16_t port;
    char text[300];
};

static void on_listening(void *arg, int status, uint16_t port, const char *text)
{
    struct rig_remote *remote = arg;
    remote->listening++;
    remote->status = status;
    remote->port = port;
    snprintf(remote->text, sizeof remote->text, "%s", text);
}

static void on_connection(void *arg)
{
    ((struct rig_remote *)arg)->connections++;
}

static void on_remote_closed(void *arg)
{
    struct rig_remote *remote = arg;
    remote->closed++;
    remote->remote = NULL;
}

static const struct sl_remote_handler remote_handler = {on_listening, on_connection, on_remote_closed};

static void open_remote(struct rig_remote *remote, const char *host, uint16_t port)
{
    memset(remote, 0, sizeof *remote);
    assert_int_equal(sl_remote_open(conn.tenant, host, port, &remote_handler, remote, &remote->remote), 0);
    assert_true(rig_wait(&rig, &remote->listening, 5000));
}

static void accept_stream(struct rig_remote *remote, struct rig_stream *stream)
{
    assert_true(rig_wait(&rig, &remote->connections, 5000));
    remote->connections--;
    memset(stream, 0, sizeof *stream);
    stream->rig = &rig;
    assert_int_equal(sl_remote_accept(remote->remote, rig_stream_handler(), stream, 65536, &stream->stream), 0);
}

static void cancel(struct rig_remote *remote)
{
    sl_remote_close(remote->remote);
    sl_remote_close(remote->remote);
    assert_true(rig_wait(&rig, &remote->closed, 5000));
}

/* A round trip: what was sent before has been done. */
static void sync_with_server(void)
{
    struct rig_stream command;
    rig_run(&conn, &command, "true");
    rig_stream_fini(&command);
}

TEST(test_remote_port)
{
    struct rig_remote remote;
    struct rig_stream stream;
    open_remote(&remote, "127.0.0.1", 0);
    assert_int_equal(remote.status, 0);
    assert_true(remote.port != 0);
    assert_false(sl_tenant_is_clean(conn.tenant));
    assert_int_equal(sl_remote_accept(remote.remote, rig_stream_handler(), &stream, 1, &stream.stream), SL_E_AGAIN);
    int far = far_dial(remote.port);
    assert_true(far >= 0);
    assert_int_equal(send(far, "knock\0", 6, 0), 6);
    accept_stream(&remote, &stream);
    assert_true(rig_wait_out(&stream, "knock", 5000));
    assert_int_equal(sl_stream_write(stream.stream, "come in", 7), 0);
    sl_stream_eof(stream.stream);
    rig_run_ms(&rig, 20);
    far_expect(far, "come in", 7);
    close(far);
    assert_true(rig_wait(&rig, &stream.ended, 5000));
    assert_int_equal(stream.opened, 1);
    assert_int_equal(stream.how, SL_RESULT_CLOSED);
    assert_int_equal(stream.out_len[0], 6);
    rig_stream_fini(&stream);
    cancel(&remote);
    sync_with_server();
    assert_int_equal(far_dial(remote.port), -1);
    assert_true(sl_tenant_is_clean(conn.tenant));
}

/* The server has listened when it has not yet answered: a connection that comes between the two is not lost. */
TEST(test_somebody_waits_for_the_port)
{
    unsigned unheard = 0;
    for (int i = 0; i < 5; i++) {
        struct rig_remote remote;
        struct rig_stream stream;
        uint16_t port;
        close(far_listen(&port, 1));
        memset(&remote, 0, sizeof remote);
        assert_int_equal(sl_remote_open(conn.tenant, "127.0.0.1", port, &remote_handler, &remote, &remote.remote), 0);
        uv_run(&rig.loop, UV_RUN_NOWAIT); /* asked, and looked away */
        uv_run(&rig.loop, UV_RUN_NOWAIT);
        int far = -1;
        while ((far = far_dial(port)) < 0)
            usleep(100);
        unheard += remote.listening == 0;
        usleep(100000); /* the answer and the connection lie in our socket together */
        accept_stream(&remote, &stream);
        close(far);
        sl_stream_eof(stream.stream);
        assert_true(rig_wait(&rig, &stream.ended, 5000));
        cancel(&remote);
    }
    assert_true(unheard > 0);
}

TEST(test_remote_port_taken)
{
    struct rig_remote remote;
    uint16_t port;
    int listener = far_listen(&port, 1);
    open_remote(&remote, "127.0.0.1", port);
    assert_int_equal(remote.status, SL_E_STREAM_REFUSED);
    assert_non_null(strstr(remote.text, "127.0.0.1"));
    assert_true(rig_wait(&rig, &remote.closed, 1000));
    assert_true(sl_tenant_is_clean(conn.tenant));
    close(listener);
}

/* The same port again right after its cancelling, several at once, one cancelled before its answer. */
TEST(test_remote_ports_in_turn)
{
    struct rig_remote first, again, other, unwanted = {0};
    open_remote(&first, "localhost", 0);
    sl_remote_close(first.remote);
    memset(&again, 0, sizeof again);
    memset(&other, 0, sizeof other);
    assert_int_equal(sl_remote_open(conn.tenant, "localhost", first.port, &remote_handler, &again, &again.remote), 0);
    assert_int_equal(sl_remote_open(conn.tenant, "localhost", 0, &remote_handler, &unwanted, &unwanted.remote), 0);
    assert_int_equal(sl_remote_open(conn.tenant, "localhost", 0, &remote_handler, &other, &other.remote), 0);
    rig_run_ms(&rig, 0);
    sl_remote_close(unwanted.remote);
    assert_true(rig_wait(&rig, &again.listening, 5000));
    assert_true(rig_wait(&rig, &other.listening, 5000));
    assert_true(rig_wait(&rig, &unwanted.closed, 5000));
    assert_int_equal(again.status, 0);
    assert_int_equal(again.port, first.port);
    assert_int_equal(other.status, 0);
    assert_int_equal(first.closed, 1);
    cancel(&again);
    cancel(&other);
    assert_true(sl_tenant_is_clean(conn.tenant));
}

TEST(test_many_arrive_at_once)
{
    enum { COUNT = 12 };
    struct rig_remote remote;
    static struct rig_stream stream[COUNT];
    int far[COUNT];
    open_remote(&remote, "127.0.0.1", 0);
    for (size_t i = 0; i < COUNT; i++) {
        far[i] = far_dial(remote.port);
        assert_true(far[i] >= 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        accept_stream(&remote, &stream[i]);
        assert_int_equal(sl_stream_write(stream[i].stream, "hello", 5), 0);
    }
    rig_run_ms(&rig, 20);
    for (size_t i = 0; i < COUNT; i++)
        far_expect(far[i], "hello", 5);
    /* One more waits when the port is cancelled: it is closed, the accepted ones stay. */
    int late = far_dial(remote.port);
    assert_true(rig_wait(&rig, &remote.connections, 5000));
    cancel(&remote);
    char c;
    rig_run_ms(&rig, 20);
    assert_int_equal(recv(late, &c, 1, 0), 0);
    close(late);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(stream[i].ended, 0);
        sl_stream_close(stream[i].stream);
        assert_true(rig_wait(&rig, &stream[i].ended, 5000));
        close(far[i]);
    }
    assert_true(sl_tenant_is_clean(conn.tenant));
}

/* --- the end of a lease, and of a connection --- */

TEST(test_drain)
{
    struct rig_remote remote;
    struct rig_stream stream;
    uint16_t port;
    int listener = far_listen(&port, 4);
    rig_lease(&conn);
    open_remote(&remote, "127.0.0.1", 0);
    assert_int_equal(far_open_tcp(&conn, &stream, port), 0);
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    int far = accept(listener, NULL, NULL);
    sl_tenant_drain(conn.tenant);
    assert_true(rig_wait(&rig, &conn.drained, 5000));
    assert_int_equal(conn.report.streams, 0); /* nothing ran there */
    assert_int_equal(conn.report.remaining, 0);
    assert_true(conn.report.sweep_ran);
    assert_string_equal(conn.report_text, "");
    assert_int_equal(stream.ended, 1);
    assert_int_equal(remote.closed, 1);
    char c;
    assert_int_equal(recv(far, &c, 1, 0), 0);
    close(far);
    close(listener);
}

TEST(test_closed_with_everything_open)
{
    struct far_hole hole;
    far_dig(&hole);
    struct rig_remote remote;
    struct rig_stream stream, connecting;
    uint16_t port;
    int listener = far_listen(&port, 4);
    open_remote(&remote, "127.0.0.1", 0);
    int far = far_dial(remote.port);
    assert_true(rig_wait(&rig, &remote.connections, 5000)); /* and it is not accepted */
    assert_int_equal(far_open_tcp(&conn, &stream, port), 0);
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    assert_int_equal(far_open_tcp(&conn, &connecting, hole.port), 0);
    rig_run_ms(&rig, 20);
    rig_close(&conn);
    assert_int_equal(stream.ended, 1);
    assert_int_equal(stream.how, SL_RESULT_UNKNOWN);
    assert_int_equal(connecting.ended, 1);
    assert_int_equal(remote.closed, 1);
    far_fill(&hole);
    close(far);
    close(listener);
}

TEST(test_the_server_dies)
{
    struct rig_remote remote;
    struct rig_stream stream;
    open_remote(&remote, "127.0.0.1", 0);
    int far = far_dial(remote.port);
    accept_stream(&remote, &stream);
    test_sshd_signal_children(&sshd, SIGKILL);
    assert_true(rig_wait(&rig, &conn.lost, 5000));
    assert_int_equal(stream.ended, 1);
    assert_int_equal(stream.how, SL_RESULT_UNKNOWN);
    assert_int_equal(remote.closed, 1);
    close(far);
}

int main(void)
{
    if (!test_sshd_available()) {
        fprintf(stderr, "no sshd here\n");
        return 77;
    }
#define ENTRY(name) cmocka_unit_test_setup_teardown(name, stage_setup_connected, stage_teardown)
    const struct CMUnitTest tests[] = {
        ENTRY(test_remote_port),
        ENTRY(test_somebody_waits_for_the_port),
        ENTRY(test_remote_port_taken),
        ENTRY(test_remote_ports_in_turn),
        ENTRY(test_many_arrive_at_once),
        ENTRY(test_drain),
        ENTRY(test_closed_with_everything_open),
        ENTRY(test_the_server_dies),
    };
    return cmocka_run_group_tests(tests, stage_open, stage_close);
}
