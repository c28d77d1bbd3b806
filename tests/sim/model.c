/* SPDX-License-Identifier: MIT */
/* The actions of a step are replayed one after the other (replay.c's half), then everything is looked at as a whole
 * (look_*). What a step has to answer to its event comes last (duties). */
#include "tests/sim/model.h"

#include "proto/status.h"
#include "tests/sim/model_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model *model_new(void)
{
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL)
        abort();
    return m;
}

void model_free(struct model *m)
{
    free(m);
}

void model_broken(struct model *m, const char *format, ...)
{
    if (m->broken[0] != '\0')
        return; /* the first one is the cause */
    va_list args;
    va_start(args, format);
    vsnprintf(m->broken, sizeof m->broken, format, args);
    va_end(args);
}

/* --- the whole, after every step --- */

uint32_t model_handshakes(const struct m_target *t)
{
    return t->credentials_work ? t->policy.handshakes : 1;
}

uint32_t model_room(const struct model *m, const struct m_conn *c)
{
    uint32_t sharing = m->target[c->target].policy.sharing;
    uint32_t room = c->sharing < sharing ? c->sharing : sharing;
    return c->takes < room ? c->takes : room;
}

/* A leased one that takes one more, for sure: it is not on its way out. */
static bool has_room(const struct model *m, const struct m_conn *c)
{
    const struct sl_policy *p = &m->target[c->target].policy;
    bool young = p->max_lifetime_ms == 0 || m->now_ms - c->ready_ms < p->max_lifetime_ms - p->max_lifetime_ms / 40;
    return c->state == SL_CONN_LEASED && c->holders < model_room(m, c) && young;
}

static bool may_use(const struct model *m, const struct m_conn *c, const struct m_request *r)
{
    const struct m_target *t = &m->target[c->target];
    return (c->state == SL_CONN_IDLE || has_room(m, c)) && c->target == r->target && c->edition == t->edition &&
           !c->reset && (!c->owned || t->policy.owners_shared || c->owner == r->owner);
}

/* A driver with one timer must be back by then, or it is late for this. */
static void needs_waking(struct model *m, uint64_t due_ms, const char *what, uint64_t name)
{
    if (m->next_ms > due_ms)
        model_broken(m, "a driver that does as it is told is late for %s %llu", what, (unsigned long long)name);
}

static void look_at_conn(struct model *m, uint32_t index)
{
    struct m_conn *c = &m->conn[index];
    const struct m_target *t = &m->target[c->target];
    const struct sl_policy *p = &t->policy;
    uint64_t silent = m->now_ms - c->heard_ms;
    bool serves = c->state == SL_CONN_LEASED || c->state == SL_CONN_RETIRING;
    if (serves != (c->holders > 0))
        model_broken(m, "conn %u is %s and has %u holders", index, sl_conn_state_name(c->state), c->holders);
    if (c->holders > c->sharing)
        model_broken(m, "conn %u has %u leases, %u may share it", index, c->holders, c->sharing);
    if (c->state == SL_CONN_DIALING && !c->dial_said)
        model_broken(m, "conn %u is dialing without DIAL", index);
    if ((c->state == SL_CONN_CLOSING) != c->close_said)
        model_broken(
            m, "conn %u is %s and CLOSE was %ssaid", index, sl_conn_state_name(c->state), c->close_said ? "" : "not ");
    if (c->state == SL_CONN_DRAINING && c->drains == 0)
        model_broken(m, "conn %u is draining after nobody", index);
    if (c->drains > 0 && c->state != SL_CONN_DRAINING && c->state != SL_CONN_RETIRING)
        model_broken(m, "conn %u is cleaned up and %s", index, sl_conn_state_name(c->state));
    if (c->tainted && (c->state == SL_CONN_IDLE || c->state == SL_CONN_LEASED))
        model_broken(m, "conn %u is kept after its lease was reclaimed or it was lost", index);
    if ((c->state == SL_CONN_IDLE || c->state == SL_CONN_DIALING) && (!t->present || c->edition != t->edition))
        model_broken(m, "conn %u is outdated and %s", index, sl_conn_state_name(c->state));
    if (c->state == SL_CONN_IDLE && c->takes == 0)
        model_broken(m, "conn %u is kept and spent", index);
    if (c->state == SL_CONN_IDLE && c->reset)
        model_broken(m, "conn %u is idle, and its owner wants none of it", index);
    if (c->state == SL_CONN_IDLE && m->stopping)
        model_broken(m, "conn %u is idle while stopping", index);
    if (c->state != SL_CONN_IDLE && !serves)
        return;
    if (p->server_alive_interval_ms > 0 && !c->pinged)
        needs_waking(m, c->heard_ms + p->server_alive_interval_ms, "the ping of", index);
    if (p->server_alive_interval_ms > 0 && silent > p->server_alive_interval_ms && !c->pinged)
        model_broken(m, "conn %u is silent and nobody pings it", index);
    if (serves)
        return;
    if (p->max_lifetime_ms > 0)
        needs_waking(m, c->ready_ms + p->max_lifetime_ms, "the lifetime of", index);
    if (p->idle_timeout_ms > 0 && t->count[SL_CONN_IDLE] > p->min_idle && !c->pinged)
        needs_waking(m, c->since_ms + p->idle_timeout_ms, "the idle timeout of", index);
    if (p->max_lifetime_ms > 0 && m->now_ms - c->ready_ms > p->max_lifetime_ms)
        model_broken(m, "conn %u is too old to be idle", index);
    if (p->idle_timeout_ms > 0 && m->now_ms - c->since_ms > p->idle_timeout_ms &&
        t->count[SL_CONN_IDLE] > p->min_idle && !c->pinged)
        model_broken(m, "conn %u idles too long", index);
}

int model_fault(const struct model *m, const struct m_request *r)
{
    const struct m_target *t = &m->target[r->target];
    uint32_t in_use = 0;
    for (uint32_t i = 0; i < m->conn_high; i++) {
        const struct m_conn *c = &m->conn[i];
        in_use += c->target == r->target && c->state >= SL_CONN_IDLE && c->state <= SL_CONN_DRAINING;
    }
    bool failed = t->last_status != 0 && (t->failures != r->failures_seen || in_use < t->policy.max_connections);
    return failed ? t->last_status : SL_E_TIMEOUT;
}

/* Whoever is patient begins anew where a dial is not what fails. */
static void wait_on(struct model *m, struct m_request *r)
{
    if (!r->patient || r->wait_ms > m->now_ms)
        return;
    if (m->ev->type == SL_EV_TIME && r->fault_before != SL_E_TIMEOUT && model_fault(m, r) != SL_E_TIMEOUT)
        model_broken(m, "request %llu waits on for a target that is down", (unsigned long long)r->tag);
    uint64_t timeout_ms = r->acquire_timeout_ms;
    r->wait_ms = m->now_ms + (timeout_ms > 0 ? timeout_ms : m->target[r->target].policy.acquire_timeout_ms);
}

static void look_at_request(struct model *m, struct m_request *r)
{
    if (r->state == M_WAITING || r->state == M_MOVING)
        wait_on(m, r);
    if (r->state == M_WAITING || r->state == M_MOVING) {
        needs_waking(m, r->wait_ms, "the timeout of", r->tag);
        if (r->state == M_MOVING)
            needs_waking(m, r->deadline_ms, "the deadline of", r->tag);
        if (r->state == M_MOVING && r->deadline_ms <= m->now_ms)
            model_broken(m, "lease of %llu outlives its deadline, moving", (unsigned long long)r->tag);
        if (r->state == M_WAITING && !r->noticed)
            needs_waking(m, r->notice_ms, "the notice to", r->tag);
        if (r->wait_ms <= m->now_ms)
            model_broken(m, "request %llu waits past its time", (unsigned long long)r->tag);
        if (m->stopping || !m->target[r->target].present)
            model_broken(m, "request %llu waits for nothing", (unsigned long long)r->tag);
        for (uint32_t i = 0; i < m->conn_high; i++)
            if (may_use(m, &m->conn[i], r) && !m->conn[i].pinged &&
                m->now_ms - m->conn[i].heard_ms <= m->target[r->target].policy.validate_after_ms)
                model_broken(m, "request %llu waits while conn %u is usable", (unsigned long long)r->tag, i);
        m->target[r->target].waiters++;
    } else if (r->state == M_GRANTED) {
        needs_waking(m, r->deadline_ms, "the deadline of", r->tag);
        if (m->stopping)
            needs_waking(m, m->stop_ms, "the stop of", r->tag);
        if (r->deadline_ms <= m->now_ms)
            model_broken(m, "lease of %llu outlives its deadline", (unsigned long long)r->tag);
        if (r->conn == NULL || (r->conn->state != SL_CONN_LEASED && r->conn->state != SL_CONN_RETIRING))
            model_broken(m, "lease of %llu has no connection", (unsigned long long)r->tag);
    } else if (r->state == M_ASKED) {
        model_broken(m, "request %llu got no answer", (unsigned long long)r->tag);
    }
}

/* Waiters whom nothing dialing and nothing pinged covers: is there an idle connection that could make room for them? */
static void look_at_foreign_idle(
    struct model *m, const struct m_target *t, const struct sl_pool_target_info *info, uint32_t index)
{
    uint32_t covered = 0, unpinged = 0, total = 0; /* covered: at most */
    for (unsigned s = SL_CONN_DIALING; s <= SL_CONN_CLOSING; s++)
        total += t->count[s];
    for (uint32_t i = 0; i < m->conn_high; i++) {
        const struct m_conn *c = &m->conn[i];
        if (c->target != index)
            continue;
        bool asked = c->pinged && (c->state == SL_CONN_IDLE || c->state == SL_CONN_LEASED);
        if (c->state == SL_CONN_DIALING || (asked && c->holders < model_room(m, c)))
            covered += model_room(m, c) - c->holders;
        unpinged += c->state == SL_CONN_IDLE && !c->pinged;
    }
    if (t->waiters > covered && info->retry_at_ms > 0)
        needs_waking(m, info->retry_at_ms, "the retry of target", index);
    if (t->waiters <= covered || info->retry_at_ms > 0 || t->count[SL_CONN_DIALING] >= model_handshakes(t))
        return;
    if (total >= t->policy.max_connections) {
        if (unpinged > 0 && t->count[SL_CONN_CLOSING] == 0)
            model_broken(m, "somebody waits behind another owner's idle connection of target %u", index);
    } else if (m->count[SL_CONN_DIALING] < m->limits.handshakes) {
        uint32_t all = 0;
        for (unsigned s = SL_CONN_DIALING; s <= SL_CONN_CLOSING; s++)
            all += m->count[s];
        if (all < m->limits.connections)
            model_broken(m, "somebody waits for target %u, which has room to dial", index);
    }
}

static void look_at_target(struct model *m, const struct sl_pool *pool, uint32_t index)
{
    const struct m_target *t = &m->target[index];
    struct sl_pool_target_info info;
    uint32_t alive = 0;
    for (unsigned s = SL_CONN_DIALING; s <= SL_CONN_CLOSING; s++)
        alive += t->count[s];
    if (sl_pool_target_info(pool, index, &info) != (t->present || alive > 0)) {
        model_broken(m, "target %u is known to one of us only", index);
        return;
    }
    if (!t->present && alive == 0)
        return;
    if (info.counts.dialing != t->count[SL_CONN_DIALING] || info.counts.idle != t->count[SL_CONN_IDLE] ||
        info.counts.leased != t->count[SL_CONN_LEASED] + t->count[SL_CONN_RETIRING] ||
        info.counts.draining != t->count[SL_CONN_DRAINING] || info.counts.closing != t->count[SL_CONN_CLOSING] ||
        info.counts.waiters != t->waiters)
        model_broken(m, "target %u: counts differ", index);
    if (t->waiters > 0)
        look_at_foreign_idle(m, t, &info, index);
}

static void look_at_drains(struct model *m)
{
    for (uint32_t i = 0; i < m->drain_high; i++)
        if (!sl_id_is_none(m->drain[i].lease))
            needs_waking(m, m->drain[i].due_ms, "the clean-up after lease", i);
}

static void look(struct model *m, const struct sl_pool *pool)
{
    uint32_t alive = 0;
    m->next_ms = sl_pool_next_ms(pool);
    memset(m->count, 0, sizeof m->count);
    for (uint32_t i = 0; i < MODEL_TARGETS; i++) {
        memset(m->target[i].count, 0, sizeof m->target[i].count);
        m->target[i].waiters = 0;
    }
    for (uint32_t i = 0; i < m->conn_high; i++) {
        enum sl_conn_state state = m->conn[i].state;
        m->count[state]++;
        m->target[m->conn[i].target].count[state]++;
        alive += state != SL_CONN_GONE;
    }
    for (uint32_t i = 0; i < m->conn_high; i++)
        if (m->conn[i].state != SL_CONN_GONE)
            look_at_conn(m, i);
    look_at_drains(m);
    for (uint32_t i = 0; i < MODEL_REQUESTS; i++)
        if (m->request[i].state != M_FREE)
            look_at_request(m, &m->request[i]);
    for (uint32_t i = 0; i < MODEL_TARGETS; i++)
        if (m->target[i].known)
            look_at_target(m, pool, i);
    if (m->stopped != (m->stopping && alive == 0))
        model_broken(m, m->stopped ? "stopped with connections left" : "nothing is left, but STOPPED was not said");
    if (m->stopped && sl_pool_next_ms(pool) != UINT64_MAX)
        model_broken(m, "stopped, and wants to be woken");
}

/* --- what the event asked for --- */

static void duties(struct model *m, const struct sl_pool *pool, const struct sl_event *ev)
{
    const struct m_request *r = m->asked_about;
    switch (ev->type) {
    case SL_EV_RELEASE:
    case SL_EV_REVOKE:
    case SL_EV_CLIENT_GONE:
        if (r != NULL && r->state != M_FREE && sl_id_equal(r->lease, ev->lease))
            model_broken(m, "the lease of %llu goes on", (unsigned long long)r->tag);
        break;
    case SL_EV_CROWDED:
    case SL_EV_DISPLACED:
        if (r != NULL && m->asked_while == M_GRANTED && r->deadline_ms > m->now_ms && !m->stopping &&
            m->target[r->target].present && m->moved != 1)
            model_broken(m, "the lease of %llu moved %u times", (unsigned long long)r->tag, m->moved);
        break;
    case SL_EV_RENEW:
        if (r != NULL && (r->state == M_GRANTED || r->state == M_MOVING) && sl_id_equal(r->lease, ev->lease) &&
            (m->asked_while == M_GRANTED || m->asked_while == M_MOVING) && m->renewed != 1)
            model_broken(m, "RENEW of %llu was answered %u times", (unsigned long long)r->tag, m->renewed);
        break;
    case SL_EV_TIME:
        if (sl_pool_next_ms(pool) <= m->now_ms)
            model_broken(m, "a driver that does as it is told would spin");
        break;
    default:
        break;
    }
}

const char *model_stepped(struct model *m, const struct sl_pool *pool, const struct sl_event *ev)
{
    m->ev = ev;
    if (m->now_ms < ev->now_ms)
        m->now_ms = ev->now_ms;
    model_replay_event(m, ev);
    model_replay_actions(m, sl_pool_actions(pool));
    look(m, pool);
    duties(m, pool, ev);
    return m->broken[0] != '\0' ? m->broken : NULL;
}

/* Connections made before are not leased again; what they logged in with may be another by now. */
static void outdate(struct m_target *t)
{
    t->edition++;
    t->credentials_work = false;
}

static void forgive(struct m_target *t)
{
    t->blocked_status = 0;
    t->blocked_ms = t->held_ms = t->demand_held_ms = 0;
    t->last_status = 0;
    t->streak = 0;
    t->failed_ms = 0;
}

/* Nobody joins those who have a connection that limits want closed. */
static void mark_surplus(struct model *m)
{
    uint32_t all = 0, of_target[MODEL_TARGETS] = {0};
    for (uint32_t i = 0; i < m->conn_high; i++) {
        enum sl_conn_state state = m->conn[i].state;
        bool stays = state == SL_CONN_DIALING || state == SL_CONN_IDLE || state == SL_CONN_LEASED;
        all += stays;
        of_target[m->conn[i].target] += stays;
    }
    for (uint32_t i = 0; i < m->conn_high; i++) {
        struct m_conn *c = &m->conn[i];
        if (c->state == SL_CONN_LEASED &&
            (all > m->limits.connections || of_target[c->target] > m->target[c->target].policy.max_connections))
            c->takes = c->takes < 1 ? c->takes : 1;
    }
}

static void mark_revoked(struct model *m, const struct sl_pool_revocations *revoked)
{
    for (size_t i = 0; i < revoked->count; i++) {
        struct m_request *r = model_request_of_lease(m, revoked->item[i].lease);
        if (r != NULL)
            r->revoked = revoked->item[i].status;
    }
}

/* Nobody keeps a lease, or a place in the queue, to which he has no right any more. */
static void look_for_revoked(struct model *m)
{
    for (uint32_t i = 0; i < MODEL_REQUESTS; i++)
        if (m->request[i].state != M_FREE && m->request[i].revoked != 0)
            model_broken(m, "the lease of %llu goes on, which it may not", (unsigned long long)m->request[i].tag);
}

const char *model_configured(struct model *m, const struct sl_pool *pool, uint64_t now_ms,
    const struct sl_limits *limits, const struct sl_pool_target *targets, size_t count,
    const struct sl_pool_revocations *revoked)
{
    static const struct sl_event nothing = {.type = SL_EV_TIME};
    m->ev = &nothing;
    m->asked_about = NULL;
    m->proved = NULL;
    if (m->now_ms < now_ms)
        m->now_ms = now_ms;
    m->limits = *limits;
    bool named[MODEL_TARGETS] = {false};
    for (size_t i = 0; i < count; i++) {
        struct m_target *t = &m->target[targets[i].target];
        named[targets[i].target] = true;
        bool apart = t->present && t->policy.owners_shared && !targets[i].policy.owners_shared;
        if (!t->present || t->identity != targets[i].identity || apart)
            outdate(t);
        if (t->identity != targets[i].identity || t->retry_epoch != targets[i].retry_epoch)
            forgive(t);
        t->known = t->present = true;
        t->retry_epoch = targets[i].retry_epoch;
        t->identity = targets[i].identity;
        t->policy = targets[i].policy;
    }
    for (uint32_t i = 0; i < MODEL_TARGETS; i++) {
        struct m_target *t = &m->target[i];
        if (t->present && !named[i]) {
            t->present = false;
            outdate(t);
            forgive(t);
        }
    }
    mark_revoked(m, revoked);
    model_replay_actions(m, sl_pool_actions(pool));
    look_for_revoked(m);
    mark_surplus(m);
    /* Lowered times may be over already; the core says so through its next deadline. */
    if (sl_pool_next_ms(pool) > m->now_ms)
        look(m, pool);
    return m->broken[0] != '\0' ? m->broken : NULL;
}
