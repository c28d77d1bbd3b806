/* SPDX-License-Identifier: MIT */
/* Leases, from asking to the last callback.
 *   sl_lease_acquire() makes the object and notes down an ACQUIRE (or, for what the core need not hear of, a REFUSE)
 *   the core answers QUEUED, then GRANT or REFUSE; a granted one ends with RELEASED or ENDED
 *   a terminal LEASE_MOVED comes before the answer, and alone where the client is gone: it decides when the object goes
 *   DRAIN keeps it, without its client, until its part of the connection is cleaned up: lease/reclaim.c
 * Streams and ports are the transport's, and call the front end themselves; it mutes them when the lease is over. */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* It has had its last callback; what is left is its far side's. */
static bool is_over(const struct sl_lease *lease)
{
    return lease->phase == SL_LEASE_PHASE_DRAINING || lease->phase == SL_LEASE_PHASE_OVER;
}

/* --- streams and ports -------------------------------------------------------------------------------------------- */

int sl_lease_stream_open(struct sl_lease *lease, const struct sl_stream_spec *spec,
    const struct sl_stream_handler *handler, void *arg, struct sl_stream **ret_stream)
{
    if (lease->phase != SL_LEASE_PHASE_HELD)
        return SL_E_NO_LEASE;
    if (lease->tenant == NULL)
        return SL_E_NOMEM;
    int r = sl_stream_open(lease->tenant, spec, handler, arg, ret_stream);
    if (r == 0 && spec->kind < SL_SPEC_TCP) /* a forward starts nothing that could be left behind */
        lease->uncleaned++;
    return r;
}

int sl_lease_listen(struct sl_lease *lease, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_remote **ret_remote)
{
    if (lease->phase != SL_LEASE_PHASE_HELD)
        return SL_E_NO_LEASE;
    if (lease->conn == NULL)
        return SL_E_AGAIN; /* it is moving: its tenant is parked, and no server is there to listen */
    if (lease->conn->lost_status != 0)
        return SL_E_CONNECTION_LOST;
    if (lease->tenant == NULL)
        return SL_E_NOMEM;
    return sl_remote_open(lease->tenant, host, port, handler, arg, ret_remote);
}

/* --- what the front ends want ------------------------------------------------------------------------------------- */

/* Nothing of it calls the client any more. */
static void mute(struct sl_lease *lease)
{
    if (lease->tenant != NULL)
        sl_tenant_mute(lease->tenant);
}

static void free_lease(struct sl_lease *lease)
{
    sl_who_fini(&lease->who);
    free(lease->refuse_text);
    free(lease->label);
    free(lease->name);
    free(lease);
}

static void bury(struct sl_lease *lease)
{
    struct sl_driver *d = lease->driver;
    mute(lease);
    sl_driver_lease_leave(lease);
    sl_driver_lease_uncount(lease);
    sl_driver_forget(d, &lease->work);
    TAILQ_REMOVE(sl_driver_lease_home(lease), lease, link);
    sl_driver_lease_unname(lease);
    free_lease(lease);
}

/* Nothing is to be cleaned up after it. */
static void end_tenant(struct sl_lease *lease)
{
    mute(lease); /* those that were parked with it end now, and have nobody to tell */
    if (lease->tenant != NULL)
        sl_tenant_end(lease->tenant);
    sl_driver_lease_leave(lease);
}

/* No callback comes any more. The object stays until the actions of this step, which may name it, are carried out. */
static void finish(struct sl_lease *lease)
{
    if (lease->phase == SL_LEASE_PHASE_OVER)
        return;
    mute(lease);
    if (lease->conn == NULL) {
        end_tenant(lease); /* it was parked, or there is none */
    } else if (lease->tenant != NULL && sl_tenant_is_parked(lease->tenant)) {
        sl_tenant_end(
            lease->tenant); /* it was to join a connection that is lost, and stays on that until it has gone */
        lease->tenant = NULL;
    }
    sl_driver_lease_move(lease, SL_LEASE_PHASE_OVER);
}

void sl_driver_leases_bury(struct sl_driver *d)
{
    struct sl_lease *lease, *next;
    for (lease = TAILQ_FIRST(&d->over); lease != NULL; lease = next) {
        next = TAILQ_NEXT(lease, link);
        bury(lease);
    }
}

void sl_driver_leases_free(struct sl_driver *d)
{
    for (uint32_t i = 0; i < d->lease_slot_count; i++)
        if (d->lease_slot[i].lease != NULL)
            bury(d->lease_slot[i].lease);
    free(d->lease_slot);
}

static void plan_refusal(struct sl_lease *lease, int status, const char *text)
{
    lease->refuse_status = status;
    lease->refuse_text = strdup(text);
}

/* Finds its target, or why there is none. */
static void look_for_target(struct sl_lease *lease)
{
    struct sl_driver *d = lease->driver;
    struct sl_target_conf *conf = NULL;
    char text[SL_REFUSAL_SIZE];
    int r = sl_driver_admit(d, lease->name, &lease->who, &conf, text, sizeof text);
    if (r == 0) {
        r = sl_driver_targets_take(d, conf, &lease->target);
        if (r != 0)
            sl_driver_door_says(d, r, lease->name, &lease->who, text, sizeof text);
        else if ((r = sl_driver_lease_count(lease, text, sizeof text)) != 0)
            lease->target = NULL;
        sl_target_conf_unref(conf);
    }
    if (r != 0)
        plan_refusal(lease, r, text);
}

int sl_lease_acquire(struct sl_driver *d, const struct sl_lease_wish *wish, const struct sl_lease_handler *handler,
    void *arg, struct sl_lease **ret_lease)
{
    struct sl_lease *lease = calloc(1, sizeof *lease);
    if (lease == NULL)
        return SL_E_NOMEM;
    lease->driver = d;
    lease->work.of = SL_WORK_LEASE;
    lease->handler = handler;
    lease->arg = arg;
    lease->name = strdup(wish->target);
    lease->label = strdup(wish->label);
    lease->asked_ms = uv_now(d->loop);
    lease->patient = wish->acquire_timeout_ms == SL_ACQUIRE_PATIENTLY;
    lease->acquire_timeout_ms = lease->patient ? 0 : wish->acquire_timeout_ms;
    lease->lease_timeout_ms = wish->lease_timeout_ms;
    if (sl_who_copy(wish->who, &lease->who) != 0 || lease->name == NULL || lease->label == NULL ||
        sl_driver_lease_name(d, lease) != 0) {
        free_lease(lease);
        return SL_E_NOMEM;
    }
    lease->number = ++d->lease_numbers;
    look_for_target(lease);
    TAILQ_INSERT_TAIL(sl_driver_lease_home(lease), lease, link);
    sl_driver_note(d, &lease->work, lease->target != NULL ? SL_TODO_ACQUIRE : SL_TODO_REFUSE);
    *ret_lease = lease;
    return 0;
}

/* Those that wait for a look at their target, before the core hears of them. */
void sl_driver_leases_ask_again(struct sl_driver *d)
{
    char text[SL_REFUSAL_SIZE];
    for (uint32_t i = 0; i < d->lease_slot_count; i++) {
        struct sl_lease *lease = d->lease_slot[i].lease;
        struct sl_target_conf *conf = NULL;
        if (lease == NULL || lease->phase != SL_LEASE_PHASE_ASKING || !sl_id_is_none(lease->id) ||
            lease->target == NULL)
            continue;
        int r = sl_driver_admit(d, lease->name, &lease->who, &conf, text, sizeof text);
        sl_target_conf_unref(conf);
        if (r == 0)
            continue;
        plan_refusal(lease, r, text);
        sl_driver_note(d, &lease->work, SL_TODO_REFUSE);
    }
}

void sl_lease_renew(struct sl_lease *lease, uint64_t lease_timeout_ms)
{
    if (lease->phase != SL_LEASE_PHASE_HELD)
        return;
    lease->renew_ms = lease_timeout_ms;
    sl_driver_note(lease->driver, &lease->work, SL_TODO_RENEW);
}

void sl_lease_release(struct sl_lease *lease)
{
    if (lease->phase != SL_LEASE_PHASE_ASKING && lease->phase != SL_LEASE_PHASE_HELD)
        return;
    sl_driver_lease_move(lease, SL_LEASE_PHASE_RELEASING);
    sl_driver_note(lease->driver, &lease->work, SL_TODO_RELEASE);
}

void sl_lease_abandon(struct sl_lease *lease)
{
    if (lease->phase == SL_LEASE_PHASE_ABANDONED || is_over(lease))
        return;
    mute(lease);
    sl_driver_lease_move(lease, SL_LEASE_PHASE_ABANDONED);
    sl_driver_note(lease->driver, &lease->work, SL_TODO_CLIENT_GONE);
}

bool sl_lease_is_held(const struct sl_lease *lease)
{
    return lease != NULL && lease->phase == SL_LEASE_PHASE_HELD;
}

static struct sl_lease *by_number(struct sl_driver *d, uint64_t number)
{
    for (uint32_t i = 0; i < d->lease_slot_count; i++) {
        struct sl_lease *lease = d->lease_slot[i].lease;
        if (lease != NULL && lease->number == number && !is_over(lease) && lease->target != NULL)
            return lease;
    }
    return NULL;
}

int sl_driver_revoke(struct sl_driver *d, uint64_t lease_id, const struct sl_who *who)
{
    struct sl_lease *lease = by_number(d, lease_id);
    const bool admin = sl_conf_is_admin(d->conf, who);
    if (lease == NULL)
        return SL_E_NO_LEASE;
    if (!admin && lease->who.uid != who->uid)
        return SL_E_NOT_ALLOWED;
    sl_driver_note(d, &lease->work, SL_TODO_REVOKE);
    return 0;
}

/* --- what the core hears ------------------------------------------------------------------------------------------ */

static void count_refusal(const struct sl_lease *lease, const char *text)
{
    struct sl_driver *d = lease->driver;
    char quoted[SL_LOG_QUOTE_SIZE];
    if (lease->refuse_status == SL_E_NO_TARGET)
        d->counters.lease[SL_LEASE_REFUSED][SL_REASON_NO_TARGET]++;
    else if (lease->refuse_status == SL_E_NOT_ALLOWED)
        d->counters.lease[SL_LEASE_REFUSED][SL_REASON_NOT_ALLOWED]++;
    else if (lease->refuse_status == SL_E_QUEUE_FULL)
        d->counters.lease[SL_LEASE_REFUSED][SL_REASON_QUEUE_FULL]++;
    else
        d->counters.refused_limit++;
    sl_log_of(d->log, lease->who.uid, SL_LOG_REFUSALS, SL_LOG_NOTICE, "lease",
        "lease=%llu pid=%ld uid=%lu none -> refused reason=%s text=%s", (unsigned long long)lease->number,
        (long)lease->who.pid, (unsigned long)lease->who.uid, sl_status_name(lease->refuse_status),
        sl_log_quote(quoted, sizeof quoted, text));
}

static bool nothing_for_core(struct sl_lease *lease)
{
    finish(lease);
    return false;
}

static bool is_to_move(const struct sl_lease *lease, struct sl_event *ret_event)
{
    if (lease->conn == NULL || lease->tenant == NULL || !sl_tenant_is_crowded(lease->tenant))
        return false;
    ret_event->type = sl_conn_is_spent(lease->conn->conn) ? SL_EV_DISPLACED : SL_EV_CROWDED;
    ret_event->status = lease->conn->lost_status;
    return true;
}

bool sl_driver_lease_event(struct sl_lease *lease, unsigned todo, struct sl_event *ret_event)
{
    /* It ended in a step between the noting down and now. */
    if (lease->phase == SL_LEASE_PHASE_OVER || (lease->phase == SL_LEASE_PHASE_DRAINING && todo != SL_TODO_DRAINED))
        return false;
    *ret_event = (struct sl_event){.lease = lease->id};
    switch (todo) {
    case SL_TODO_REFUSE:
        if (lease->phase == SL_LEASE_PHASE_ASKING || lease->phase == SL_LEASE_PHASE_RELEASING) {
            const char *text = lease->refuse_text != NULL ? lease->refuse_text : sl_status_text(lease->refuse_status);
            count_refusal(lease, text);
            lease->handler->on_refused(lease->arg, lease->refuse_status, text);
        }
        return nothing_for_core(lease);
    case SL_TODO_ACQUIRE:
        if (lease->phase != SL_LEASE_PHASE_ASKING)
            return false; /* its release, or its client's end, is noted down as well */
        if (sl_driver_basis_awaits(lease))
            return false;
        *ret_event = (struct sl_event){
            .type = SL_EV_ACQUIRE,
            .target = lease->target->index,
            .owner = sl_driver_owner_class(lease->target, lease->who.uid),
            .tag = sl_id_pack(lease->slot),
            .acquire_timeout_ms = lease->acquire_timeout_ms,
            .lease_timeout_ms = lease->lease_timeout_ms,
            .patient = lease->patient && !lease->target->conf->acquire_timeout_set,
        };
        return true;
    case SL_TODO_RENEW:
        ret_event->type = SL_EV_RENEW;
        ret_event->lease_timeout_ms = lease->renew_ms;
        return lease->phase == SL_LEASE_PHASE_HELD;
    case SL_TODO_REVOKE:
        ret_event->type = SL_EV_REVOKE;
        return !sl_id_is_none(lease->id);
    case SL_TODO_RELEASE:
        /* Fed even when the client is gone by now: it did give the lease back before. */
        if (sl_id_is_none(lease->id)) { /* the core never heard of it */
            if (lease->phase == SL_LEASE_PHASE_RELEASING)
                lease->handler->on_released(lease->arg);
            return nothing_for_core(lease);
        }
        ret_event->type = SL_EV_RELEASE;
        ret_event->clean = lease->conn != NULL && lease->conn->lost_status == 0 &&
                           (lease->tenant == NULL || sl_tenant_is_clean(lease->tenant));
        ret_event->spent = ret_event->clean && sl_conn_is_spent(lease->conn->conn);
        return true;
    case SL_TODO_CROWDED:
        return is_to_move(lease, ret_event);
    case SL_TODO_DRAINED:
        *ret_event = (struct sl_event){.type = SL_EV_CONN_DRAINED, .conn = lease->conn->id, .lease = lease->id};
        sl_driver_lease_move(lease, SL_LEASE_PHASE_OVER);
        return true;
    default:
        if (sl_id_is_none(lease->id))
            return nothing_for_core(lease);
        ret_event->type = SL_EV_CLIENT_GONE;
        return true;
    }
}

/* --- what the core answers ---------------------------------------------------------------------------------------- */

static uint32_t left_ms(const struct sl_driver *d, uint64_t deadline_ms)
{
    uint64_t now = uv_now(d->loop), left = deadline_ms > now ? deadline_ms - now : 0;
    return left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

/* The connection that it was given was lost before that: it goes on with another one before the core hears of the loss,
 * which would end it. */
static void leave_lost(struct sl_lease *lease)
{
    sl_driver_note(lease->driver, &lease->work, SL_TODO_CROWDED);
    sl_driver_note_last(lease->driver, &lease->conn->work);
}

static void on_grant(struct sl_lease *lease, const struct sl_action *act)
{
    struct sl_driver *d = lease->driver;
    /* Without memory for it the lease can be given back, and open no streams. */
    if (sl_tenant_begin(lease->conn->conn, &lease->tenant) == 0)
        sl_tenant_account(lease->tenant, d->quota, lease->who.uid);
    if (lease->conn->lost_status != 0)
        leave_lost(lease);
    if (lease->phase != SL_LEASE_PHASE_ASKING)
        return; /* given back already; the core is about to hear of it */
    sl_driver_lease_move(lease, SL_LEASE_PHASE_HELD);
    const struct sl_lease_grant grant = {
        .id = lease->number,
        .lease_timeout_ms = left_ms(d, act->deadline_ms),
        .max_lease_ms = left_ms(d, act->max_deadline_ms),
        .streams = lease->target->conf->policy.streams,
    };
    lease->handler->on_granted(lease->arg, &grant);
}

static void on_refuse(struct sl_lease *lease, const struct sl_action *act)
{
    char text[SL_REFUSAL_SIZE];
    if (act->reason == SL_REASON_RELEASED) {
        lease->handler->on_released(lease->arg);
        return;
    }
    sl_driver_refusal(lease, act->reason, act->status, text, sizeof text);
    lease->handler->on_refused(lease->arg, act->status, text);
}

static void on_notice(struct sl_lease *lease, const struct sl_action *act)
{
    struct sl_driver *d = lease->driver;
    char text[SL_REFUSAL_SIZE];
    uint64_t waited = uv_now(d->loop) - lease->asked_ms;
    sl_driver_waiting(lease, act->status, text, sizeof text);
    lease->handler->on_waiting(lease->arg, act->position, waited > UINT32_MAX ? UINT32_MAX : (uint32_t)waited, text);
}

static void on_ended(struct sl_lease *lease, const struct sl_action *act)
{
    char text[SL_REFUSAL_SIZE];
    sl_driver_ending(lease, act->reason, act->status, text, sizeof text);
    lease->handler->on_ended(lease->arg, act->status, text);
}

static void log_move(const struct sl_lease *lease, enum sl_log_level level, const struct sl_action *act)
{
    const struct sl_log *log = lease->driver->log;
    char label[SL_LOG_QUOTE_SIZE], conn[48] = "";
    if (log == NULL || level > log->level)
        return;
    if (!sl_id_is_none(act->conn))
        snprintf(conn, sizeof conn, " conn=%u.%u", act->conn.index, act->conn.generation);
    /* A grant, a move or an end goes with a connection, or with a lease's whole life. */
    const enum sl_log_kind kind = act->lease_to == SL_LEASE_REFUSED ? SL_LOG_REFUSALS : SL_LOG_UNSHARED;
    sl_log_of(log, lease->who.uid, kind, level, "lease",
        "lease=%llu target=%s%s pid=%ld uid=%lu label=%s %s -> %s reason=%s%s%s", (unsigned long long)lease->number,
        lease->target->conf->name, conn, (long)lease->who.pid, (unsigned long)lease->who.uid,
        sl_log_quote(label, sizeof label, lease->label), sl_lease_state_name(act->lease_from),
        sl_lease_state_name(act->lease_to), sl_reason_name(act->reason), act->status != 0 ? " status=" : "",
        act->status != 0 ? sl_status_name(act->status) : "");
}

/* Refused on the spot: it never was in a state, so no move tells of it. */
static void note_refusal(struct sl_lease *lease, const struct sl_action *act)
{
    struct sl_action moved = *act;
    moved.lease_from = SL_LEASE_NONE;
    moved.lease_to = SL_LEASE_REFUSED;
    lease->driver->counters.lease[SL_LEASE_REFUSED][act->reason]++;
    log_move(lease, SL_LOG_NOTICE, &moved);
}

void sl_driver_lease_answer(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_lease *lease = sl_driver_lease_by_tag(d, act->tag);
    if (lease == NULL || is_over(lease))
        return;
    const bool waiting = lease->phase == SL_LEASE_PHASE_ASKING, gone = lease->phase == SL_LEASE_PHASE_ABANDONED;
    switch (act->type) {
    case SL_ACT_QUEUED:
        lease->id = act->lease;
        return;
    case SL_ACT_NOTICE:
        if (waiting)
            on_notice(lease, act);
        return;
    case SL_ACT_GRANT:
        on_grant(lease, act);
        return;
    case SL_ACT_MOVE:
        if (lease->conn->lost_status == 0)
            sl_tenant_move(lease->tenant, lease->conn->conn);
        else
            leave_lost(lease);
        return;
    case SL_ACT_RENEWED:
        if (lease->phase == SL_LEASE_PHASE_HELD)
            lease->handler->on_renewed(lease->arg, left_ms(d, act->deadline_ms));
        return;
    case SL_ACT_REFUSE:
        if (sl_id_is_none(act->lease))
            note_refusal(lease, act);
        if (!gone)
            on_refuse(lease, act);
        break;
    case SL_ACT_RELEASED:
        if (act->reason == SL_REASON_RELEASED)
            end_tenant(lease);
        if (!gone)
            lease->handler->on_released(lease->arg);
        break;
    default:
        if (!gone)
            on_ended(lease, act);
        break;
    }
    finish(lease);
}

static enum sl_log_level move_level(const struct sl_action *act)
{
    if (act->lease_to == SL_LEASE_ENDED)
        return SL_LOG_NOTICE;
    if (act->lease_to == SL_LEASE_REFUSED && act->reason != SL_REASON_RELEASED && act->reason != SL_REASON_CLIENT_GONE)
        return SL_LOG_NOTICE;
    if (act->lease_to == SL_LEASE_MOVING)
        return SL_LOG_INFO;
    return SL_LOG_DEBUG; /* the daily business */
}

/* It is off its connection, with the streams that have not begun there. */
static void park(struct sl_lease *lease)
{
    struct sl_tenant *tenant = lease->tenant;
    sl_tenant_park(tenant);
    sl_driver_lease_leave(lease);
    lease->tenant = tenant;
}

void sl_driver_lease_moved(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_lease *lease = sl_driver_lease_by_tag(d, act->tag);
    d->counters.lease[act->lease_to][act->reason]++;
    d->moved = true;
    if (lease == NULL || is_over(lease))
        return;
    if (act->lease_to == SL_LEASE_GRANTED)
        sl_driver_lease_join(lease, sl_driver_conn_find(d, act->conn));
    if (act->lease_to == SL_LEASE_MOVING)
        park(lease);
    log_move(lease, move_level(act), act);
    if (act->lease_to == SL_LEASE_ENDED)
        sl_driver_lease_uncleaned(lease, act->reason);
    /* No answer follows to a client that is gone. */
    if (act->lease_to == SL_LEASE_ENDED || act->lease_to == SL_LEASE_REFUSED) {
        if (act->reason == SL_REASON_CLIENT_GONE)
            finish(lease);
    }
}
