/* SPDX-License-Identifier: MIT */
/* A socket that systemd has handed over stays answered, whatever is wrong with the configuration: were the daemon to end,
 * the next client would have it started again, until systemd gives the socket up. So it runs without targets:
 *   1. whoever asks for something is told what is wrong (front/native); systemd has it in its line of status
 *   2. the configuration is read again each second, when an admin says so, and on SIGHUP: what is missing may be
 *      a file anywhere, or a user
 *   3. once it is good this run ends and the next one begins with it, in this process and on the same socket */
#include "daemon/app/internal.h"

#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 1000u

/* The first of the errors. */
static void say_status(const struct sl_app *app)
{
    char text[512];
    snprintf(text, sizeof text, "not configured: %.*s", (int)strcspn(app->unconfigured, "\n"), app->unconfigured);
    sl_notify_status(app->notify, text);
}

void sl_app_begin_unconfigured(struct sl_app *app, uv_timer_cb look)
{
    sl_native_unconfigured(app->native, app->unconfigured);
    (void)uv_timer_init(&app->loop, &app->mending);
    app->mending.data = app;
    (void)uv_timer_start(&app->mending, look, LOOK_MS, LOOK_MS);
    sl_log(&app->log, SL_LOG_ERROR, "start", "not configured: nobody is served until the errors are mended");
    say_status(app);
}

void sl_app_read_again(struct sl_app *app, const struct sl_load *load, const char *text)
{
    char *copy;
    if (load->status == 0) {
        sl_log(&app->log, SL_LOG_NOTICE, "config", "the errors are mended");
        app->again = true;
        return;
    }
    if (text == NULL || strcmp(text, app->unconfigured) == 0 || (copy = strdup(text)) == NULL)
        return;
    free(app->unconfigured);
    app->unconfigured = copy;
    for (size_t i = 0; i < load->errors.lines.count; i++)
        sl_log(&app->log, SL_LOG_ERROR, "config", "%s", load->errors.lines.item[i]);
    sl_native_unconfigured(app->native, text);
    say_status(app);
}
