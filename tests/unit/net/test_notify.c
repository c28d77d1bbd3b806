/* SPDX-License-Identifier: MIT */
/* What systemd hears, read at a socket that stands in for it. */
#include "daemon/net/notify.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The other end of $NOTIFY_SOCKET. */
struct world {
    uv_loop_t loop;
    struct sl_notify *notify;
    int manager;
    char path[96], heard[512];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(w);
    snprintf(w->path, sizeof w->path, "/tmp/sl-notify.%ld", (long)getpid());
    memcpy(address.sun_path, w->path, strlen(w->path) + 1);
    w->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->manager, (struct sockaddr *)&address, sizeof address), 0);
    (void)setenv("NOTIFY_SOCKET", w->path, 1);
    (void)setenv("WATCHDOG_USEC", "60000", 1);
    (void)unsetenv("WATCHDOG_PID");
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sl_notify_new(&w->loop, &w->notify), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sl_notify_free(w->notify);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    (void)close(w->manager);
    (void)unlink(w->path);
    free(w);
    return 0;
}

/* The next message, or NULL. */
static const char *hear(struct world *w)
{
    ssize_t n = recv(w->manager, w->heard, sizeof w->heard - 1, 0);
    if (n < 0)
        return NULL;
    w->heard[n] = '\0';
    return w->heard;
}

static void systemd_is_told(void **state)
{
    struct world *w = *state;
    sl_notify_ready();
    assert_string_equal(hear(w), "READY=1");
    sl_notify_reloading();
    unsigned long long usec = 0;
    assert_int_equal(sscanf(hear(w), "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
    assert_true(usec > 0 && usec / 1000 <= uv_hrtime() / 1000000);
    sl_notify_stopping();
    assert_string_equal(hear(w), "STOPPING=1");
    assert_null(hear(w));
}

static void the_watchdog_is_fed_by_the_loop(void **state)
{
    struct world *w = *state;
    unsigned fed = 0;
    while (fed < 3) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
        while (hear(w) != NULL)
            fed += strcmp(w->heard, "WATCHDOG=1") == 0;
    }
}

static void status_comes_when_it_changes_and_not_too_often(void **state)
{
    struct world *w = *state;
    sl_notify_status(w->notify, "1 leased");
    assert_string_equal(hear(w), "STATUS=1 leased");
    sl_notify_status(w->notify, "1 leased");
    sl_notify_status(w->notify, "2 leased");
    sl_notify_status(w->notify, "3 leased");
    assert_null(hear(w));
    uint64_t begin = uv_hrtime();
    do {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
        while (hear(w) != NULL && strncmp(w->heard, "STATUS", 6) != 0)
            ;
    } while (strncmp(w->heard, "STATUS", 6) != 0);
    assert_string_equal(w->heard, "STATUS=3 leased"); /* the newest only */
    assert_true(uv_hrtime() - begin > 900000000u);
}

TEST(no_socket_was_handed_over)
{
    int fd = 0;
    assert_int_equal(sl_notify_listen_fd(&fd), 0);
    assert_int_equal(fd, -1);
}

static void a_service_knows_that_it_is_one(void **state)
{
    char number[24];
    (void)state;
    (void)unsetenv("SYSTEMD_EXEC_PID");
    assert_false(sl_notify_is_service());
    snprintf(number, sizeof number, "%ld", (long)getpid());
    (void)setenv("SYSTEMD_EXEC_PID", number, 1);
    assert_true(sl_notify_is_service());
    snprintf(number, sizeof number, "%ld", (long)getppid()); /* what a service has started */
    (void)setenv("SYSTEMD_EXEC_PID", number, 1);
    assert_false(sl_notify_is_service());
    (void)setenv("SYSTEMD_EXEC_PID", "", 1);
    assert_false(sl_notify_is_service());
    (void)unsetenv("SYSTEMD_EXEC_PID");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(systemd_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(the_watchdog_is_fed_by_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(status_comes_when_it_changes_and_not_too_often, setup, teardown),
        cmocka_unit_test_setup_teardown(no_socket_was_handed_over, setup, teardown),
        cmocka_unit_test(a_service_knows_that_it_is_one),
    };
    return cmocka_run_group_tests_name("net.notify", tests, NULL, NULL);
}
