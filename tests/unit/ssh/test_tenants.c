/* SPDX-License-Identifier: MIT */
/* Several leases on one connection: each has its own streams, cookies and clean-up, and leaves for another connection
 * when the server has no session for it. */
#include "daemon/ssh/channel/stream.h"
#include "daemon/ssh/channel/tenant.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int group_setup(void **state)
{
    (void)state;
    return stage_open_with("MaxSessions 2\n");
}

static int setup(void **state)
{
    (void)stage_setup(state);
    target->policy.kill_grace_ms = 300;
    target->policy.sharing = 4;
    assert_true(rig_connect(&rig, &conn, target));
    return 0;
}

static struct sl_tenant *begin(void)
{
    struct sl_tenant *tenant;
    assert_int_equal(sl_tenant_begin(conn.conn, &tenant), 0);
    return tenant;
}

/* rig_exec() under another lease than the connection's first one. */
static int exec_as(struct sl_tenant *tenant, struct rig_stream *stream, const char *command)
{
    struct sl_tenant *first = conn.tenant;
    conn.tenant = tenant;
    int r = rig_exec(&conn, stream, command);
    conn.tenant = first;
    return r;
}

#define DETACHED "setsid nohup sh -c 'echo $$; exec sleep 300' 2>/dev/null </dev/null & sleep 0.2; exit 0"

static pid_t leave_behind(struct sl_tenant *tenant)
{
    struct rig_stream stream;
    assert_int_equal(exec_as(tenant, &stream, DETACHED), 0);
    assert_true(rig_wait_out(&stream, "\n", 5000));
    pid_t pid = (pid_t)atoi(rig_out(&stream));
    sl_stream_close(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 10000));
    rig_stream_fini(&stream);
    assert_int_equal(kill(pid, 0), 0);
    return pid;
}

/* What a port has said. */
struct port {
    unsigned listening, closed;
};

static void on_listening(void *arg, int status, uint16_t number, const char *text)
{
    struct port *port = arg;
    assert_int_equal(status, 0);
    assert_true(number > 0);
    assert_non_null(text);
    port->listening++;
}

static void on_connection(void *arg)
{
    (void)arg;
}

static void on_port_closed(void *arg)
{
    ((struct port *)arg)->closed++;
}

TEST(test_a_muted_one_is_heard_of_no_more)
{
    struct sl_tenant *other = begin();
    struct rig_stream mine, theirs;
    assert_int_equal(rig_exec(&conn, &mine, "echo go; cat"), 0);
    assert_int_equal(exec_as(other, &theirs, "echo go; cat"), 0);
    assert_true(rig_wait_out(&mine, "go\n", 5000));
    assert_true(rig_wait_out(&theirs, "go\n", 5000));
    assert_int_equal(conn.answered, 1); /* by the first of the two, and once */
    const struct sl_remote_handler port_handler = {on_listening, on_connection, on_port_closed};
    struct port port = {0};
    struct sl_remote *remote;
    assert_int_equal(sl_remote_open(other, "localhost", 0, &port_handler, &port, &remote), 0);
    assert_true(rig_wait(&rig, &port.listening, 5000));

    assert_int_equal(sl_stream_write(theirs.stream, "unheard", 7), 0);
    sl_tenant_mute(other);
    sl_tenant_mute(other);
    sl_tenant_drain(other);
    assert_true(rig_wait(&rig, &conn.drained, 15000));
    assert_int_equal(conn.report.streams, 1);
    assert_int_equal(theirs.ended, 0);
    assert_int_equal(theirs.sent, 0);
    assert_int_equal(port.closed, 0);
    assert_string_equal(rig_out(&theirs), "go\n");

    assert_int_equal(sl_stream_write(mine.stream, "heard", 5), 0);
    assert_true(rig_wait_out(&mine, "go\nheard", 5000));
    sl_stream_eof(mine.stream);
    assert_true(rig_wait(&rig, &mine.ended, 5000));
    rig_stream_fini(&mine);
    rig_stream_fini(&theirs);
}

TEST(test_each_is_cleaned_up_for_itself)
{
    struct sl_tenant *other = begin();
    struct rig_stream mine, theirs;
    /* On channels that were pre-opened, whoever was the last to begin then. */
    pid_t my_own[] = {leave_behind(conn.tenant), leave_behind(conn.tenant)}, their_own = leave_behind(other);
    assert_int_equal(rig_exec(&conn, &mine, "echo go; cat"), 0);
    assert_int_equal(exec_as(other, &theirs, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&mine, "go\n", 5000));
    assert_true(rig_wait_out(&theirs, "go\n", 5000));
    assert_int_equal(sl_tenant_streams(other), 1);

    sl_tenant_drain(other);
    assert_true(rig_wait(&rig, &conn.drained, 15000));
    assert_int_equal(theirs.ended, 1);
    assert_int_equal(conn.report.streams, 1);
    assert_true(conn.report.sweep_ran);
    assert_int_equal(conn.report.remaining, 0);
    assert_true(test_wait_gone(their_own, 1000));
    assert_false(test_wait_gone(my_own[0], 50));
    assert_false(test_wait_gone(my_own[1], 50));
    assert_int_equal(mine.ended, 0);

    assert_int_equal(sl_stream_write(mine.stream, "on\n", 3), 0);
    sl_stream_eof(mine.stream);
    assert_true(rig_wait(&rig, &mine.ended, 5000));
    assert_int_equal(mine.how, SL_RESULT_STATUS);
    assert_string_equal(rig_out(&mine), "go\non\n");
    conn.drained = 0;
    sl_tenant_drain(conn.tenant);
    assert_true(rig_wait(&rig, &conn.drained, 15000));
    assert_null(conn.tenant);
    assert_true(test_wait_gone(my_own[0], 1000));
    assert_true(test_wait_gone(my_own[1], 1000));
    rig_stream_fini(&mine);
    rig_stream_fini(&theirs);
}

/* Two sessions are in use. The third lease takes its stream, and what was written to it, to another connection; the
 * first connection does not live to see it. */
TEST(test_one_without_a_session_goes_elsewhere)
{
    struct sl_tenant *second = begin(), *third = begin();
    struct rig_stream one, two, moved, late;
    struct rig_conn elsewhere;
    assert_int_equal(rig_exec(&conn, &one, "echo go; exec sleep 60"), 0);
    assert_int_equal(exec_as(second, &two, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&one, "go\n", 5000));
    assert_true(rig_wait_out(&two, "go\n", 5000));
    assert_int_equal(exec_as(third, &moved, "cat"), 0);
    assert_true(rig_wait(&rig, &conn.crowded, 5000));
    assert_ptr_equal(conn.crowded_tenant, third);
    assert_true(sl_tenant_is_crowded(third));
    assert_int_equal(moved.opened, 0);
    sl_tenant_park(third);
    assert_int_equal(sl_stream_write(moved.stream, "early\n", 6), 0);
    sl_stream_eof(moved.stream);
    assert_int_equal(exec_as(third, &late, "echo late"), 0);
    assert_int_equal(sl_tenant_streams(third), 2);
    /* Whoever has a session there is refused a further one. */
    struct rig_stream beyond;
    int r = exec_as(second, &beyond, "true");
    if (r == 0) {
        assert_true(rig_wait(&rig, &beyond.ended, 5000));
        r = beyond.open_status;
        rig_stream_fini(&beyond);
    }
    assert_int_equal(r, SL_E_STREAM_LIMIT);
    rig_close(&conn);
    assert_int_equal(moved.ended, 0);

    assert_true(rig_connect(&rig, &elsewhere, target));
    sl_tenant_move(third, elsewhere.conn);
    assert_true(rig_wait(&rig, &moved.ended, 5000));
    assert_true(rig_wait(&rig, &late.ended, 5000));
    assert_int_equal(moved.how, SL_RESULT_STATUS);
    assert_string_equal(rig_out(&moved), "early\n");
    assert_string_equal(rig_out(&late), "late\n");
    assert_true(sl_tenant_is_clean(third));
    sl_tenant_end(third);
    rig_close(&elsewhere);
    rig_stream_fini(&one);
    rig_stream_fini(&two);
    rig_stream_fini(&moved);
    rig_stream_fini(&late);
}

/* Its command waits for the answer to a variable when it has to leave. The answer comes before it is parked. */
TEST(test_one_that_leaves_sends_nothing_more)
{
    struct sl_tenant *second = begin();
    struct rig_stream one, moved;
    struct rig_conn elsewhere;
    assert_int_equal(exec_as(second, &moved, "echo ran"), 0);
    while (moved.stream->state == SL_STREAM_WAITING)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(moved.stream->state, SL_STREAM_SETUP);
    assert_true(sl_tenant_crowd(second));
    assert_true(rig_wait(&rig, &conn.crowded, 5000));
    rig_run(&conn, &one, "true");
    assert_int_equal(moved.stream->state, SL_STREAM_SETUP);
    sl_tenant_park(second);
    rig_close(&conn);

    assert_true(rig_connect(&rig, &elsewhere, target));
    sl_tenant_move(second, elsewhere.conn);
    assert_true(rig_wait(&rig, &moved.ended, 5000));
    assert_string_equal(rig_out(&moved), "ran\n");
    sl_tenant_end(second);
    rig_close(&elsewhere);
    rig_stream_fini(&one);
    rig_stream_fini(&moved);
}

TEST(test_one_that_is_parked_can_end)
{
    struct sl_tenant *second = begin(), *third = begin();
    struct rig_stream one, two, parked;
    assert_int_equal(rig_exec(&conn, &one, "echo go; exec sleep 60"), 0);
    assert_int_equal(exec_as(second, &two, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&one, "go\n", 5000));
    assert_true(rig_wait_out(&two, "go\n", 5000));
    assert_int_equal(exec_as(third, &parked, "cat"), 0);
    assert_true(rig_wait(&rig, &conn.crowded, 5000));
    sl_tenant_park(third);
    sl_stream_signal(parked.stream, "TERM");
    sl_stream_close(parked.stream);
    sl_tenant_end(third);
    assert_int_equal(parked.ended, 1);
    assert_int_equal(parked.how, SL_RESULT_UNKNOWN);
    rig_close(&conn);
    rig_stream_fini(&one);
    rig_stream_fini(&two);
    rig_stream_fini(&parked);
}

/* By our own limit, which is known beforehand: one for each lease. */
TEST(test_one_session_is_kept_for_each)
{
    struct sl_tenant *second = begin();
    struct rig_stream one, two, beyond;
    target->policy.streams = 2;
    assert_int_equal(rig_exec(&conn, &one, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&one, "go\n", 5000));
    assert_int_equal(rig_exec(&conn, &beyond, "true"), SL_E_STREAM_LIMIT);
    assert_int_equal(exec_as(second, &two, "echo go"), 0);
    assert_true(rig_wait(&rig, &two.ended, 5000));
    assert_string_equal(rig_out(&two), "go\n");
    assert_true(sl_tenant_is_clean(second));
    sl_tenant_end(second);
    rig_close(&conn);
    rig_stream_fini(&one);
    rig_stream_fini(&two);
}

int main(void)
{
    if (!test_sshd_available()) {
        printf("no sshd here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_muted_one_is_heard_of_no_more, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_each_is_cleaned_up_for_itself, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_one_without_a_session_goes_elsewhere, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_one_that_leaves_sends_nothing_more, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_parked_can_end, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_one_session_is_kept_for_each, setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, stage_close);
}
