/* SPDX-License-Identifier: MIT */
/* internal.h - what the composition root is made of; for daemon/app/ only. */
#ifndef SSHLEASE_APP_INTERNAL_H
#define SSHLEASE_APP_INTERNAL_H

#include "config/conf.h"
#include "config/yaml.h"
#include "daemon/app/app.h"
#include "daemon/front/mux/mux.h"
#include "daemon/front/native/native.h"
#include "daemon/lease/lease.h"
#include "daemon/net/dir_watch.h"
#include "daemon/net/hang_jobs.h"
#include "daemon/net/listener.h"
#include "daemon/net/notify.h"
#include "daemon/net/watch.h"
#include "daemon/ssh/transport.h"

/* Clients whose RELOAD one reading of the file answers. */
#define SL_RELOAD_WAITERS 16u

/* A configuration being read. Made, read and judged in the thread pool, but for the last step. */
struct sl_load {
    char *file; /* NULL: the built-in configuration */
    bool one_user;
    struct sl_algorithms algorithms; /* of the transport */
    int status;
    struct sl_conf *conf;
    struct sl_conf_errors errors;
};

struct sl_reload_waiters {
    struct {
        sl_native_reloaded_fn done;
        void *arg;
    } item[SL_RELOAD_WAITERS];
    unsigned count;
};

enum sl_reload_phase {
    SL_RELOAD_NONE,
    SL_RELOAD_READING,
    SL_RELOAD_READING_STALE, /* asked for again meanwhile: to be read once more */
};

enum sl_app_phase {
    SL_APP_RUNNING,
    SL_APP_STOPPING, /* waiting for leases to be given back */
    SL_APP_CLOSING,  /* the driver has stopped; handles are being closed */
};

struct sl_app {
    /* These stay from one run to the next: so no signal is lost in between. */
    uv_loop_t loop;
    uv_signal_t sigterm, sigint, sighup;
    struct sl_log log;
    uv_timer_t calm; /* while lines were dropped and are not told yet */
    const struct sl_app_options *options;
    int listen_fd; /* from systemd; -1: none, or handed on */

    enum sl_app_phase phase;
    struct sl_transport *transport;
    struct sl_driver *driver;
    struct sl_watch *watch;
    struct sl_native *native;
    struct sl_mux *mux;
    struct sl_listener *listener;
    struct sl_dir_watch *place; /* of the listener's socket; NULL: systemd's */
    bool succeeded;             /* by a daemon that systemd starts when this one has ended */
    void (*end)(struct sl_app *app);
    uint64_t lost_ms; /* since when that socket cannot be made again; 0: it is there */
    struct sl_notify *notify;

    char *unconfigured; /* what is wrong with the configuration; NULL: it is good */
    uv_timer_t mending; /* looks whether that is mended */
    bool again;         /* when this run is over, another one begins */

    struct sl_hang_jobs *readers;
    enum sl_reload_phase reload;
    struct sl_reload_waiters now, next; /* answered by this reading, by the one after it */
};

/* app/log.c */

/* Nothing waits for the log. */
void sl_app_start_log(struct sl_app *app);
/* With a loop, and before there are clients: what is dropped of their lines is told. */
void sl_app_watch_log(struct sl_app *app);

/* app/place.c */

/* From now on the socket at `path`, which app->listener has, is looked after. `end` ends the daemon in good order. */
void sl_app_keep_place(struct sl_app *app, const char *path);

/* app/unconfigured.c */

/* app->unconfigured says why. The driver has the built-in configuration. `look` gets the app as its data, and reads the
 * file again. */
void sl_app_begin_unconfigured(struct sl_app *app, uv_timer_cb look);
/* What came of another reading; `text`: its errors. Sets app->again when there are none. */
void sl_app_read_again(struct sl_app *app, const struct sl_load *load, const char *text);

/* app/config.c */

/* Reads what the options name: sl_load_run(), which blocks; it may hang for ever where users and groups are looked up.
 * load->status says how it went; sl_load_fini() frees what is left. */
int sl_load_init(struct sl_load *load, const struct sl_app_options *options);
void sl_load_run(struct sl_load *load);
void sl_load_fini(struct sl_load *load);
/* All the errors, one a line. malloc'd; NULL: no memory. */
char *sl_load_error_text(const struct sl_load *load);

/* Logs what in it is right, but perhaps not meant. */
void sl_load_log_notes(const struct sl_load *load, const struct sl_log *log);

/* Nobody is told any more of what is being read. */
void sl_app_stop_reading(struct sl_app *app);
/* Reads the configuration again; for `fn` as sl_native_hooks.reload says (NULL: for a signal). */
int sl_app_reload(struct sl_app *app, sl_native_reloaded_fn fn, void *arg);

/* Writes the socket's path of the mode, where nobody says another, to `buf`. 0, or SL_E_INVALID with the reason in
 * `buf`. */
int sl_app_default_socket(bool one_user, char *buf, size_t size);

#endif
