/* Connections and streams against a real sshd. */
#include "proto/status.h"
#include "tests/unit/ssh/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct test_sshd sshd;
static struct rig rig;

static int group_setup(void **state)
{
    (void)state;
    test_sshd_start(&sshd, "");
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    test_sshd_stop(&sshd);
    return 0;
}

static size_t fds_before;

static int setup(void **state)
{
    (void)state;
    rig_start(&rig);
    fds_before = test_count_fds();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    size_t fds = test_count_fds();
    rig_stop(&rig);
    assert_int_equal(fds, fds_before);
    return 0;
}

static void test_exec(void **state)
{
    (void)state;
    struct rig_conn conn;
    struct rig_stream stream;
    struct sl_target_conf *target = rig_target(&sshd);
    assert_true(rig_connect(&rig, &conn, target));
    rig_run(&conn, &stream, "echo out; echo err >&2; exit 7");
    assert_int_equal(stream.open_status, 0);
    assert_string_equal(rig_out(&stream), "out\n");
    assert_string_equal((const char *)stream.out[1], "err\n");
    assert_int_equal(stream.eof, 1);
    assert_int_equal(stream.how, SL_RESULT_STATUS);
    assert_int_equal(stream.exit_status, 7);
    rig_stream_fini(&stream);
    rig_run(&conn, &stream, "true");
    assert_int_equal(stream.how, SL_RESULT_STATUS);
    assert_int_equal(stream.exit_status, 0);
    rig_stream_fini(&stream);
    assert_true(sl_conn_is_clean(conn.conn));
    rig_close(&conn);
    sl_target_conf_unref(target);
}

int main(void)
{
    if (!test_sshd_available()) {
        printf("no sshd here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exec, setup, teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
