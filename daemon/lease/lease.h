/* SPDX-License-Identifier: MIT */
/* lease.h - between the pure core and the world: feeds the core events, carries out its actions, owns the table of
 * targets, connections and leases. The only caller of core/. Speaks no client protocol: that is front/'s. */
#ifndef SSHLEASE_LEASE_LEASE_H
#define SSHLEASE_LEASE_LEASE_H

#include "base/log.h"
#include "base/quota.h"
#include "config/conf.h"
#include "daemon/core/vocabulary.h"
#include "daemon/ssh/streams.h"

#include <uv.h>

struct sl_transport;
struct sl_driver;
struct sl_lease; /* a request for a lease, then the lease: from sl_lease_acquire() to its last callback */

/* Called when, after sl_driver_shutdown(), no connection and no lease is left. */
typedef void (*sl_driver_stopped_fn)(void *arg);

/* Takes over `conf` on success (freed with the driver or at the next reload). 0 or SL_E_NOMEM. */
int sl_driver_new(uv_loop_t *loop, const struct sl_log *log, struct sl_transport *transport, struct sl_conf *conf,
    struct sl_driver **ret_driver);
/* Only after sl_driver_shutdown() has called back: by then its handles are closed. Every lease must have had its last
 * callback or been abandoned. NULL is fine. */
void sl_driver_free(struct sl_driver *driver);

/* Replaces the configuration by `conf` (taken over on success only). 0, SL_E_NOMEM or SL_E_LIMIT, then nothing has
 * changed. Not from within a callback of the driver. */
int sl_driver_reload(struct sl_driver *driver, struct sl_conf *conf);
const struct sl_conf *sl_driver_conf(const struct sl_driver *driver);
/* What each user has, by the limits of the configuration; for whoever else hands something out. */
struct sl_quota *sl_driver_quota(const struct sl_driver *driver);

/* Calls `fn` whenever something may have changed that sl_driver_totals() counts. Not from within a call to the driver.
 */
typedef void (*sl_driver_changed_fn)(void *arg);
void sl_driver_on_change(struct sl_driver *driver, sl_driver_changed_fn fn, void *arg);

/* Stops granting; waits for releases as limits.shutdown_drain says, or not at all when `now`. May be called again with
 * now=true. `fn` is called once. */
void sl_driver_shutdown(struct sl_driver *driver, bool now, sl_driver_stopped_fn fn, void *arg);

/* Works off at once what would be worked off after the loop's polling: callbacks of calls made before run now. For
 * front ends that have several requests in hand, so that each is answered before the next is looked at. Not from within
 * a callback of the driver. */
void sl_driver_flush(struct sl_driver *driver);

/* Whether `who` may lease the target of that name now. 0, and in *ret_conf its settings (the caller owns the reference);
 * or SL_E_NO_TARGET, SL_E_NOT_ALLOWED, SL_E_NOMEM, and in `text` the sentence for a person. Nothing is leased or made. */
int sl_driver_admit(const struct sl_driver *driver, const char *name, const struct sl_who *who,
    struct sl_target_conf **ret_conf, char *text, size_t size);

/* --- leases, for the front ends. No callback runs before the call that caused it has returned. --- */

/* What is asked for, and by whom; copied. */
struct sl_lease_wish {
    const char *target; /* its name */
    const struct sl_who *who;
    const char *label;           /* for people; may be "" */
    uint64_t acquire_timeout_ms; /* 0: the target's; or SL_ACQUIRE_PATIENTLY */
    uint64_t lease_timeout_ms;   /* 0: the target's */
};

struct sl_lease_grant {
    uint64_t id; /* counts up from 1 */
    uint32_t lease_timeout_ms, max_lease_ms, streams;
};

/* After on_refused, on_released and on_ended the lease is dead for the caller. Streams of it that have not had their
 * on_end by then, and ports that have not had their on_closed, will not call any more and are dead, too. */
struct sl_lease_handler {
    void (*on_waiting)(void *arg, uint32_t position, uint32_t waited_ms, const char *reason);
    void (*on_granted)(void *arg, const struct sl_lease_grant *grant);
    /* Last callback: refused. `text` names target and reason. */
    void (*on_refused)(void *arg, int status, const char *text);
    void (*on_renewed)(void *arg, uint32_t left_ms);
    /* Last callback: released as asked. */
    void (*on_released)(void *arg);
    /* Last callback: over by something other than a release. */
    void (*on_ended)(void *arg, int status, const char *text);
};

/* An acquire_timeout_ms, for clients that know none: where the file does not set acquire_timeout, the wait for a free
 * connection has no end; that for a target that cannot be reached ends as others'. */
#define SL_ACQUIRE_PATIENTLY UINT64_MAX

/* Asks for a lease. 0, or SL_E_NOMEM. Any refusal, an unknown
 * target included, comes as on_refused. */
int sl_lease_acquire(struct sl_driver *driver, const struct sl_lease_wish *wish, const struct sl_lease_handler *handler,
    void *arg, struct sl_lease **ret_lease);
/* on_renewed follows, unless the lease ends first. One at a time. Ignored while the lease is not granted. */
void sl_lease_renew(struct sl_lease *lease, uint64_t lease_timeout_ms);
/* on_released follows (or on_refused or on_ended, when that came to pass first), and no other callback. While waiting,
 * it ends the wait. With streams still open it is an unclean release: reclaimed. Idempotent. */
void sl_lease_release(struct sl_lease *lease);
/* Whether it is granted, and not given back since. NULL: no. */
bool sl_lease_is_held(const struct sl_lease *lease);
/* The client is gone: no callback comes any more, of its streams neither; `arg` and `lease` are dead for the caller.
 * Ends a wait, reclaims a lease. */
void sl_lease_abandon(struct sl_lease *lease);
/* Opens a stream on the lease's connection; as sl_stream_open(), and SL_E_NO_LEASE while it is not granted. */
int sl_lease_stream_open(struct sl_lease *lease, const struct sl_stream_spec *spec,
    const struct sl_stream_handler *handler, void *arg, struct sl_stream **ret_stream);

/* The sentence for what sl_lease_stream_open() has returned, without the target's name. Returns `buf`. */
const char *sl_lease_stream_refusal(const struct sl_lease *lease, int status, char *buf, size_t size);
/* Has the server listen for the lease; as sl_remote_open(), and SL_E_NO_LEASE while it is not granted, SL_E_AGAIN while
 * it moves to another connection. With the lease it ends without a callback, as its streams do. */
int sl_lease_listen(struct sl_lease *lease, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_remote **ret_remote);

/* An operator takes a lease back. 0, SL_E_NO_LEASE, or SL_E_NOT_ALLOWED: admins may end any, others their own uid's. */
int sl_driver_revoke(struct sl_driver *driver, uint64_t lease_id, const struct sl_who *who);

/* The user `uid` wants its next lease of the target to be a new login: its idle connections there are closed, with
 * those that were dialed ahead; leased ones when they are given back. Where owners share, it is everybody's. Nothing
 * happens where there is no such target. Callbacks may run; not from within one of the driver's. */
void sl_driver_reset(struct sl_driver *driver, const char *target, uid_t uid);

/* The same as a request: for an administrator all connections of the target are dropped so, whoever's they are, and its
 * failed dials are forgotten. 0; as sl_driver_admit(), or SL_E_SHUTDOWN, with a sentence in `text`. */
int sl_driver_reconnect(
    struct sl_driver *driver, const char *target, const struct sl_who *who, char *text, size_t size);

/* --- looking, for front/native/admin --- */
struct sl_target_view {
    const char *name;
    uint32_t dialing, idle, leased, draining, closing, waiters, max_connections, failures;
    int last_status;
    const char *last_error; /* "" or what the last failed dial said */
    uint64_t retry_in_ms;   /* no dial before; UINT64_MAX: not before a file has changed or an operator acts */
    const char *learned;    /* in what its server differs from others, or "" */
    const struct sl_strv *send_env;
};
struct sl_lease_view {
    uint64_t id;
    const char *target, *label;
    bool granted;
    pid_t pid;
    uint64_t start_time;
    uid_t uid;
    uint64_t age_ms;        /* since it was asked for, or granted */
    uint64_t expires_in_ms; /* until the wait, or the lease, runs out */
    uint32_t streams, position;
};
struct sl_driver_totals {
    uint32_t dialing, idle, leased, draining, closing, waiters;
};
typedef void (*sl_target_view_fn)(void *arg, const struct sl_target_view *view);
typedef void (*sl_lease_view_fn)(void *arg, const struct sl_lease_view *view);
typedef void (*sl_counter_fn)(void *arg, const char *name, const char *label, uint64_t value);
/* Only what `who` may see: admins everything, others the targets they may lease and their own leases. */
void sl_driver_each_target(struct sl_driver *driver, const struct sl_who *who, sl_target_view_fn fn, void *arg);
void sl_driver_each_lease(struct sl_driver *driver, const struct sl_who *who, sl_lease_view_fn fn, void *arg);
/* Counters since the start: ("leases_ended", "expired", 3) … */
void sl_driver_each_counter(struct sl_driver *driver, sl_counter_fn fn, void *arg);
/* All targets together. */
void sl_driver_totals(const struct sl_driver *driver, struct sl_driver_totals *ret_totals);
bool sl_driver_stopping(const struct sl_driver *driver);
/* What whoever asks for something new is told meanwhile, for a person: "sshleased is shutting down, 2 leases left;
 * nothing was sent". Returns `buf`. */
const char *sl_driver_stopping_text(const struct sl_driver *driver, char *buf, size_t size);

#endif
