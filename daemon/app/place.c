/* SPDX-License-Identifier: MIT */
/* The daemon's own socket is looked after: somebody may remove it, or its directory, as the last log-out of a user does
 * with /run/user/UID. It is made again as soon as that can be. Where it cannot,
 *   - a daemon in whose place another one listens ends as soon as no lease is left: there must not be two for long
 *   - one of a single user, out of reach, ends likewise when its directory has been gone for a while; it would live on
 *     with nobody to end it. The system's has an administrator, and goes on trying. */
#include "daemon/app/internal.h"

#include "proto/status.h"

#include <stdio.h>
#include <string.h>

/* A directory that is away for less than this is being made anew. */
#define GONE_MS 10000u
/* A daemon that starts there for a moment only does not count. */
#define OTHERS_MS 500u

static bool has_leases(const struct sl_app *app)
{
    struct sl_driver_totals totals;
    sl_driver_totals(app->driver, &totals);
    return totals.leased > 0 || totals.waiters > 0 || totals.draining > 0;
}

static void end_if_over(struct sl_app *app, int status, const char *error)
{
    const uint64_t since = uv_now(&app->loop) - app->lost_ms;
    const bool others = status == SL_E_BUSY && since >= OTHERS_MS;
    const bool alone = app->options->one_user && since >= GONE_MS && !sl_mux_is_reachable(app->mux);
    if ((!others && !alone) || has_leases(app))
        return;
    sl_log(&app->log, SL_LOG_NOTICE, "stop", "reason=unreachable: %s; no lease is left, so this daemon ends", error);
    app->end(app);
}

static bool look(void *arg)
{
    struct sl_app *app = arg;
    char error[1024];
    bool made;
    int r = sl_listener_keep(app->listener, &made, error, sizeof error);
    if (r == 0) {
        if (made)
            sl_log(&app->log, SL_LOG_WARNING, "listener", "the socket was removed, and is made again");
        app->lost_ms = 0;
        return true;
    }
    if (app->lost_ms == 0) {
        app->lost_ms = uv_now(&app->loop);
        sl_log(&app->log, SL_LOG_ERROR, "listener", "the socket was removed, and cannot be made again yet: %s", error);
    }
    end_if_over(app, r, error);
    return false;
}

void sl_app_keep_place(struct sl_app *app, const char *path)
{
    char directory[512];
    const char *slash = strrchr(path, '/');
    const size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    snprintf(directory, sizeof directory, "%.*s", len == 0 ? 1 : (int)len, slash == NULL ? "." : path);
    if (sl_dir_watch_new(&app->loop, directory, SL_DIR_WATCH_MS, look, app, &app->place) != 0)
        sl_log(&app->log, SL_LOG_WARNING, "listener", "the socket is not watched: out of memory");
}
