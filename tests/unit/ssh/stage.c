/* SPDX-License-Identifier: MIT */
/* Starts sshd once, sets each test's rig up, and checks that nothing is left. */
#include "tests/unit/ssh/stage.h"
#include "tests/support/test.h"

struct test_sshd sshd;
struct rig rig;
struct rig_conn conn;
struct sl_target_conf *target;
static size_t fds_before;

int stage_open_with(const char *config)
{
    test_sshd_start(&sshd, config);
    rig_start(&rig); /* libuv opens a pipe of its own, once */
    rig_stop(&rig);
    return 0;
}

int stage_open(void **state)
{
    (void)state;
    return stage_open_with("");
}

int stage_close(void **state)
{
    (void)state;
    test_sshd_stop(&sshd);
    return 0;
}

int stage_setup(void **state)
{
    (void)state;
    fds_before = test_count_fds();
    rig_start(&rig);
    target = rig_target(&sshd);
    return 0;
}

int stage_setup_connected(void **state)
{
    (void)stage_setup(state);
    assert_true(rig_connect(&rig, &conn, target));
    return 0;
}

int stage_teardown(void **state)
{
    (void)state;
    if (conn.conn != NULL)
        rig_close(&conn);
    sl_target_conf_unref(target);
    rig_stop(&rig);
    assert_int_equal(test_count_fds(), fds_before);
    return 0;
}
