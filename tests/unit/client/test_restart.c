/* SPDX-License-Identifier: MIT */
/* A daemon that ends and another that takes its place: who has sent nothing does not notice. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LEAVING "target web1: sshleased is shutting down, 2 leases left; nothing was sent"

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Another daemon, on the same socket, asked the same: for less time, where that is limited. */
static void serves(struct fake *f)
{
    fake_greet(f);
    const struct sl_msg *msg = fake_take(f, SL_MSG_ACQUIRE);
    if (msg->acquire.target.len != 4 || memcmp(msg->acquire.target.data, "web1", 4) != 0 ||
        msg->acquire.lease_timeout_ms != 7000)
        fake_fail(f, "it asks for something else");
    if (f->number == 0 ? msg->acquire.acquire_timeout_ms != 0
                       : msg->acquire.acquire_timeout_ms == 0 || msg->acquire.acquire_timeout_ms >= f->number)
        fake_fail(f, "it waits for %u ms", msg->acquire.acquire_timeout_ms);
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_GRANTED,
               .granted = {
                   .rid = msg->acquire.rid, .lease = 9, .lease_timeout_ms = 7000, .max_lease_ms = 7000, .streams = 4}});
    fake_take_end(f);
}

static void refuses(struct fake *f)
{
    fake_greet(f);
    fake_send_error(f, fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, SSHLEASE_E_SHUTDOWN, true, LEAVING);
}

static void refuses_and_ends(struct fake *f)
{
    refuses(f);
    poll(NULL, 0, 20); /* so that less than the time given is left */
    fake_close(f);
    serves(f);
}

TEST(a_refused_request_is_made_again)
{
    for (uint32_t timeout_ms = 0; timeout_ms <= 9000; timeout_ms += 9000) {
        struct fake f = {.number = timeout_ms};
        struct sshlease *lease = fake_open(&f, refuses_and_ends);
        const struct sshlease_acquire_options options = {.acquire_timeout_ms = timeout_ms, .lease_timeout_ms = 7000};
        const int fd = sshlease_fd(lease);
        assert_int_equal(sshlease_acquire(lease, "web1", &options), 0);
        assert_int_equal(sshlease_id(lease), 9);
        assert_int_equal(sshlease_fd(lease), fd);
        assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        sshlease_free(lease);
        fake_stop(&f);
    }
}

static void goes_without_a_word(struct fake *f)
{
    fake_greet(f);
    if (f->number > 0)
        fake_take(f, SL_MSG_ACQUIRE);
    fake_close(f);
    f->number = 0;
    serves(f);
}

/* Before it was asked, while it is asked. */
TEST(a_daemon_that_is_gone)
{
    for (uint32_t asked = 0; asked < 2; asked++) {
        struct fake f = {.number = asked};
        struct sshlease *lease = fake_open(&f, goes_without_a_word);
        const struct sshlease_acquire_options options = {.lease_timeout_ms = 7000};
        assert_int_equal(sshlease_acquire(lease, "web1", &options), 0);
        sshlease_free(lease);
        fake_stop(&f);
    }
}

static void closes_two(struct fake *f)
{
    for (int i = 0; i < 2; i++) {
        fake_accept(f);
        fake_close(f);
    }
    fake_greet(f);
    fake_take_end(f);
}

TEST(a_queue_that_was_dropped)
{
    struct fake f = {0};
    sshlease_free(fake_open(&f, closes_two));
    fake_stop(&f);
}

static void refuses_and_stays(struct fake *f)
{
    refuses(f);
    fake_take_end(f);
}

TEST(its_own_time_is_kept)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, refuses_and_stays);
    const struct sshlease_acquire_options options = {.acquire_timeout_ms = 200};
    const int64_t began_ms = now_ms();
    assert_int_equal(sshlease_acquire(lease, "web1", &options), SSHLEASE_E_TIMEOUT);
    assert_in_range(now_ms() - began_ms, 200, 5000);
    assert_int_equal(strncmp(sshlease_error(lease), LEAVING "; waited ", strlen(LEAVING "; waited ")), 0);
    assert_true(sshlease_error_unsent(lease));
    sshlease_free(lease);
    fake_stop(&f);
}

struct told {
    int pipe[2];
    uint32_t position, waited_ms;
    char reason[200];
};

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct told *told = arg;
    told->position = position;
    told->waited_ms = waited_ms;
    snprintf(told->reason, sizeof told->reason, "%s", reason);
    assert_int_equal(write(told->pipe[1], "", 1), 1);
}

/* Ends when the client has been told. `number`: the pipe. */
static void ends_when_told(struct fake *f)
{
    char byte;
    refuses(f);
    if (read((int)f->number, &byte, 1) != 1)
        fake_fail(f, "nobody was told");
    fake_close(f);
    f->number = 0;
    serves(f);
}

TEST(a_long_end_is_told)
{
    struct told told = {.position = 99};
    assert_int_equal(pipe(told.pipe), 0);
    struct fake f = {.number = (uint32_t)told.pipe[0]};
    struct sshlease *lease = fake_open(&f, ends_when_told);
    const struct sshlease_acquire_options options = {.lease_timeout_ms = 7000, .on_waiting = on_waiting, .arg = &told};
    assert_int_equal(sshlease_acquire(lease, "web1", &options), 0);
    assert_int_equal(told.position, 0);
    assert_in_range(told.waited_ms, 900, 9000);
    assert_string_equal(told.reason, LEAVING);
    sshlease_free(lease);
    fake_stop(&f);
    close(told.pipe[0]);
    close(told.pipe[1]);
}

TEST(nobody_comes)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, refuses);
    const struct sshlease_acquire_options options = {.acquire_timeout_ms = 300};
    assert_int_equal(sshlease_acquire(lease, "web1", &options), SSHLEASE_E_SHUTDOWN);
    assert_string_equal(sshlease_error(lease), LEAVING "; no other came");
    sshlease_free(lease);
    fake_stop(&f);
}

/* A file says that a daemon has ended there a moment ago, and is started again by somebody. */
TEST(a_socket_that_is_about_to_come)
{
    char dir[] = "/tmp/sshlease-unit.XXXXXX", path[64], left[80];
    struct sshlease *lease;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(left, sizeof left, "%s/.sl-s.left", dir);
    int fd = open(left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    int64_t began_ms = now_ms();
    assert_int_equal(sshlease_open(path, 300, &lease), SSHLEASE_E_NO_DAEMON);
    assert_in_range(now_ms() - began_ms, 300, 4000);
    sshlease_free(lease);
    /* Too long ago; and one that is yet to be. */
    for (int i = 0; i < 2; i++) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) + (i == 0 ? -10 : 100)}};
        assert_int_equal(futimens(fd, times), 0);
        began_ms = now_ms();
        assert_int_equal(sshlease_open(path, 4000, &lease), SSHLEASE_E_NO_DAEMON);
        assert_in_range(now_ms() - began_ms, 0, 2000);
        sshlease_free(lease);
    }
    /* One's own socket is where it was. */
    char expected[64], found[128];
    snprintf(left, sizeof left, "%s/.sl-sshleased.sock.left", dir);
    snprintf(expected, sizeof expected, "%s/sshleased.sock", dir);
    setenv("XDG_RUNTIME_DIR", dir, 1);
    unsetenv("SSHLEASE_SOCKET");
    assert_int_equal(sshlease_default_socket(found, sizeof found), 0);
    assert_string_not_equal(found, expected);
    int own = open(left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(sshlease_default_socket(found, sizeof found), 0);
    assert_string_equal(found, expected);
    close(own);
    close(fd);
    unlink(left);
    snprintf(left, sizeof left, "%s/.sl-s.left", dir);
    unlink(left);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_request_is_made_again),
        cmocka_unit_test(a_daemon_that_is_gone),
        cmocka_unit_test(a_queue_that_was_dropped),
        cmocka_unit_test(its_own_time_is_kept),
        cmocka_unit_test(a_long_end_is_told),
        cmocka_unit_test(nobody_comes),
        cmocka_unit_test(a_socket_that_is_about_to_come),
    };
    return cmocka_run_group_tests_name("client.restart", tests, NULL, NULL);
}
