/* SPDX-License-Identifier: MIT */
/* Asking where a target's mux socket is. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

static uint32_t take(struct fake *f, const char *target)
{
    const struct sl_msg_mux *mux = &fake_take(f, SL_MSG_MUX)->mux;
    if (mux->target.len != strlen(target) || memcmp(mux->target.data, target, mux->target.len) != 0)
        fake_fail(f, "MUX of %.*s", (int)mux->target.len, (const char *)mux->target.data);
    return mux->rid;
}

static void tell(struct fake *f, uint32_t rid, const char *path)
{
    fake_send(f, &(struct sl_msg){.type = SL_MSG_MUX_PATH, .mux_path = {.rid = rid, .path = sl_bytes_of(path)}});
}

static void tells(struct fake *f)
{
    fake_greet(f);
    tell(f, take(f, "web1"), "/run/mux/web1");
    fake_send_error(f, take(f, "wbe1"), SSHLEASE_E_NO_TARGET, true, "no such target: wbe1");
    take(f, "slow");
    tell(f, take(f, "web2"), "/run/mux/web2");
    fake_take_end(f);
}

TEST(the_path_or_why_not)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, tells);
    char *path = NULL, long_name[300];
    assert_int_equal(sshlease_mux_path(lease, "web1", 10000, &path), 0);
    assert_string_equal(path, "/run/mux/web1");
    free(path);
    path = NULL;
    assert_int_equal(sshlease_mux_path(lease, "wbe1", 10000, &path), SSHLEASE_E_NO_TARGET);
    assert_string_equal(sshlease_error(lease), "no such target: wbe1");
    assert_true(sshlease_error_unsent(lease));
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(sshlease_mux_path(lease, long_name, 10000, &path), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_mux_path(lease, NULL, 10000, &path), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_mux_path(lease, "slow", 10, &path), SSHLEASE_E_TIMEOUT);
    assert_int_equal(sshlease_mux_path(lease, "web2", 10000, &path), 0);
    assert_string_equal(path, "/run/mux/web2");
    free(path);
    sshlease_free(lease);
    fake_stop(&f);
}

static void tells_late(struct fake *f)
{
    fake_greet(f);
    uint32_t rid = take(f, "web1");
    fake_take(f, SL_MSG_ACQUIRE); /* the test has seen that there is no answer yet */
    tell(f, rid, "/run/mux/web1");
    fake_take_end(f);
}

TEST(without_waiting)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, tells_late);
    char *path = NULL;
    int status;
    assert_int_equal(sshlease_mux_path(lease, "web1", 0, &path), SSHLEASE_E_AGAIN);
    assert_int_equal(sshlease_mux_path(lease, "web2", 0, &path), SSHLEASE_E_BUSY);
    assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), 0);
    while ((status = sshlease_mux_path(lease, "web1", 0, &path)) == SSHLEASE_E_AGAIN) {
        struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, 10000), 1);
    }
    assert_int_equal(status, 0);
    assert_string_equal(path, "/run/mux/web1");
    free(path);
    sshlease_free(lease);
    fake_stop(&f);
}

static void speaks_version_1(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_take_end(f);
}

TEST(an_older_daemon_is_not_asked)
{
    struct fake f = {0};
    struct sshlease *lease;
    char *path = NULL;
    fake_start(&f, speaks_version_1);
    assert_int_equal(sshlease_open(f.path, 0, &lease), 0); /* not greeted yet: the call waits for that */
    assert_int_equal(sshlease_mux_path(lease, "web1", 10000, &path), SSHLEASE_E_VERSION);
    assert_string_equal(sshlease_error(lease), "sshleased speaks version 1 of the protocol, and this needs version 2");
    sshlease_free(lease);
    fake_stop(&f);
}

static void is_no_daemon(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_take_end(f);
}

TEST(a_daemon_that_does_not_greet_is_not_waited_for)
{
    struct fake f = {0};
    struct sshlease *lease;
    char *path = NULL;
    fake_start(&f, is_no_daemon);
    assert_int_equal(sshlease_open(f.path, 0, &lease), 0);
    assert_int_equal(sshlease_mux_path(lease, "web1", 0, &path), SSHLEASE_E_AGAIN);
    assert_int_equal(sshlease_mux_path(lease, "web1", 20, &path), SSHLEASE_E_TIMEOUT);
    sshlease_free(lease);
    fake_stop(&f);
}

static void tells_unasked(struct fake *f)
{
    fake_greet(f);
    take(f, "web1");
    tell(f, 4000, "/run/mux/web1");
}

static void tells_in_version_1(struct fake *f)
{
    fake_greet_in(f, 1);
    uint32_t rid = fake_take(f, SL_MSG_RELOAD)->request.rid;
    fake_send_ok(f, rid);
    fake_take(f, SL_MSG_STATUS);
    tell(f, rid, "/run/mux/web1"); /* of a request that nobody waits for, it would be dropped in version 2 */
    fake_take_end(f);
}

static void tells_no_path(struct fake *f)
{
    fake_greet(f);
    tell(f, take(f, "web1"), "web1");
}

static void says_ok(struct fake *f)
{
    fake_greet(f);
    fake_send_ok(f, take(f, "web1"));
}

TEST(nonsense_ends_the_handle)
{
    static const fake_script_fn scripts[] = {tells_unasked, tells_no_path, says_ok};
    char *path = NULL;
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct fake f = {0};
        struct sshlease *lease = fake_open(&f, scripts[i]);
        int status = sshlease_mux_path(lease, "web1", 10000, &path);
        if (scripts[i] == says_ok) /* an answer that nobody waits for is dropped, and the wait ends with the socket */
            assert_int_equal(status, SSHLEASE_E_DAEMON_GONE);
        else
            assert_int_equal(status, SSHLEASE_E_PROTOCOL);
        sshlease_free(lease);
        fake_stop(&f);
    }
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, tells_in_version_1);
    assert_int_equal(sshlease_admin_reload(lease, 10000), 0);
    assert_int_equal(sshlease_admin_status(lease, 10000, &path), SSHLEASE_E_PROTOCOL);
    sshlease_free(lease);
    fake_stop(&f);
    assert_null(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_path_or_why_not),
        cmocka_unit_test(without_waiting),
        cmocka_unit_test(an_older_daemon_is_not_asked),
        cmocka_unit_test(a_daemon_that_does_not_greet_is_not_waited_for),
        cmocka_unit_test(nonsense_ends_the_handle),
    };
    return cmocka_run_group_tests_name("client.mux_path", tests, NULL, NULL);
}
