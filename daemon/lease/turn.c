/* SPDX-License-Identifier: MIT */
/* The turn of the loop: works the to-do list off and carries the core's actions out. Start, reload and end. What
 * happens in one flush:
 *   1. actions left by a configuration are carried out
 *   2. the oldest entry of the to-do list gives one event; the core steps; its actions are carried out, in order
 *   3. and so on until the list is empty; what callbacks note down meanwhile comes at its end
 *   4. leases and targets that are over are freed, the timer is set to the core's next deadline
 * After the core's STOPPED the handles are closed, and with the last of them the caller is told. */
#include "daemon/lease/state.h"

#include "base/container.h"
#include "base/state.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_stopped(const struct sl_driver *d)
{
    return d->phase == SL_DRIVER_STOPPED || d->phase == SL_DRIVER_CLOSED;
}

/* --- actions ------------------------------------------------------------------------------------------------------ */

static const struct sl_state phases[] = {
    [SL_DRIVER_RUNNING] = {"running", SL_TO(SL_DRIVER_STOPPING) | SL_TO(SL_DRIVER_CLOSED)}, /* closed: never begun */
    [SL_DRIVER_STOPPING] = {"stopping", SL_TO(SL_DRIVER_STOPPED)},
    [SL_DRIVER_STOPPED] = {"stopped", SL_TO(SL_DRIVER_CLOSED)},
    [SL_DRIVER_CLOSED] = {"closed", 0},
};

static void move(struct sl_driver *d, enum sl_driver_phase to)
{
    SL_MOVE(phases, d->phase, to);
}

typedef void (*action_fn)(struct sl_driver *d, const struct sl_action *act);

static void on_stopped(struct sl_driver *d, const struct sl_action *act)
{
    (void)act;
    move(d, SL_DRIVER_STOPPED);
}

static const action_fn action_handlers[] = {
    [SL_ACT_QUEUED] = sl_driver_lease_answer,
    [SL_ACT_NOTICE] = sl_driver_lease_answer,
    [SL_ACT_GRANT] = sl_driver_lease_answer,
    [SL_ACT_MOVE] = sl_driver_lease_answer,
    [SL_ACT_REFUSE] = sl_driver_lease_answer,
    [SL_ACT_RENEWED] = sl_driver_lease_answer,
    [SL_ACT_RELEASED] = sl_driver_lease_answer,
    [SL_ACT_ENDED] = sl_driver_lease_answer,
    [SL_ACT_DIAL] = sl_driver_conn_dial,
    [SL_ACT_PING] = sl_driver_conn_ping,
    [SL_ACT_DRAIN] = sl_driver_lease_drain,
    [SL_ACT_CLOSE] = sl_driver_conn_close,
    [SL_ACT_CONN_MOVED] = sl_driver_conn_moved,
    [SL_ACT_LEASE_MOVED] = sl_driver_lease_moved,
    [SL_ACT_STOPPED] = on_stopped,
};

static void carry_out(struct sl_driver *d)
{
    const struct sl_actions *actions = sl_pool_actions(d->pool);
    for (size_t i = 0; i < actions->count; i++)
        action_handlers[actions->item[i].type](d, &actions->item[i]);
}

static void feed(struct sl_driver *d, struct sl_event *ev)
{
    ev->now_ms = uv_now(d->loop);
    sl_pool_step(d->pool, ev);
    carry_out(d);
}

/* --- flushing ----------------------------------------------------------------------------------------------------- */

static bool own_event(struct sl_driver *d, unsigned todo, struct sl_event *ret_event)
{
    switch (todo) {
    case SL_TODO_CONFIGURE:
        if (sl_driver_targets_configure(d))
            carry_out(d);
        return false;
    case SL_TODO_SHUTDOWN:
        *ret_event = (struct sl_event){.type = SL_EV_SHUTDOWN, .drain_ms = d->conf->limits.shutdown_drain_ms};
        return true;
    case SL_TODO_SHUTDOWN_NOW:
        *ret_event = (struct sl_event){.type = SL_EV_SHUTDOWN_NOW};
        return true;
    default:
        *ret_event = (struct sl_event){.type = SL_EV_TIME};
        return true;
    }
}

/* Takes the first bit off the first entry. False: the entry had nothing for the core. */
static bool next_event(struct sl_driver *d, struct sl_event *ret_event)
{
    struct sl_work *work = TAILQ_FIRST(&d->todo);
    unsigned todo = work->todo & -work->todo;
    work->todo &= ~todo;
    if (work->todo == 0)
        TAILQ_REMOVE(&d->todo, work, entry);
    switch (work->of) {
    case SL_WORK_CONN:
        sl_driver_conn_event(SL_CONTAINER(work, struct sl_driver_conn, work), todo, ret_event);
        return true;
    case SL_WORK_LEASE:
        return sl_driver_lease_event(SL_CONTAINER(work, struct sl_lease, work), todo, ret_event);
    default:
        return own_event(d, todo, ret_event);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct sl_driver *d = timer->data;
    sl_driver_note(d, &d->work, SL_TODO_TIME);
}

static void set_timer(struct sl_driver *d)
{
    uint64_t now = uv_now(d->loop), next = sl_pool_next_ms(d->pool);
    if (next == UINT64_MAX)
        (void)uv_timer_stop(&d->timer);
    else
        (void)uv_timer_start(&d->timer, on_timer, next > now ? next - now : 0, 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_driver *d = handle->data;
    if (--d->handles > 0)
        return;
    move(d, SL_DRIVER_CLOSED);
    d->stopped(d->stopped_arg);
}

static void close_handles(struct sl_driver *d)
{
    uv_close((uv_handle_t *)&d->timer, on_handle_closed);
    sl_driver_basis_forget_all(d);
    uv_close((uv_handle_t *)&d->sweep_timer, on_handle_closed);
    uv_close((uv_handle_t *)&d->look_timer, on_handle_closed);
    uv_close((uv_handle_t *)&d->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&d->check, on_handle_closed);
}

void sl_driver_flush(struct sl_driver *d)
{
    struct sl_event ev;
    assert(!d->flushing);
    if (TAILQ_EMPTY(&d->todo) && !d->configured)
        return;
    d->flushing = true;
    if (d->configured) {
        d->configured = false;
        carry_out(d);
    }
    while (!TAILQ_EMPTY(&d->todo))
        if (next_event(d, &ev))
            feed(d, &ev);
    sl_driver_leases_bury(d);
    sl_driver_targets_collect(d);
    d->flushing = false;
    if (!is_stopped(d))
        set_timer(d);
    else if (!uv_is_closing((uv_handle_t *)&d->timer)) /* clients may ask, and be refused, until the last is closed */
        close_handles(d);
    if (d->moved && d->changed != NULL) {
        d->moved = false;
        d->changed(d->changed_arg);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    sl_driver_flush(prepare->data);
}

static void on_check(uv_check_t *check)
{
    sl_driver_flush(check->data);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static uint64_t random_seed(uv_loop_t *loop)
{
    uint64_t seed;
    /* Only jitter hangs on it, so the time does where the system has no randomness. */
    if (uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL) != 0)
        seed = uv_hrtime() ^ (uint64_t)(uintptr_t)loop;
    return seed;
}

int sl_driver_new(uv_loop_t *loop, const struct sl_log *log, struct sl_transport *transport, struct sl_conf *conf,
    struct sl_driver **ret_driver)
{
    struct sl_driver *d = calloc(1, sizeof *d);
    if (d == NULL)
        return SL_E_NOMEM;
    d->loop = loop;
    d->log = log;
    d->transport = transport;
    d->conf = conf;
    d->work.of = SL_WORK_DRIVER;
    d->lease_slot_free = UINT32_MAX;
    TAILQ_INIT(&d->todo);
    TAILQ_INIT(&d->homeless);
    TAILQ_INIT(&d->draining);
    TAILQ_INIT(&d->over);
    TAILQ_INIT(&d->removed);
    d->quota = sl_quota_new();
    int r = d->quota == NULL ? SL_E_NOMEM : sl_pool_new(&conf->limits, random_seed(loop), &d->pool);
    if (r == 0)
        sl_driver_shares_apply(d, &conf->limits);
    if (r == 0)
        r = sl_driver_targets_apply(d, conf);
    if (r != 0) {
        d->conf = NULL; /* still the caller's */
        move(d, SL_DRIVER_CLOSED);
        sl_driver_free(d);
        return r;
    }
    (void)uv_timer_init(loop, &d->timer);
    (void)uv_timer_init(loop, &d->sweep_timer);
    (void)uv_timer_init(loop, &d->look_timer);
    (void)uv_prepare_init(loop, &d->prepare);
    (void)uv_check_init(loop, &d->check);
    d->timer.data = d->sweep_timer.data = d->look_timer.data = d->prepare.data = d->check.data = d;
    d->handles = 5;
    (void)uv_prepare_start(&d->prepare, on_prepare);
    (void)uv_check_start(&d->check, on_check);
    *ret_driver = d;
    return 0;
}

void sl_driver_free(struct sl_driver *d)
{
    if (d == NULL)
        return;
    assert(d->phase == SL_DRIVER_CLOSED);
    sl_driver_leases_free(d);
    sl_driver_targets_free(d);
    sl_driver_conns_free(d);
    sl_pool_free(d->pool);
    sl_quota_free(d->quota);
    sl_conf_free(d->conf);
    free(d);
}

void sl_driver_on_change(struct sl_driver *d, sl_driver_changed_fn fn, void *arg)
{
    d->changed = fn;
    d->changed_arg = arg;
}

int sl_driver_reload(struct sl_driver *d, struct sl_conf *conf)
{
    sl_driver_flush(d); /* what a configuration before this one has left to do */
    int r = sl_driver_targets_apply(d, conf);
    if (r != 0)
        return r;
    sl_conf_free(d->conf);
    d->conf = conf;
    sl_driver_shares_apply(d, &conf->limits);
    sl_driver_leases_ask_again(d);
    sl_driver_basis_verify(d);
    return 0;
}

void sl_driver_reset(struct sl_driver *d, const char *name, uid_t uid)
{
    sl_driver_flush(d); /* what was given back before is idle by then */
    const struct sl_driver_target *target = sl_driver_targets_known(d, name);
    if (target == NULL || target->phase != SL_DRIVER_TARGET_PRESENT || is_stopped(d))
        return;
    struct sl_event ev = {.type = SL_EV_RESET, .target = target->index, .owner = sl_driver_owner_class(target, uid)};
    d->flushing = true;
    feed(d, &ev);
    d->flushing = false;
    sl_driver_note(d, &d->work, SL_TODO_TIME); /* the rest of a flush follows */
}

int sl_driver_reconnect(struct sl_driver *d, const char *name, const struct sl_who *who, char *text, size_t size)
{
    struct sl_target_conf *conf = NULL;
    struct sl_driver_target *target;
    if (d->phase != SL_DRIVER_RUNNING) {
        (void)sl_driver_stopping_text(d, text, size);
        return SL_E_SHUTDOWN;
    }
    int r = sl_driver_admit(d, name, who, &conf, text, size);
    if (r != 0)
        return r;
    sl_driver_flush(d); /* what was given back before is idle by then */
    sl_log_of(d->log, who->uid, SL_LOG_WISHES, SL_LOG_NOTICE, "targets",
        "target=%s: new logins, asked for by pid=%ld uid=%lu", conf->name, (long)who->pid, (unsigned long)who->uid);
    target = sl_driver_targets_known(d, conf->name); /* one of the one-user mode may have no connection yet */
    if (target != NULL && sl_conf_is_admin(d->conf, who)) {
        sl_driver_target_renew(d, target);
        sl_driver_flush(d);
    } else if (target != NULL) {
        sl_driver_reset(d, conf->name, who->uid);
    }
    sl_target_conf_unref(conf);
    return 0;
}

struct sl_quota *sl_driver_quota(const struct sl_driver *d)
{
    return d->quota;
}

const struct sl_conf *sl_driver_conf(const struct sl_driver *d)
{
    return d->conf;
}

void sl_driver_shutdown(struct sl_driver *d, bool now, sl_driver_stopped_fn fn, void *arg)
{
    if (is_stopped(d))
        return;
    if (d->phase == SL_DRIVER_RUNNING)
        move(d, SL_DRIVER_STOPPING);
    d->stopped = fn;
    d->stopped_arg = arg;
    sl_driver_note(d, &d->work, now ? SL_TODO_SHUTDOWN_NOW : SL_TODO_SHUTDOWN);
}

bool sl_driver_stopping(const struct sl_driver *d)
{
    return d->phase != SL_DRIVER_RUNNING;
}
