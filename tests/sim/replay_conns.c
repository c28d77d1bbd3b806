/* SPDX-License-Identifier: MIT */
/* Orders and facts about connections: was each due? */
#include "proto/status.h"
#include "tests/sim/model_state.h"

struct m_conn *model_conn_of(struct model *m, struct sl_id id)
{
    if (id.index >= MODEL_CONNS)
        return NULL;
    struct m_conn *c = &m->conn[id.index];
    return c->state != SL_CONN_GONE && sl_id_equal(c->id, id) ? c : NULL;
}

struct m_request *model_request_of_lease(struct model *m, struct sl_id lease)
{
    for (uint32_t i = 0; i < MODEL_REQUESTS && !sl_id_is_none(lease); i++)
        if (m->request[i].state != M_FREE && sl_id_equal(m->request[i].lease, lease))
            return &m->request[i];
    return NULL;
}

void model_forget_drain(struct model *m, struct m_drain *d)
{
    struct m_conn *c = model_conn_of(m, d->conn);
    if (c != NULL)
        c->drains--;
    d->lease = SL_ID_NONE;
}

/* --- logins that were worth it --- */

void model_hold_back(struct model *m, struct m_target *t, uint64_t began_ms, uint64_t most_ms)
{
    if (t->streak == 0 || began_ms > t->failed_ms) {
        t->streak++;
        t->failed_ms = m->now_ms;
    }
    uint64_t base = t->policy.retry_min_ms;
    for (uint32_t i = 1; i < t->streak && base < t->policy.retry_max_ms; i++)
        base *= 2;
    if (base > t->policy.retry_max_ms)
        base = t->policy.retry_max_ms;
    uint64_t held_ms = m->now_ms + base - base / 5;
    if (t->held_ms < held_ms)
        t->held_ms = held_ms;
    if (base > most_ms)
        base = most_ms;
    held_ms = m->now_ms + base - base / 5;
    if (t->demand_held_ms < held_ms)
        t->demand_held_ms = held_ms;
}

void model_prove(struct model *m, struct m_conn *c)
{
    struct m_target *t = &m->target[c->target];
    c->proved = true;
    if (c->edition == t->edition && c->ready_ms > t->failed_ms) {
        t->streak = 0;
        t->failed_ms = 0;
    }
}

bool model_is_logged_in(const struct m_conn *c)
{
    return c->state >= SL_CONN_IDLE && c->state <= SL_CONN_DRAINING;
}

void model_prove_by_time(struct model *m)
{
    for (uint32_t i = 0; i < m->conn_high; i++) {
        struct m_conn *c = &m->conn[i];
        if (model_is_logged_in(c) && !c->proved && m->now_ms - c->ready_ms >= 10000)
            model_prove(m, c);
    }
}

/* The server let us in and hung up. */
static void login_wasted(struct model *m, const struct m_conn *c, int status)
{
    struct m_target *t = &m->target[c->target];
    /* Deadlines come before events: what was heard just now was heard after its time was over. */
    const bool too_late = m->proved == c;
    if (too_late) {
        t->streak = m->streak_before;
        t->failed_ms = m->failed_before_ms;
    }
    if ((c->proved && !too_late) || c->edition != t->edition || (t->blocked_status != 0 && m->now_ms < t->blocked_ms))
        return;
    t->failures++;
    model_hold_back(m, t, c->ready_ms, UINT64_MAX);
    t->last_status = status;
    /* Deadlines come before events: the dial that went well in this step did so after this. */
    if (m->readied == t) {
        t->last_status = 0;
        t->held_ms = t->demand_held_ms = 0;
    }
}

static bool is_on_trial(const struct m_conn *c, uint32_t target)
{
    bool kept = c->state == SL_CONN_IDLE || c->state == SL_CONN_LEASED;
    return c->target == target && kept && !c->proved;
}

/* --- actions about connections --- */

static void forget_drains(struct model *m, const struct m_conn *c)
{
    for (uint32_t i = 0; i < m->drain_high; i++) {
        struct m_drain *d = &m->drain[i];
        if (!sl_id_is_none(d->lease) && sl_id_equal(d->conn, c->id))
            model_forget_drain(m, d);
    }
}

static void check_close(struct model *m, const struct m_conn *c, enum sl_reason reason)
{
    const struct m_target *t = &m->target[c->target];
    const struct sl_policy *p = &t->policy;
    if (reason == SL_REASON_IDLE_TIMEOUT && m->now_ms - c->since_ms < p->idle_timeout_ms)
        model_broken(m, "conn %u is closed before its idle timeout", c->id.index);
    if (reason == SL_REASON_MAX_LIFETIME &&
        (p->max_lifetime_ms == 0 || m->now_ms - c->ready_ms < p->max_lifetime_ms - p->max_lifetime_ms / 40))
        model_broken(m, "conn %u is closed before its lifetime is over", c->id.index);
    if (reason == SL_REASON_OUTDATED && t->present && c->edition == t->edition)
        model_broken(m, "conn %u is closed as outdated, which it is not", c->id.index);
    if (reason == SL_REASON_RESET && !c->reset)
        model_broken(m, "conn %u is closed for a reset that was not its owner's", c->id.index);
    if (reason == SL_REASON_DEAD && !c->pinged && !c->was_pinged && m->ev->status != SL_E_PEER_DEAD)
        model_broken(m, "conn %u is closed as dead, which it is not", c->id.index);
    if (reason == SL_REASON_MAKE_ROOM && c->state != SL_CONN_IDLE)
        model_broken(m, "conn %u is closed to make room, but is not idle", c->id.index);
    if (reason == SL_REASON_DRAINED && (c->holders > 0 || c->drains > 0))
        model_broken(
            m, "conn %u is closed as cleaned up, with %u leases and %u clean-ups", c->id.index, c->holders, c->drains);
    if (reason == SL_REASON_SPENT && c->takes != 0)
        model_broken(m, "conn %u is closed as spent, which it is not", c->id.index);
    if (reason == SL_REASON_SHUTDOWN && !m->stopping)
        model_broken(m, "conn %u is closed for a shutdown", c->id.index);
}

void model_on_conn_moved(struct model *m, const struct sl_action *act)
{
    if (act->conn_from == SL_CONN_GONE) {
        if (act->conn.index >= MODEL_CONNS || m->conn[act->conn.index].state != SL_CONN_GONE) {
            model_broken(m, "a connection begins in a slot in use");
            return;
        }
        struct m_conn *c = &m->conn[act->conn.index];
        if (act->conn.generation <= c->id.generation)
            model_broken(m, "a connection begins under an id that was used before");
        *c = (struct m_conn){.id = act->conn,
            .target = act->target,
            .edition = m->target[act->target].edition,
            .ahead = act->reason == SL_REASON_MIN_IDLE,
            .sharing = m->target[act->target].policy.sharing,
            .takes = UINT32_MAX};
        if (m->conn_high <= act->conn.index)
            m->conn_high = act->conn.index + 1;
    }
    struct m_conn *c = &m->conn[act->conn.index];
    if (!sl_id_equal(c->id, act->conn) || c->state != act->conn_from) {
        model_broken(m, "a connection moves from where it was not");
        return;
    }
    if (act->conn_to == SL_CONN_CLOSING) {
        check_close(m, c, act->reason);
        forget_drains(m, c);
        if (act->reason == SL_REASON_CONNECTION_LOST || act->reason == SL_REASON_DEAD)
            login_wasted(m, c, act->status);
    }
    if (act->conn_to == SL_CONN_GONE && !(m->ev->type == SL_EV_CONN_GONE && sl_id_equal(m->ev->conn, c->id)))
        model_broken(m, "conn %u is gone before it is", c->id.index);
    c->state = act->conn_to;
    c->since_ms = m->now_ms;
    if (act->conn_to == SL_CONN_GONE)
        c->close_said = false;
}

void model_on_dial(struct model *m, const struct sl_action *act)
{
    struct m_conn *c = model_conn_of(m, act->conn);
    const struct m_target *t = &m->target[act->target];
    if (c == NULL || c->state != SL_CONN_DIALING || c->dial_said || c->target != act->target) {
        model_broken(m, "DIAL for a connection that is not to be dialed");
        return;
    }
    c->dial_said = true;
    c->dialed_ms = m->now_ms;
    uint32_t alive = 0, dialing = 0, of_target = 0, dialing_target = 0, on_trial = 0;
    for (uint32_t i = 0; i < m->conn_high; i++) {
        const struct m_conn *o = &m->conn[i];
        bool is_alive = o->state != SL_CONN_GONE, is_dialing = o->state == SL_CONN_DIALING;
        alive += is_alive;
        dialing += is_dialing;
        of_target += is_alive && o->target == act->target;
        dialing_target += is_dialing && o->target == act->target;
        on_trial += is_on_trial(o, act->target);
    }
    if (alive > m->limits.connections || dialing > m->limits.handshakes)
        model_broken(m, "DIAL beyond the daemon's limits");
    if (of_target > t->policy.max_connections || dialing_target > model_handshakes(t))
        model_broken(m, "DIAL beyond the limits of target %u", act->target);
    if (c->ahead && t->streak > 0 && dialing_target + on_trial > 1)
        model_broken(m, "DIAL ahead for target %u, whose logins came to nothing, beside one on trial", act->target);
    if (!t->present || m->stopping)
        model_broken(m, "DIAL for target %u, which is not there any more", act->target);
    uint64_t held_ms = c->ahead ? t->held_ms : t->demand_held_ms;
    if (m->now_ms < held_ms || (t->blocked_status != 0 && m->now_ms < t->blocked_ms))
        model_broken(m, "DIAL for target %u before its time", act->target);
}

void model_on_order(struct model *m, const struct sl_action *act)
{
    struct m_conn *c = model_conn_of(m, act->conn);
    if (c == NULL) {
        model_broken(m, "an order for a connection that is gone");
        return;
    }
    if (act->type == SL_ACT_CLOSE) {
        if (c->close_said || c->state != SL_CONN_CLOSING)
            model_broken(m, "CLOSE of conn %u twice or without cause", c->id.index);
        c->close_said = true;
    } else if (act->type == SL_ACT_DRAIN) {
        struct m_drain *d = &m->drain[act->lease.index % MODEL_LEASES];
        bool cleaned = c->state == SL_CONN_DRAINING || c->state == SL_CONN_RETIRING;
        if (!sl_id_is_none(d->lease) || !cleaned || !c->tainted || model_request_of_lease(m, act->lease) != NULL)
            model_broken(m, "DRAIN of conn %u twice or without cause", c->id.index);
        *d = (struct m_drain){.lease = act->lease,
            .conn = act->conn,
            .due_ms = m->now_ms + m->target[c->target].policy.kill_grace_ms + 15000};
        c->drains++;
        if (m->drain_high <= act->lease.index)
            m->drain_high = act->lease.index % MODEL_LEASES + 1;
    } else {
        if (c->state != SL_CONN_IDLE && c->state != SL_CONN_LEASED && c->state != SL_CONN_RETIRING)
            model_broken(m, "PING of conn %u, which is %s", c->id.index, sl_conn_state_name(c->state));
        /* Deadlines come before events: what was heard just now was heard after this ping. */
        c->pinged = !(m->ev->type == SL_EV_CONN_ALIVE && sl_id_equal(m->ev->conn, c->id));
    }
}
