/* SPDX-License-Identifier: MIT */
/* Changes in a directory are told, with inotify and without. */
#include "daemon/net/dir_watch.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOR_EVER 3600000u

struct world {
    uv_loop_t loop;
    uv_timer_t keeps; /* the loop running: a watch does not */
    unsigned ticks;
    char top[64], above[80], dir[96], name[112];
    struct sl_dir_watch *watch;
    unsigned looks;
    bool well;
};

static bool on_look(void *arg)
{
    struct world *w = arg;
    w->looks++;
    w->well = access(w->name, F_OK) == 0;
    return w->well;
}

static void on_tick(uv_timer_t *timer)
{
    struct world *w = timer->data;
    if (++w->ticks > 2000)
        fail_msg("nobody looked within 20 s");
}

static void make(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->top, sizeof w->top, "/tmp/sl-dir-watch.XXXXXX");
    assert_non_null(mkdtemp(w->top));
    snprintf(w->above, sizeof w->above, "%s/above", w->top);
    snprintf(w->dir, sizeof w->dir, "%s/dir", w->above);
    snprintf(w->name, sizeof w->name, "%s/name", w->dir);
    assert_int_equal(mkdir(w->above, 0700), 0);
    assert_int_equal(mkdir(w->dir, 0700), 0);
    make(w->name);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    (void)uv_timer_init(&w->loop, &w->keeps);
    w->keeps.data = w;
    (void)uv_timer_start(&w->keeps, on_tick, 10, 10);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    sl_dir_watch_free(w->watch);
    uv_close((uv_handle_t *)&w->keeps, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    snprintf(command, sizeof command, "rm -r %s", w->top);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void start(struct world *w, uint64_t every_ms)
{
    assert_int_equal(sl_dir_watch_new(&w->loop, w->dir, every_ms, on_look, w, &w->watch), 0);
    assert_int_equal(w->looks, 0);
    while (w->looks == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
}

static void await(struct world *w, bool well)
{
    const unsigned looks = w->looks;
    while (w->looks == looks || w->well != well)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
}

static void a_change_is_told_of(void **state)
{
    struct world *w = *state;
    start(w, FOR_EVER);
    assert_int_equal(unlink(w->name), 0);
    await(w, false);
    make(w->name);
    await(w, true);
    /* As well as before. */
    assert_int_equal(unlink(w->name), 0);
    await(w, false);
}

static void a_directory_that_was_made_anew_is_watched(void **state)
{
    struct world *w = *state;
    start(w, FOR_EVER);
    assert_int_equal(unlink(w->name), 0);
    assert_int_equal(rmdir(w->dir), 0);
    await(w, false);
    assert_int_equal(mkdir(w->dir, 0700), 0);
    make(w->name);
    await(w, true);
    assert_int_equal(unlink(w->name), 0);
    await(w, false);
}

/* The kernel tells nothing of that. */
static void what_goes_with_a_directory_above_is_seen_too(void **state)
{
    struct world *w = *state;
    char away[96];
    snprintf(away, sizeof away, "%s/away", w->top);
    start(w, 20);
    assert_int_equal(rename(w->above, away), 0);
    await(w, false);
    assert_int_equal(rename(away, w->above), 0);
    await(w, true);
}

static void many_changes_are_few_looks(void **state)
{
    struct world *w = *state;
    char other[112];
    snprintf(other, sizeof other, "%s/other", w->dir);
    start(w, FOR_EVER);
    const uint64_t until = uv_hrtime() + 500000000;
    while (uv_hrtime() < until) {
        make(other);
        (void)unlink(other);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_in_range(w->looks, 2, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_is_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_was_made_anew_is_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(what_goes_with_a_directory_above_is_seen_too, setup, teardown),
        cmocka_unit_test_setup_teardown(many_changes_are_few_looks, setup, teardown),
    };
    return cmocka_run_group_tests_name("net.dir_watch", tests, NULL, NULL);
}
