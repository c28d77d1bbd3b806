/* SPDX-License-Identifier: MIT */
/* Which configuration, and reading it again.
 *   1. SIGHUP or RELOAD starts a reading in a thread that may hang (files, users and groups are looked up: it blocks)
 *   2. back on the loop, a good one goes to the driver; a bad one is logged, all of it, and changes nothing
 *   3. whoever asked is answered; who asked during the reading gets one of his own, for the file may have changed since
 * systemd is told at 1 and 3, whatever came of it: the daemon is ready again. */
#include "daemon/app/internal.h"

#include "base/state.h"
#include "config/diff.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SYSTEM_CONFIG "/etc/sshlease/sshleased.yaml"
#define USER_CONFIG   "sshlease/sshleased.yaml"
#define SYSTEM_SOCKET "/run/sshleased/sshleased.sock"
#define USER_SOCKET   "sshleased.sock"
/* For clients to pass, however little the process may have. */
#define DESCRIPTORS_MIN 64u
/* A reading that takes longer is of no use to whoever asked. */
#define LATE_MS 10000u
#define LATE_TEXT                                                                                                      \
    "reading the configuration hangs: the user database or a file system does not answer; nothing has changed"

int sl_app_default_socket(bool one_user, char *buf, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (!one_user) {
        snprintf(buf, size, "%s", SYSTEM_SOCKET);
        return 0;
    }
    if (runtime == NULL || runtime[0] != '/') {
        snprintf(buf, size,
            "XDG_RUNTIME_DIR is not set and there is no /run/user/%u, so there is no default place for the socket: "
            "name "
            "one with --socket PATH",
            (unsigned)geteuid());
        return SL_E_INVALID;
    }
    /* Cut, it would not be the path that clients look at: the listener refuses paths of this length anyway. */
    snprintf(buf, size, "%s/%s", runtime, USER_SOCKET);
    return 0;
}

/* The user's own file where there is one. 0 or SL_E_NOMEM; *ret_file NULL: none. */
static int user_file(char **ret_file)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const bool set = base != NULL && base[0] == '/';
    char *file = NULL;
    *ret_file = NULL;
    if (!set && (home == NULL || home[0] != '/'))
        return 0;
    if (asprintf(&file, "%s%s/%s", set ? base : home, set ? "" : "/.config", USER_CONFIG) < 0)
        return SL_E_NOMEM;
    if (access(file, F_OK) == 0)
        *ret_file = file;
    else
        free(file);
    return 0;
}

int sl_load_init(struct sl_load *load, const struct sl_app_options *options)
{
    *load = (struct sl_load){.one_user = options->one_user};
    int r = sl_transport_algorithms(&load->algorithms);
    if (r != 0)
        return r;
    if (options->config_file == NULL && options->one_user)
        return user_file(&load->file);
    load->file = strdup(options->config_file != NULL ? options->config_file : SYSTEM_CONFIG);
    return load->file != NULL ? 0 : SL_E_NOMEM;
}

/* Of the descriptors that the process may have, an eighth is for what comes by surprise; the rest, but for its sockets and
 * connections, is its clients'. */
static void bound_descriptors(struct sl_limits *limits)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return;
    const rlim_t others = (rlim_t)limits->clients + limits->connections, most = files.rlim_cur - files.rlim_cur / 8;
    const rlim_t left = most > others + DESCRIPTORS_MIN ? most - others : DESCRIPTORS_MIN;
    if (limits->descriptors > left)
        limits->descriptors = (uint32_t)left;
}

void sl_load_run(struct sl_load *load)
{
    struct sl_conf_errors errors = {.left_out = 0};
    struct sl_conf *conf = NULL;
    if (load->file != NULL)
        load->status = sl_conf_load(load->file, load->one_user, &load->algorithms, &conf, &errors);
    else
        load->status = sl_conf_new_default(load->one_user, &conf);
    if (conf != NULL)
        bound_descriptors(&conf->limits);
    load->conf = conf;
    load->errors = errors;
}

void sl_load_fini(struct sl_load *load)
{
    sl_conf_free(load->conf);
    sl_conf_errors_fini(&load->errors);
    sl_algorithms_fini(&load->algorithms);
    free(load->file);
    *load = (struct sl_load){.file = NULL};
}

char *sl_load_error_text(const struct sl_load *load)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < load->errors.lines.count; i++)
        (void)fprintf(out, "%s%s", i > 0 ? "\n" : "", load->errors.lines.item[i]);
    if (load->errors.lines.count == 0 && load->status == SL_E_CONFIG)
        (void)fputs("the user's home directory cannot be found", out);
    else if (load->errors.lines.count == 0)
        (void)fputs(sl_status_text(load->status), out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

void sl_load_log_notes(const struct sl_load *load, const struct sl_log *log)
{
    for (size_t i = 0; i < load->errors.notes.count; i++)
        sl_log(log, SL_LOG_NOTICE, "config", "%s", load->errors.notes.item[i]);
}

/* --- reloading ---------------------------------------------------------------------------------------------------- */

static int start_reading(struct sl_app *app);

static void log_change(
    void *arg, enum sl_conf_change change, struct sl_target_conf *old_target, struct sl_target_conf *new_target)
{
    const struct sl_app *app = arg;
    if (change != SL_CONF_SAME)
        sl_log(&app->log, SL_LOG_NOTICE, "reload", "target=%s change=%s",
            new_target != NULL ? new_target->name : old_target->name, sl_conf_change_name(change));
}

static void log_errors(const struct sl_app *app, const struct sl_load *load)
{
    for (size_t i = 0; i < load->errors.lines.count; i++)
        sl_log(&app->log, SL_LOG_ERROR, "config", "%s", load->errors.lines.item[i]);
    sl_log(&app->log, SL_LOG_ERROR, "reload", "result=failed status=%s: nothing has changed",
        sl_status_name(load->status));
}

/* Takes load->conf over on success. */
static int apply(struct sl_app *app, struct sl_load *load)
{
    const char *restart = sl_conf_needs_restart(sl_driver_conf(app->driver), load->conf);
    char error[1024];
    int r = sl_mux_prepare(load->conf, error, sizeof error);
    if (r != 0) {
        (void)sl_strv_add(&load->errors.lines, error);
        return r;
    }
    if (restart != NULL)
        sl_log(
            &app->log, SL_LOG_WARNING, "reload", "%s has changed, which takes effect at the next start only", restart);
    sl_conf_diff(sl_driver_conf(app->driver), load->conf, log_change, app);
    r = sl_driver_reload(app->driver, load->conf);
    if (r != 0)
        return r;
    load->conf = NULL;
    sl_mux_configure(app->mux);
    return 0;
}

static void answer(struct sl_reload_waiters *waiters, int status, const char *text)
{
    for (unsigned i = 0; i < waiters->count; i++)
        waiters->item[i].done(waiters->item[i].arg, status, text);
    waiters->count = 0;
}

static void on_loaded(struct sl_app *app, struct sl_load *load)
{
    const bool running = app->phase == SL_APP_RUNNING, unconfigured = app->unconfigured != NULL;
    if (!running)
        load->status = SL_E_SHUTDOWN;
    else if (load->status == 0 && !unconfigured)
        load->status = apply(app, load);
    char *text = load->status != 0 ? sl_load_error_text(load) : NULL;
    if (running && unconfigured) {
        sl_app_read_again(app, load, text);
    } else if (load->status != 0) {
        log_errors(app, load);
    } else {
        sl_load_log_notes(load, &app->log);
        sl_log(&app->log, SL_LOG_NOTICE, "reload", "result=done file=%s", load->file != NULL ? load->file : "-");
    }
    answer(&app->now, load->status, text != NULL ? text : sl_status_text(load->status));
    free(text);
    if (!app->again)
        return;
    answer(&app->next, 0, ""); /* the next run begins with another reading */
    app->end(app);
}

static void on_late(struct sl_app *app)
{
    sl_log(&app->log, SL_LOG_ERROR, "reload", "result=failed status=%s: %s", sl_status_name(SL_E_TIMEOUT), LATE_TEXT);
    answer(&app->now, SL_E_TIMEOUT, LATE_TEXT);
}

static const struct sl_state phases[] = {
    [SL_RELOAD_NONE] = {"none", SL_TO(SL_RELOAD_READING)},
    [SL_RELOAD_READING] = {"reading", SL_TO(SL_RELOAD_READING_STALE) | SL_TO(SL_RELOAD_NONE)},
    [SL_RELOAD_READING_STALE] = {"reading-stale", SL_TO(SL_RELOAD_NONE)},
};

static void move(struct sl_app *app, enum sl_reload_phase to)
{
    if (app->reload != to)
        SL_MOVE(phases, app->reload, to);
}

static void on_read(void *arg, void *data)
{
    struct sl_app *app = arg;
    const bool again = app->reload == SL_RELOAD_READING_STALE;
    move(app, SL_RELOAD_NONE);
    if (data != NULL)
        on_loaded(app, data);
    else
        on_late(app);
    if (app->phase != SL_APP_RUNNING)
        answer(&app->next, SL_E_SHUTDOWN, sl_status_text(SL_E_SHUTDOWN));
    else if (app->unconfigured == NULL)
        sl_notify_ready();
    if (again && app->phase == SL_APP_RUNNING) {
        app->now = app->next;
        app->next.count = 0;
        int r = start_reading(app);
        if (r != 0)
            answer(&app->now, r, sl_status_text(r));
    }
}

static void do_read(void *data)
{
    sl_load_run(data);
}

static void dispose(void *data)
{
    sl_load_fini(data);
    free(data);
}

static const struct sl_hang_kind read_kind = {do_read, on_read, dispose};

static int start_reading(struct sl_app *app)
{
    struct sl_load *load = calloc(1, sizeof *load);
    struct sl_hang_job *job; /* it ends by itself, or with the readers */
    int r = load == NULL ? SL_E_NOMEM : sl_load_init(load, app->options);
    if (r == 0)
        r = sl_hang_job_start(app->readers, &read_kind, 0, load, app, LATE_MS, &job);
    if (r != 0) {
        if (load != NULL)
            dispose(load);
        sl_log(&app->log, SL_LOG_ERROR, "reload", "result=failed status=%s", sl_status_name(r));
        return r;
    }
    move(app, SL_RELOAD_READING);
    if (app->unconfigured == NULL)
        sl_notify_reloading();
    return 0;
}

void sl_app_stop_reading(struct sl_app *app)
{
    sl_hang_jobs_free(app->readers);
    app->readers = NULL;
    move(app, SL_RELOAD_NONE);
    answer(&app->now, SL_E_SHUTDOWN, sl_status_text(SL_E_SHUTDOWN));
    answer(&app->next, SL_E_SHUTDOWN, sl_status_text(SL_E_SHUTDOWN));
}

int sl_app_reload(struct sl_app *app, sl_native_reloaded_fn fn, void *arg)
{
    const bool reading = app->reload != SL_RELOAD_NONE;
    struct sl_reload_waiters *waiters = reading ? &app->next : &app->now;
    if (app->phase != SL_APP_RUNNING)
        return SL_E_SHUTDOWN;
    if (fn != NULL && waiters->count == SL_RELOAD_WAITERS)
        return SL_E_LIMIT;
    if (reading) {
        move(app, SL_RELOAD_READING_STALE);
    } else {
        int r = start_reading(app);
        if (r != 0)
            return r;
    }
    if (fn != NULL) {
        waiters->item[waiters->count].done = fn;
        waiters->item[waiters->count++].arg = arg;
    }
    return 0;
}
