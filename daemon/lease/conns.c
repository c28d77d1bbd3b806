/* SPDX-License-Identifier: MIT */
/* Connections: the core's slots on one side, the transport's objects on the other.
 *   DIAL opens one; on_ready, on_lost, on_pong are noted down for the core
 *   CLOSE closes it; on_closed says GONE, and the slot is free for the core to use again
 *   a dial for which the transport has no memory is a dial that failed: nothing else is different about it */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- slots -------------------------------------------------------------------------------------------------------- */

int sl_driver_conns_reserve(struct sl_driver *d, uint32_t count)
{
    uint32_t chunks = count / SL_CONNS_PER_CHUNK + (count % SL_CONNS_PER_CHUNK != 0);
    if (chunks <= d->chunk_count)
        return 0;
    struct sl_conn_chunk **table = realloc(d->chunk, chunks * sizeof(struct sl_conn_chunk *));
    if (table == NULL)
        return SL_E_NOMEM;
    d->chunk = table;
    while (d->chunk_count < chunks) {
        struct sl_conn_chunk *chunk = calloc(1, sizeof *chunk);
        if (chunk == NULL)
            return SL_E_NOMEM;
        for (uint32_t i = 0; i < SL_CONNS_PER_CHUNK; i++) {
            chunk->slot[i].driver = d;
            chunk->slot[i].work.of = SL_WORK_CONN;
        }
        d->chunk[d->chunk_count++] = chunk;
    }
    return 0;
}

void sl_driver_conns_free(struct sl_driver *d)
{
    for (uint32_t i = 0; i < d->chunk_count; i++)
        free(d->chunk[i]);
    free(d->chunk);
}

static struct sl_driver_conn *slot_at(struct sl_driver *d, uint32_t index)
{
    assert(index / SL_CONNS_PER_CHUNK < d->chunk_count); /* the limits allow no more, and room was made for those */
    return &d->chunk[index / SL_CONNS_PER_CHUNK]->slot[index % SL_CONNS_PER_CHUNK];
}

struct sl_driver_conn *sl_driver_conn_find(struct sl_driver *d, struct sl_id id)
{
    if (sl_id_is_none(id))
        return NULL;
    struct sl_driver_conn *slot = slot_at(d, id.index);
    return sl_id_equal(slot->id, id) ? slot : NULL;
}

/* --- what the transport says -------------------------------------------------------------------------------------- */

static void on_ready(void *arg)
{
    struct sl_driver_conn *slot = arg;
    free(slot->target->last_error);
    slot->target->last_error = NULL;
    sl_driver_note(slot->driver, &slot->work, SL_TODO_READY);
}

static void lost(struct sl_driver_conn *slot, int status, const char *text)
{
    slot->lost_status = status;
    free(slot->lost_text);
    slot->lost_text = strdup(text); /* without it, the log has the status only */
    sl_driver_note(slot->driver, &slot->work, SL_TODO_LOST);
}

static void on_lost(void *arg, int status, const char *text)
{
    lost(arg, status, text);
}

static void on_pong(void *arg)
{
    struct sl_driver_conn *slot = arg;
    sl_driver_note(slot->driver, &slot->work, SL_TODO_ALIVE);
}

/* The core does not see what a lease does. That the login was worth something is all it needs to know. */
static void on_answered(void *arg)
{
    struct sl_driver_conn *slot = arg;
    slot->answered = true;
    sl_driver_note(slot->driver, &slot->work, SL_TODO_ALIVE);
}

static void on_drained(void *arg, struct sl_tenant *tenant, const struct sl_drain_report *report)
{
    sl_driver_lease_drained(arg, tenant, report);
}

static void on_crowded(void *arg, struct sl_tenant *tenant)
{
    struct sl_driver_conn *slot = arg;
    sl_driver_note(slot->driver, &sl_driver_lease_of_tenant(slot, tenant)->work, SL_TODO_CROWDED);
}

static void on_closed(void *arg)
{
    struct sl_driver_conn *slot = arg;
    struct sl_lease *lease;
    TAILQ_FOREACH(lease, &slot->leases, on_conn)
    lease->tenant = NULL; /* gone with it */
    slot->conn = NULL;
    sl_driver_note(slot->driver, &slot->work, SL_TODO_GONE);
}

static const struct sl_conn_handler conn_handler = {
    .on_ready = on_ready,
    .on_lost = on_lost,
    .on_answered = on_answered,
    .on_pong = on_pong,
    .on_drained = on_drained,
    .on_crowded = on_crowded,
    .on_closed = on_closed,
};

/* --- what the core hears of it ------------------------------------------------------------------------------------ */

void sl_driver_conn_event(struct sl_driver_conn *slot, unsigned todo, struct sl_event *ret_event)
{
    *ret_event = (struct sl_event){.conn = slot->id};
    switch (todo) {
    case SL_TODO_READY:
        ret_event->type = SL_EV_CONN_READY;
        break;
    case SL_TODO_ALIVE:
        ret_event->type = SL_EV_CONN_ALIVE;
        break;
    case SL_TODO_GONE:
        ret_event->type = SL_EV_CONN_GONE;
        break;
    default:
        /* The core knows from the connection's state whether it is a dial that failed. */
        ret_event->type = SL_EV_CONN_LOST;
        ret_event->status = slot->lost_status;
        break;
    }
}

/* --- what the core wants ------------------------------------------------------------------------------------------ */

/* The first of a connection's moves, which comes before its DIAL: the slot is taken. */
static struct sl_driver_conn *take_slot(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_driver_conn *slot = slot_at(d, act->conn.index);
    assert(sl_id_is_none(slot->id) && slot->conn == NULL && act->target < d->target_count);
    slot->id = act->conn;
    slot->target = d->target[act->target];
    TAILQ_INIT(&slot->leases);
    slot->answered = false;
    slot->identity = slot->target->identity;
    slot->lost_status = 0;
    TAILQ_INSERT_TAIL(&slot->target->conns, slot, of_target);
    return slot;
}

static void free_slot(struct sl_driver *d, struct sl_driver_conn *slot)
{
    sl_driver_forget(d, &slot->work);
    sl_driver_leases_leave(slot);
    TAILQ_REMOVE(&slot->target->conns, slot, of_target);
    free(slot->lost_text);
    slot->lost_text = NULL;
    slot->target = NULL;
    slot->id = SL_ID_NONE;
}

void sl_driver_conn_dial(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_driver_conn *slot = sl_driver_conn_find(d, act->conn);
    int r = sl_conn_open(d->transport, slot->target->conf, slot->target->compat, &conn_handler, slot, &slot->conn);
    if (r != 0)
        lost(slot, r, sl_status_text(r));
}

void sl_driver_conn_ping(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_driver_conn *slot = sl_driver_conn_find(d, act->conn);
    const struct sl_policy *policy = &slot->target->conf->policy;
    if (slot->lost_status != 0)
        return; /* the core is about to hear of it */
    uint64_t silent_ms = uv_now(d->loop) - sl_conn_last_received_ms(slot->conn);

    /* The core asks when it has not heard for a while; what the connection did under its lease it does not see. */
    if ((policy->server_alive_interval_ms == 0 || silent_ms < policy->server_alive_interval_ms) &&
        silent_ms < policy->validate_after_ms)
        sl_driver_note(d, &slot->work, SL_TODO_ALIVE);
    else
        sl_conn_ping(slot->conn);
}

void sl_driver_conn_close(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_driver_conn *slot = sl_driver_conn_find(d, act->conn);
    if (slot->conn != NULL)
        sl_conn_close(slot->conn);
    else
        sl_driver_note(d, &slot->work, SL_TODO_GONE);
}

static enum sl_log_level move_level(const struct sl_action *act)
{
    if (act->reason == SL_REASON_DIAL_FAILED || act->reason == SL_REASON_CONNECTION_LOST ||
        act->reason == SL_REASON_DEAD)
        return SL_LOG_WARNING;
    /* Leasing and giving back are the daily business; everything else opens or closes a connection. */
    if (act->conn_to == SL_CONN_LEASED || (act->conn_from == SL_CONN_LEASED && act->conn_to == SL_CONN_IDLE))
        return SL_LOG_DEBUG;
    return SL_LOG_INFO;
}

static void remember_error(struct sl_driver_conn *slot)
{
    struct sl_driver_target *target = slot->target;
    free(target->last_error);
    target->last_error = slot->lost_text != NULL ? strdup(slot->lost_text) : NULL;
}

/* The core counts a login that came to nothing as one more failure, and those who wait are told of it. */
static bool was_wasted(const struct sl_driver_conn *slot, const struct sl_action *act)
{
    struct sl_pool_target_info info;
    return act->reason == SL_REASON_CONNECTION_LOST && !slot->answered &&
           sl_pool_target_info(slot->driver->pool, act->target, &info) && info.failures > 0;
}

void sl_driver_conn_moved(struct sl_driver *d, const struct sl_action *act)
{
    char quoted[SL_LOG_QUOTE_SIZE];
    struct sl_driver_conn *slot =
        act->conn_from == SL_CONN_GONE ? take_slot(d, act) : sl_driver_conn_find(d, act->conn);
    enum sl_log_level level = move_level(act);
    d->counters.conn[act->conn_to][act->reason]++;
    d->moved = true;
    if (d->log != NULL && level <= d->log->level) {
        const char *error = slot->lost_text != NULL && act->status != 0 ? slot->lost_text : NULL;
        sl_log(d->log, level, "conn", "conn=%u.%u target=%s %s -> %s reason=%s%s%s%s%s", act->conn.index,
            act->conn.generation, slot->target->conf->name, sl_conn_state_name(act->conn_from),
            sl_conn_state_name(act->conn_to), sl_reason_name(act->reason), act->status != 0 ? " status=" : "",
            act->status != 0 ? sl_status_name(act->status) : "", error != NULL ? " error=" : "",
            error != NULL ? sl_log_quote(quoted, sizeof quoted, error) : "");
    }
    if (act->conn_to == SL_CONN_CLOSING)
        sl_driver_leases_uncleaned(slot, act);
    if (act->conn_to == SL_CONN_CLOSING && act->reason == SL_REASON_DIAL_FAILED)
        sl_driver_basis_failed(slot, act->status);
    if (act->conn_to == SL_CONN_CLOSING && (act->reason == SL_REASON_DIAL_FAILED || was_wasted(slot, act)))
        remember_error(slot);
    if (act->conn_to == SL_CONN_GONE)
        free_slot(d, slot);
}
