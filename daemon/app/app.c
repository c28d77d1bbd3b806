/* SPDX-License-Identifier: MIT */
/* Start, in this order: log, process settings, loop, configuration, transport, driver, front end, socket, signals; then
 * systemd is told. A step that fails takes the ones before it down in the way of a normal end.
 * End, in this order:
 *   1. SIGTERM or SIGINT: systemd is told, the driver grants nothing more and waits for leases to be given back
 *      (limits.shutdown_drain); a second signal takes them back at once. Where systemd starts the next daemon, which it
 *      does when this one has ended, clients are still accepted, and told so; else the sockets go away now, so that
 *      another daemon may begin beside this one
 *   2. the driver has stopped: the sockets go away, clients are closed, then everything else that has a handle
 *   3. the loop has nothing left and returns; what has memory only is freed; uv_loop_close() proves that nothing was
 *      forgotten */
#include "daemon/app/internal.h"

#include "base/fail.h"
#include "base/state.h"
#include "proto/status.h"
#include "sshlease_version.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

const char *sl_app_transport_version(void)
{
    return sl_transport_version();
}

/* --- the process -------------------------------------------------------------------------------------------------- */

/* What fails here (a sandbox may forbid it) makes the daemon less safe or less roomy, not wrong. */
static void prepare_process(const struct sl_log *log)
{
    const struct rlimit no_core = {0, 0};
    struct rlimit files;
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
    /* Keys and passphrases pass through this memory. */
    if (setrlimit(RLIMIT_CORE, &no_core) != 0)
        sl_log(log, SL_LOG_DEBUG, "process", "RLIMIT_CORE: %s", strerror(errno));
#if !defined(__SANITIZE_ADDRESS__) /* its leak check looks at the process as a debugger does */
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        sl_log(log, SL_LOG_WARNING, "process", "PR_SET_DUMPABLE: %s", strerror(errno));
#endif
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < SL_FD_NUMBERS_MAX ? files.rlim_max : SL_FD_NUMBERS_MAX;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            sl_log(log, SL_LOG_DEBUG, "process", "RLIMIT_NOFILE: %s", strerror(errno));
    }
}

/* cron, su and sudo leave XDG_RUNTIME_DIR out; systemd-logind makes the directory all the same, and clients look there. */
static void find_runtime_directory(void)
{
    const char *given = getenv("XDG_RUNTIME_DIR");
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/run/user/%u", (unsigned)geteuid());
    if ((given == NULL || given[0] != '/') && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
        (void)setenv("XDG_RUNTIME_DIR", path, 1);
}

/* --- systemd's line ----------------------------------------------------------------------------------------------- */

static void on_change(void *arg)
{
    struct sl_app *app = arg;
    struct sl_driver_totals totals;
    char text[128];
    if (app->unconfigured != NULL)
        return;
    sl_driver_totals(app->driver, &totals);
    snprintf(text, sizeof text, "%s%u leased, %u idle, %u waiting",
        app->phase == SL_APP_RUNNING ? "" : "stopping: ", totals.leased, totals.idle, totals.waiters);
    sl_notify_status(app->notify, text);
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

static void close_mending(struct sl_app *app)
{
    if (app->mending.loop != NULL && !uv_is_closing((uv_handle_t *)&app->mending))
        uv_close((uv_handle_t *)&app->mending, NULL);
}

/* They do not keep this run from its end; what comes meanwhile is the next run's. */
static void hold_signals(struct sl_app *app)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&app->sigterm, (uv_handle_t *)&app->sigint, (uv_handle_t *)&app->sighup};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        if (handles[i]->loop != NULL)
            uv_unref(handles[i]);
}

static void close_signals(struct sl_app *app)
{
    uv_signal_t *handles[] = {&app->sigterm, &app->sigint, &app->sighup};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        if (handles[i]->loop != NULL && !uv_is_closing((uv_handle_t *)handles[i]))
            uv_close((uv_handle_t *)handles[i], NULL);
    /* libuv has put back what these signals do by themselves: one more of them must not make a death of an orderly end.
     */
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
}

static const struct sl_state phases[] = {
    [SL_APP_RUNNING] = {"running", SL_TO(SL_APP_STOPPING) | SL_TO(SL_APP_CLOSING)},
    [SL_APP_STOPPING] = {"stopping", SL_TO(SL_APP_CLOSING)},
    [SL_APP_CLOSING] = {"closing", 0},
};

static void move(struct sl_app *app, enum sl_app_phase to)
{
    SL_MOVE(phases, app->phase, to);
}

/* Clients that are not accepted yet are the next daemon's where the socket is systemd's. */
static void stop_listening(struct sl_app *app)
{
    sl_dir_watch_free(app->place);
    app->place = NULL;
    sl_listener_close(app->listener);
    app->listener = NULL;
    if (app->mux != NULL)
        sl_mux_stop_listening(app->mux);
}

static void on_driver_stopped(void *arg)
{
    struct sl_app *app = arg;
    move(app, SL_APP_CLOSING);
    stop_listening(app);
    sl_app_stop_reading(app);
    if (app->native != NULL)
        sl_native_stop(app->native);
    if (app->mux != NULL)
        sl_mux_stop(app->mux);
    sl_watch_free(app->watch);
    app->watch = NULL;
    sl_transport_free(app->transport);
    app->transport = NULL;
    sl_notify_free(app->notify);
    app->notify = NULL;
    close_mending(app);
    if (!app->again)
        close_signals(app);
    else
        hold_signals(app);
    uv_close((uv_handle_t *)&app->calm, NULL);
}

static void stop(struct sl_app *app, bool now)
{
    if (app->phase == SL_APP_CLOSING)
        return;
    if (app->phase == SL_APP_RUNNING) {
        move(app, SL_APP_STOPPING);
        if (!app->again)
            sl_notify_stopping();
        if (!app->succeeded)
            stop_listening(app);
    }
    if (app->driver != NULL)
        sl_driver_shutdown(app->driver, now, on_driver_stopped, app);
    else
        on_driver_stopped(app);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct sl_app *app = handle->data;
    const bool again = app->phase != SL_APP_RUNNING;
    app->again = false;
    sl_log(&app->log, SL_LOG_NOTICE, "stop", "signal=%s%s", strsignal(number), again ? " again: now" : "");
    stop(app, again);
}

static void on_reload_signal(uv_signal_t *handle, int number)
{
    struct sl_app *app = handle->data;
    (void)number;
    (void)sl_app_reload(app, NULL, NULL);
}

static void on_look(uv_timer_t *timer)
{
    struct sl_app *app = timer->data;
    if (app->reload == SL_RELOAD_NONE)
        (void)sl_app_reload(app, NULL, NULL);
}

static void on_out_of_reach(struct sl_app *app)
{
    stop(app, false);
}

static int on_reload_asked(void *arg, sl_native_reloaded_fn done, void *done_arg)
{
    return sl_app_reload(arg, done, done_arg);
}

static int on_mux_path_asked(void *arg, const struct sl_target_conf *target, char *buf, size_t size)
{
    const struct sl_app *app = arg;
    return sl_mux_ensure(app->mux, target, buf, size);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static void on_accept(void *arg, int fd, int status)
{
    struct sl_app *app = arg;
    sl_native_accept(app->native, fd, status);
}

static int adopt(struct sl_app *app, char *error, size_t error_size)
{
    int fd = app->listen_fd, r;
    app->succeeded = true;
    if (app->unconfigured != NULL && (fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s", strerror(errno));
    r = sl_listener_adopt(&app->loop, &app->log, fd, on_accept, app, error, error_size, &app->listener);
    if (r == 0 && app->unconfigured == NULL)
        app->listen_fd = -1;
    else if (r != 0 && fd != app->listen_fd)
        (void)close(fd);
    return r;
}

static int listen_on(struct sl_app *app)
{
    const struct sl_listen_conf *conf = &sl_driver_conf(app->driver)->listen;
    char path[512], error[1024];
    int r;
    if (app->listen_fd >= 0) {
        r = adopt(app, error, sizeof error);
        snprintf(path, sizeof path, "(from systemd)");
    } else {
        const char *named = app->options->socket != NULL ? app->options->socket : conf->path;
        if (named == NULL && sl_app_default_socket(app->options->one_user, path, sizeof path) != 0) {
            sl_log(&app->log, SL_LOG_ERROR, "listener", "%s", path);
            return SL_E_INVALID;
        }
        const struct sl_listener_options options = {
            .path = named != NULL ? named : path,
            .mode = conf->mode,
            .group_set = conf->group_set,
            .group = conf->group,
            .guarded = true,
            .succeeded = sl_notify_is_service(),
        };
        app->succeeded = options.succeeded;
        r = sl_listener_open(&app->loop, &app->log, &options, on_accept, app, error, sizeof error, &app->listener);
        if (r == 0)
            sl_app_keep_place(app, options.path);
        if (named != NULL)
            snprintf(path, sizeof path, "%s", named);
    }
    if (r != 0) {
        sl_log(&app->log, SL_LOG_ERROR, "listener", "%s", error);
        return r;
    }
    sl_listener_closed_by(app->listener, sl_watch_jobs(app->watch));
    sl_log(&app->log, SL_LOG_NOTICE, "listener", "socket=%s", path);
    return 0;
}

/* Without its mux sockets the daemon serves all others. */
static void listen_for_mux(struct sl_app *app)
{
    char error[1024];
    if (sl_mux_prepare(sl_driver_conf(app->driver), error, sizeof error) != 0)
        sl_log(&app->log, SL_LOG_ERROR, "listener", "no target has a mux socket: %s", error);
    else
        sl_mux_configure(app->mux);
}

static int handle_signals(struct sl_app *app)
{
    const struct {
        uv_signal_t *handle;
        uv_signal_cb fn;
        int number;
    } signals[] = {
        {&app->sigterm, on_stop_signal, SIGTERM},
        {&app->sigint, on_stop_signal, SIGINT},
        {&app->sighup, on_reload_signal, SIGHUP},
    };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (signals[i].handle->loop != NULL) { /* a run before this one has begun with it */
            uv_ref((uv_handle_t *)signals[i].handle);
            continue;
        }
        int r = uv_signal_init(&app->loop, signals[i].handle);
        if (r == 0) {
            signals[i].handle->data = app;
            r = uv_signal_start(signals[i].handle, signals[i].fn, signals[i].number);
        }
        if (r != 0) {
            sl_log(&app->log, SL_LOG_ERROR, "start", "signals: %s", uv_strerror(r));
            return SL_E_INTERNAL;
        }
    }
    return 0;
}

static int build(struct sl_app *app, struct sl_conf *conf)
{
    const struct sl_native_hooks hooks = {.reload = on_reload_asked, .mux_path = on_mux_path_asked, .arg = app};
    int r = sl_notify_new(&app->loop, &app->notify);
    if (r == 0)
        r = sl_hang_jobs_new(&app->loop, SL_HANG_PER_KEY, &app->readers);
    if (r == 0)
        r = sl_transport_new(&app->loop, &app->log, &app->transport);
    if (r == 0)
        r = sl_driver_new(&app->loop, &app->log, app->transport, conf, &app->driver);
    if (r != 0) {
        sl_conf_free(conf); /* the driver has not taken it */
        sl_log(&app->log, SL_LOG_ERROR, "start", "%s", sl_status_text(r));
        return r;
    }
    sl_driver_on_change(app->driver, on_change, app);
    r = sl_watch_new(&app->loop, &app->watch);
    if (r == 0)
        sl_fd_jobs_account(sl_watch_jobs(app->watch), sl_driver_quota(app->driver));
    if (r == 0)
        r = sl_native_new(&app->loop, &app->log, app->driver, app->watch, &hooks, &app->native);
    if (r == 0)
        r = sl_mux_new(&app->loop, &app->log, app->driver, app->watch, &app->mux);
    if (r != 0) {
        sl_log(&app->log, SL_LOG_ERROR, "start", "%s", sl_status_text(r));
        return r;
    }
    app->end = on_out_of_reach;
    r = listen_on(app);
    if (r != 0)
        return r;
    if (app->unconfigured != NULL)
        sl_app_begin_unconfigured(app, on_look);
    else
        listen_for_mux(app);
    return handle_signals(app);
}

static int load_first(struct sl_app *app, struct sl_conf **ret_conf)
{
    struct sl_load load = {.file = NULL};
    int r = sl_load_init(&load, app->options);
    if (r == 0) {
        sl_load_run(&load);
        r = load.status;
    }
    for (size_t i = 0; i < load.errors.lines.count; i++)
        sl_log(&app->log, SL_LOG_ERROR, "config", "%s", load.errors.lines.item[i]);
    if (r != 0) {
        load.status = r;
        char *text = sl_load_error_text(&load);
        if (load.errors.lines.count == 0)
            sl_log(&app->log, SL_LOG_ERROR, "config", "%s", text != NULL ? text : sl_status_text(r));
        if (r == SL_E_CONFIG && app->listen_fd >= 0 && text != NULL && (r = sl_conf_new_default(false, ret_conf)) == 0)
            app->unconfigured = text;
        else
            free(text);
    } else {
        *ret_conf = load.conf;
        load.conf = NULL;
        sl_load_log_notes(&load, &app->log);
        sl_log(&app->log, SL_LOG_NOTICE, "start", "version=%s pid=%ld mode=%s config=%s targets=%zu transport=\"%s\"",
            SSHLEASE_VERSION, (long)getpid(), app->options->one_user ? "one-user" : "system",
            load.file != NULL ? load.file : "-", (*ret_conf)->target_count, sl_transport_version());
    }
    sl_load_fini(&load);
    return r;
}

static void name_open_handle(uv_handle_t *handle, void *arg)
{
    const struct sl_app *app = arg;
    sl_log(&app->log, SL_LOG_ERROR, "stop", "a handle was left open: type=%s closing=%d",
        uv_handle_type_name(uv_handle_get_type(handle)), uv_is_closing(handle));
}

/* Returns the exit code. */
static int run(struct sl_app *app, struct sl_conf *conf)
{
    int code = SL_EXIT_OK;
    sl_app_watch_log(app);
    if (build(app, conf) == 0) {
        sl_notify_ready();
        on_change(app);
    } else {
        code = SL_EXIT_FAILED;
        app->again = false;
        stop(app, true);
    }
    (void)uv_run(&app->loop, UV_RUN_DEFAULT);
    sl_native_free(app->native);
    sl_mux_free(app->mux);
    sl_driver_free(app->driver);
    return code;
}

/* Returns the exit code. */
static int start(struct sl_app *app)
{
    struct sl_conf *conf = NULL;
    int r;
    memset(&app->phase, 0, sizeof *app - offsetof(struct sl_app, phase));
    r = load_first(app, &conf);
    if (r != 0)
        return r == SL_E_CONFIG ? SL_EXIT_CONFIG : SL_EXIT_FAILED;
    r = run(app, conf);
    free(app->unconfigured);
    return r;
}

/* All runs are over. */
static int close_loop(struct sl_app *app, int code)
{
    close_signals(app);
    (void)uv_run(&app->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&app->loop);
    if (r != 0) {
        uv_walk(&app->loop, name_open_handle, app);
        return SL_EXIT_FAILED;
    }
    if (code == SL_EXIT_OK)
        sl_log(&app->log, SL_LOG_NOTICE, "stop", "done");
    return code;
}

static int run_all(struct sl_app *app)
{
    int code, r;
    if (sl_notify_listen_fd(&app->listen_fd) != 0) {
        sl_log(&app->log, SL_LOG_ERROR, "listener", "systemd hands over several sockets; one is wanted");
        return SL_EXIT_FAILED;
    }
    r = uv_loop_init(&app->loop);
    if (r != 0) {
        sl_log(&app->log, SL_LOG_ERROR, "start", "%s", uv_strerror(r));
        return SL_EXIT_FAILED;
    }
    do
        code = start(app);
    while (app->again);
    return close_loop(app, code);
}

int sl_app_run(const struct sl_app_options *options)
{
    struct sl_app *app = calloc(1, sizeof *app);
    if (app == NULL)
        return SL_EXIT_FAILED;
    app->options = options;
    sl_app_start_log(app);
    prepare_process(&app->log);
    if (options->one_user)
        find_runtime_directory();
    int code = run_all(app);
    sl_log_stop(&app->log);
    free(app);
    return code;
}
