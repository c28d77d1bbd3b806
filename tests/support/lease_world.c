/* SPDX-License-Identifier: MIT */
/* Sets the world up, runs its loop until nothing moves, and takes it down. */
#include "tests/support/lease_world.h"

#include "config/yaml.h"
#include "tests/support/test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void on_tick(uv_timer_t *timer)
{
    const struct sl_world *w = timer->data;
    if (uv_now(&w->loop) > w->limit_ms)
        fail_msg("what was waited for did not happen in 10 s");
}

struct sl_conf *sl_world_conf(const char *yaml, bool one_user)
{
    struct sl_conf_errors errors = {.left_out = 0};
    struct sl_conf *conf = NULL;
    (void)setenv("SL_TEST_PASSWORD", "x", 1);
    (void)setenv("HOME", "/nonexistent", 1);
    int r = sl_conf_parse("test", yaml, strlen(yaml), one_user, NULL, &conf, &errors);
    if (r != 0)
        fail_msg("%s", errors.lines.count > 0 ? errors.lines.item[0] : "no memory");
    sl_conf_errors_fini(&errors);
    return conf;
}

void sl_world_init(struct sl_world *w, const char *yaml, bool one_user)
{
    *w = (struct sl_world){.stopped = false};
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->tick), 0);
    w->tick.data = w;
    w->limit_ms = uv_now(&w->loop) + 10000;
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 1, 1), 0);
    assert_int_equal(sl_transport_new(&w->loop, NULL, &w->transport), 0);
    assert_int_equal(sl_driver_new(&w->loop, NULL, w->transport, sl_world_conf(yaml, one_user), &w->driver), 0);
}

void sl_world_stopped(void *arg)
{
    struct sl_world *w = arg;
    w->stopped = true;
}

void sl_world_fini(struct sl_world *w)
{
    if (!w->stopped)
        sl_driver_shutdown(w->driver, true, sl_world_stopped, w);
    WORLD_UNTIL(w, w->stopped);
    uv_close((uv_handle_t *)&w->tick, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    sl_driver_free(w->driver);
    sl_transport_free(w->transport);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

void sl_world_settle(struct sl_world *w)
{
    for (int i = 0; i < 20; i++)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
}

struct wanted {
    const char *name, *label;
    uint64_t value;
};

static void on_counter(void *arg, const char *name, const char *label, uint64_t value)
{
    struct wanted *wanted = arg;
    if (strcmp(name, wanted->name) == 0 && strcmp(label, wanted->label) == 0)
        wanted->value += value;
}

uint64_t sl_world_counter(struct sl_world *w, const char *name, const char *label)
{
    struct wanted wanted = {.name = name, .label = label};
    sl_driver_each_counter(w->driver, on_counter, &wanted);
    return wanted.value;
}
