/* SPDX-License-Identifier: MIT */
/* Lines that one user caused beyond its share are told of when it is calm again: a timer looks after that, while there
 * are any. */
#include "daemon/app/internal.h"

#define CALM_LOOK_MS 5000u

static void on_look(uv_timer_t *timer)
{
    const struct sl_app *app = timer->data;
    if (sl_log_calm(&app->log))
        (void)uv_timer_start(timer, on_look, CALM_LOOK_MS, 0);
}

static void on_dropped(void *arg)
{
    struct sl_app *app = arg;
    (void)uv_timer_start(&app->calm, on_look, CALM_LOOK_MS, 0); /* not any more, when it is being closed */
}

void sl_app_start_log(struct sl_app *app)
{
    sl_log_init(&app->log, app->options->level);
    sl_log_start(&app->log, on_dropped, app);
}

void sl_app_watch_log(struct sl_app *app)
{
    (void)uv_timer_init(&app->loop, &app->calm);
    app->calm.data = app;
}
