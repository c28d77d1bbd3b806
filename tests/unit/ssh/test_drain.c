/* SPDX-License-Identifier: MIT */
/* Reclaiming a lease: what it started on the far side is ended, however it hid; what it left before is not touched. */
#include "config/build.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
    (void)stage_setup(state);
    target->policy.kill_grace_ms = 300;
    return 0;
}

#define DETACHED "setsid nohup sh -c 'echo $$; exec sleep 300' 2>/dev/null </dev/null & sleep 0.2; exit 0"

/* Runs a command that leaves a process behind; its number. The process keeps standard output open, so the stream is
 * closed and not awaited to its end. */
static pid_t leave_behind(void)
{
    struct rig_stream stream;
    assert_int_equal(rig_exec(&conn, &stream, DETACHED), 0);
    assert_true(rig_wait_out(&stream, "\n", 5000));
    pid_t pid = (pid_t)atoi(rig_out(&stream));
    assert_true(pid > 1);
    sl_stream_close(stream.stream);
    assert_true(rig_wait(&rig, &stream.ended, 10000));
    rig_stream_fini(&stream);
    assert_int_equal(kill(pid, 0), 0);
    return pid;
}

static void drain(void)
{
    sl_tenant_drain(conn.tenant);
    sl_tenant_drain(conn.tenant);
    assert_int_equal(conn.drained, 0);
    assert_false(sl_tenant_is_clean(conn.tenant));
    struct rig_stream late;
    assert_int_equal(rig_exec(&conn, &late, "true"), SL_E_CONNECTION_LOST);
    assert_true(rig_wait(&rig, &conn.drained, 15000));
    assert_null(conn.tenant);
    assert_int_equal(conn.drained, 1);
}

TEST(test_ends_everything)
{
    struct rig_stream plain, stubborn;
    assert_true(rig_connect(&rig, &conn, target));
    rig_lease(&conn);
    pid_t left_on_purpose = leave_behind();
    assert_true(sl_tenant_is_clean(conn.tenant));
    /* Another lease, on channels that were pre-opened under the one before. */
    rig_lease(&conn);
    pid_t detached[4];
    for (int i = 0; i < 4; i++)
        detached[i] = leave_behind();
    assert_int_equal(rig_exec(&conn, &plain, "echo $$; exec sleep 60"), 0);
    assert_int_equal(rig_exec(&conn, &stubborn, "trap '' TERM; echo $$; while :; do sleep 0.1; done"), 0);
    assert_true(rig_wait_out(&plain, "\n", 5000));
    assert_true(rig_wait_out(&stubborn, "\n", 5000));
    drain();
    assert_int_equal(plain.ended, 1);
    assert_int_equal(plain.how, SL_RESULT_UNKNOWN);
    assert_int_equal(stubborn.ended, 1);
    assert_int_equal(conn.report.streams, 2);
    assert_int_equal(conn.report.signalled, 2);
    assert_true(conn.report.sweep_ran);
    assert_true(conn.report.swept >= 4);
    assert_int_equal(conn.report.remaining, 0);
    assert_string_equal(conn.report_text, "");
    for (int i = 0; i < 4; i++)
        assert_true(test_wait_gone(detached[i], 1000));
    assert_true(test_wait_gone((pid_t)atoi(rig_out(&plain)), 1000));
    assert_true(test_wait_gone((pid_t)atoi(rig_out(&stubborn)), 1000));
    assert_false(test_wait_gone(left_on_purpose, 50));
    kill(left_on_purpose, SIGKILL);
    rig_stream_fini(&plain);
    rig_stream_fini(&stubborn);
    rig_close(&conn);
}

TEST(test_command_on_its_way)
{
    struct rig_stream stream;
    assert_true(rig_connect(&rig, &conn, target));
    rig_lease(&conn);
    rig_run_ms(&rig, 200);
    /* Asked for and reclaimed at once: what may have started is ended all the same. */
    assert_int_equal(rig_exec(&conn, &stream, "exec sleep 61"), 0);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    drain();
    assert_int_equal(stream.ended, 1);
    assert_true(conn.report.sweep_ran);
    assert_int_equal(conn.report.remaining, 0);
    rig_stream_fini(&stream);
    rig_close(&conn);
}

TEST(test_nothing_started)
{
    assert_true(rig_connect(&rig, &conn, target));
    rig_lease(&conn);
    drain();
    assert_int_equal(conn.report.streams, 0);
    assert_true(conn.report.sweep_ran);
    assert_string_equal(conn.report_text, "");
    rig_close(&conn);
}

TEST(test_by_signal_only)
{
    struct rig_stream stream;
    target->remote_cleanup = SL_CLEANUP_SIGNAL;
    assert_true(rig_connect(&rig, &conn, target));
    rig_lease(&conn);
    pid_t detached = leave_behind();
    assert_int_equal(rig_exec(&conn, &stream, "echo $$; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "\n", 5000));
    drain();
    assert_int_equal(conn.report.streams, 1);
    assert_int_equal(conn.report.signalled, 1);
    assert_false(conn.report.sweep_ran);
    assert_string_equal(conn.report_text, "");
    assert_false(test_wait_gone(detached, 50));
    kill(detached, SIGKILL);
    rig_stream_fini(&stream);
    rig_close(&conn);
}

TEST(test_switched_off)
{
    struct rig_stream stream;
    target->remote_cleanup = SL_CLEANUP_OFF;
    assert_true(rig_connect(&rig, &conn, target));
    assert_int_equal(rig_exec(&conn, &stream, "echo $$; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "\n", 5000));
    drain();
    assert_string_equal(conn.report_text, "remote_cleanup is off: nothing was ended");
    pid_t pid = (pid_t)atoi(rig_out(&stream));
    assert_false(test_wait_gone(pid, 50));
    kill(pid, SIGKILL);
    rig_stream_fini(&stream);
    rig_close(&conn);
}

TEST(test_server_without_cookies)
{
    struct test_sshd plain;
    test_sshd_start(&plain, "ForceCommand echo forced; sleep 1.5\n");
    sl_target_conf_unref(target);
    target = rig_target(&plain);
    target->policy.kill_grace_ms = 200;
    struct rig_stream stream;
    assert_true(rig_connect(&rig, &conn, target));
    rig_lease(&conn);
    assert_int_equal(rig_exec(&conn, &stream, "true"), 0);
    assert_true(rig_wait(&rig, &stream.opened, 5000));
    drain();
    /* Neither signals nor the sweep reach a forced command: said, not hidden. */
    assert_false(conn.report.sweep_ran);
    assert_true(conn.report_text[0] != '\0');
    rig_stream_fini(&stream);
    rig_close(&conn);
    test_sshd_stop(&plain);
}

/* A root login: sshd 9.2 takes no signals for it, so the sweep does all the work. */
TEST(test_root)
{
    if (geteuid() != 0)
        skip();
    /* Whatever this machine's root has in its start-up files is not what is tested here. */
    struct test_sshd own;
    test_sshd_start(&own, "SetEnv HOME=/\n");
    sl_target_conf_unref(target);
    target = rig_target(&own);
    target->policy.kill_grace_ms = 300;
    struct rig_stream stream;
    free(target->user);
    target->user = strdup("root");
    assert_true(rig_connect(&rig, &conn, target));
    rig_lease(&conn);
    assert_int_equal(rig_exec(&conn, &stream, "echo $$; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "\n", 10000));
    drain();
    assert_true(conn.report.sweep_ran);
    assert_int_equal(conn.report.remaining, 0);
    assert_true(test_wait_gone((pid_t)atoi(rig_out(&stream)), 1000));
    rig_stream_fini(&stream);
    rig_close(&conn);
    test_sshd_stop(&own);
}

/* A server that stops in the middle of it: bounded, and said. */
TEST(test_server_stops)
{
    struct rig_stream stream;
    assert_true(rig_connect(&rig, &conn, target));
    assert_int_equal(rig_exec(&conn, &stream, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "go\n", 5000));
    test_sshd_signal_children(&sshd, SIGSTOP);
    uint64_t before = uv_hrtime();
    drain();
    assert_true(uv_hrtime() - before < 11000000000ull);
    assert_int_equal(stream.ended, 1);
    assert_false(conn.report.sweep_ran);
    assert_string_equal(conn.report_text, "the server opened no session for the sweep in time");
    rig_close(&conn);
    test_sshd_signal_children(&sshd, SIGCONT);
    test_sshd_signal_children(&sshd, SIGKILL);
    rig_stream_fini(&stream);
    /* One that is gone. */
    assert_true(rig_connect(&rig, &conn, target));
    assert_int_equal(rig_exec(&conn, &stream, "echo go; exec sleep 60"), 0);
    assert_true(rig_wait_out(&stream, "go\n", 5000));
    sl_tenant_drain(conn.tenant);
    test_sshd_signal_children(&sshd, SIGKILL);
    assert_true(rig_wait(&rig, &conn.drained, 5000));
    assert_string_equal(conn.report_text, "the connection was lost before the far side was cleaned up");
    assert_int_equal(conn.lost, 1);
    rig_close(&conn);
    rig_stream_fini(&stream);
}

int main(void)
{
    if (!test_sshd_available()) {
        printf("no sshd here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ends_everything, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_command_on_its_way, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_started, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_by_signal_only, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_switched_off, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_server_without_cookies, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_root, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_server_stops, setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, stage_open, stage_close);
}
