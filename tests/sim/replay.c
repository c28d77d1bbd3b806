/* SPDX-License-Identifier: MIT */
/* The half of the model that follows the core: what an event means, and whether each action was due. What is ordered
 * about connections: replay_conns.c. */
#include "proto/status.h"
#include "tests/sim/model_state.h"

#define TAG(r) ((unsigned long long)(r)->tag)

static struct m_request *request_of_tag(struct model *m, uint64_t tag)
{
    struct m_request *r = &m->request[tag % MODEL_REQUESTS];
    return r->state != M_FREE && r->tag == tag ? r : NULL;
}

/* What blocks the target for a time that is known. */
static bool is_rejected(int status)
{
    return status == SL_E_AUTH_FAILED || status == SL_E_NO_ALGORITHM;
}

static uint64_t block_ms(const struct m_target *t, int status)
{
    return status == SL_E_NO_ALGORITHM ? t->policy.retry_max_ms : t->policy.auth_retry_ms;
}

static bool is_untrusted(int status)
{
    return status == SL_E_HOST_KEY_UNKNOWN || status == SL_E_HOST_KEY_CHANGED || status == SL_E_HOST_KEY_REVOKED;
}

static bool is_definite(int status)
{
    return status == SL_E_RESOLVE || status == SL_E_CONNECT || status == SL_E_CREDENTIALS;
}

/* --- events --- */

static void dial_over(struct model *m, const struct m_conn *c, int status)
{
    struct m_target *t = &m->target[c->target];
    bool blocked = t->blocked_status != 0 && m->now_ms < t->blocked_ms;
    if (status == 0) {
        t->credentials_work = true;
        if (blocked && is_untrusted(t->blocked_status))
            return;
        t->blocked_status = 0;
        t->last_status = 0;
        t->held_ms = t->demand_held_ms = 0;
        m->readied = t;
        return;
    }
    m->failed_status = status;
    m->failed_target = c->target;
    t->failures++;
    if (status == SL_E_AUTH_FAILED)
        t->credentials_work = false;
    if (is_untrusted(status) || !blocked)
        model_hold_back(m, t, c->dialed_ms, t->policy.retry_min_ms > 3000 ? t->policy.retry_min_ms : 3000);
    if (is_rejected(status))
        t->held_ms = t->demand_held_ms = 0; /* auth_retry or retry_max takes the place of backoff, be it shorter */
    if (is_untrusted(status) || (is_rejected(status) && !blocked)) {
        t->blocked_status = status;
        t->blocked_ms = is_untrusted(status) ? UINT64_MAX : m->now_ms + block_ms(t, status);
        t->last_status = status;
    } else if (!blocked) {
        t->last_status = status;
    }
}

/* What was given up or done by now; the deadlines of a step come before its event. */
static void drains_over(struct model *m, const struct sl_event *ev)
{
    for (uint32_t i = 0; i < m->drain_high; i++) {
        struct m_drain *d = &m->drain[i];
        bool done = ev->type == SL_EV_CONN_DRAINED && sl_id_equal(d->lease, ev->lease);
        if (!sl_id_is_none(d->lease) && (done || d->due_ms <= m->now_ms))
            model_forget_drain(m, d);
    }
}

static void event_of_conn(struct model *m, const struct sl_event *ev)
{
    struct m_conn *c = model_conn_of(m, ev->conn);
    if (c == NULL)
        return;
    c->was_pinged = false;
    switch (ev->type) {
    case SL_EV_CONN_READY:
        if (c->state == SL_CONN_DIALING) {
            c->ready_ms = c->heard_ms = m->now_ms;
            dial_over(m, c, 0);
        }
        break;
    case SL_EV_CONN_LOST:
    case SL_EV_CONN_GONE:
        if (c->state == SL_CONN_DIALING)
            dial_over(m, c, ev->status != 0 ? ev->status : SL_E_CONNECTION_LOST);
        c->tainted = true;
        break;
    case SL_EV_CONN_ALIVE:
        if (model_is_logged_in(c) && !c->proved) {
            m->proved = c;
            m->streak_before = m->target[c->target].streak;
            m->failed_before_ms = m->target[c->target].failed_ms;
            model_prove(m, c);
        }
        if (c->state == SL_CONN_IDLE || c->state == SL_CONN_LEASED || c->state == SL_CONN_RETIRING) {
            c->heard_ms = m->now_ms;
            c->was_pinged = c->pinged;
            c->pinged = false;
        }
        break;
    default:
        break;
    }
}

void model_replay_event(struct model *m, const struct sl_event *ev)
{
    m->asked_about = NULL;
    m->asked_while = M_FREE;
    m->renewed = m->moved = 0;
    for (uint32_t i = 0; i < MODEL_REQUESTS; i++)
        m->request[i].fault_before = m->request[i].state != M_FREE ? model_fault(m, &m->request[i]) : 0;
    model_prove_by_time(m);
    drains_over(m, ev);
    m->readied = NULL;
    m->proved = NULL;
    m->failed_status = 0;
    switch (ev->type) {
    case SL_EV_ACQUIRE: {
        struct m_request *r = &m->request[ev->tag % MODEL_REQUESTS];
        if (r->state != M_FREE) {
            model_broken(m, "the world uses tag %llu twice", TAG(r));
            return;
        }
        const struct sl_policy *p = &m->target[ev->target % MODEL_TARGETS].policy;
        *r = (struct m_request){
            .state = M_ASKED,
            .tag = ev->tag,
            .owner = ev->owner,
            .serial = ++m->serial,
            .target = ev->target % MODEL_TARGETS,
            .asked_ms = m->now_ms,
            .wait_ms = m->now_ms + (ev->acquire_timeout_ms > 0 ? ev->acquire_timeout_ms : p->acquire_timeout_ms),
            .notice_ms = m->now_ms + p->acquire_notice_ms,
            .acquire_timeout_ms = ev->acquire_timeout_ms,
            .lease_timeout_ms = ev->lease_timeout_ms,
            .failures_seen = m->target[ev->target % MODEL_TARGETS].failures,
            .patient = ev->patient,
        };
        m->asked_about = r;
        break;
    }
    case SL_EV_RELEASE:
    case SL_EV_RENEW:
    case SL_EV_REVOKE:
    case SL_EV_CROWDED:
    case SL_EV_DISPLACED:
    case SL_EV_CLIENT_GONE:
        m->asked_about = model_request_of_lease(m, ev->lease);
        m->asked_while = m->asked_about != NULL ? m->asked_about->state : M_FREE;
        break;
    case SL_EV_RESET:
        for (uint32_t i = 0; i < m->conn_high; i++) {
            struct m_conn *c = &m->conn[i];
            bool up = c->state == SL_CONN_IDLE || c->state == SL_CONN_LEASED;
            if (up && c->target == ev->target && m->target[c->target].present &&
                (!c->owned || m->target[c->target].policy.owners_shared || c->owner == ev->owner))
                c->reset = true;
        }
        break;
    case SL_EV_SHUTDOWN:
    case SL_EV_SHUTDOWN_NOW: {
        uint64_t stop_ms = ev->type == SL_EV_SHUTDOWN ? m->now_ms + ev->drain_ms : m->now_ms;
        if (!m->stopping || stop_ms < m->stop_ms)
            m->stop_ms = stop_ms;
        m->stopping = true;
        break;
    }
    default:
        event_of_conn(m, ev);
        break;
    }
}

/* --- actions about leases --- */

static void over(struct m_request *r, bool clean)
{
    if (r->conn != NULL) {
        r->conn->holders--;
        if (!clean)
            r->conn->tainted = true;
    }
    *r = (struct m_request){.state = M_FREE};
}

static void on_queued(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    if (r == NULL || r->state != M_ASKED || m->asked_about != r) {
        model_broken(m, "QUEUED for %llu, which did not ask", (unsigned long long)act->tag);
        return;
    }
    const struct m_target *t = &m->target[r->target];
    if (m->stopping || !t->present || (t->blocked_status != 0 && m->now_ms < t->blocked_ms))
        model_broken(m, "QUEUED for %llu, which was to be refused", TAG(r));
    uint32_t waiters = 0;
    for (uint32_t i = 0; i < MODEL_REQUESTS; i++)
        waiters +=
            (m->request[i].state == M_WAITING || m->request[i].state == M_MOVING) && m->request[i].target == r->target;
    if (waiters >= t->policy.waiters)
        model_broken(m, "QUEUED for %llu, but the queue is full", TAG(r));
    if (act->lease.index >= MODEL_LEASES || act->lease.generation <= m->lease_generation[act->lease.index])
        model_broken(m, "QUEUED for %llu under a lease id that was used before", TAG(r));
    else
        m->lease_generation[act->lease.index] = act->lease.generation;
    r->state = M_WAITING;
    r->lease = act->lease;
}

static void on_notice(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    if (r == NULL || r->state != M_WAITING || r->noticed) {
        model_broken(m, "NOTICE for %llu, which does not wait or was told", (unsigned long long)act->tag);
        return;
    }
    r->noticed = true;
    if (m->now_ms < r->notice_ms)
        model_broken(m, "NOTICE for %llu before its time", TAG(r));
    uint32_t position = 1;
    for (uint32_t i = 0; i < MODEL_REQUESTS; i++) {
        const struct m_request *o = &m->request[i];
        position += (o->state == M_WAITING || o->state == M_MOVING) && o->target == r->target && o->serial < r->serial;
    }
    /* One that came before may be granted or refused later in the same step, but not the other way round. */
    if (act->position != position)
        model_broken(m, "NOTICE for %llu says position %u, it is %u", TAG(r), act->position, position);
}

static void on_grant(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    struct m_conn *c = model_conn_of(m, act->conn);
    enum m_state waits = act->type == SL_ACT_MOVE ? M_MOVING : M_WAITING;
    if (r == NULL || r->state != waits || !sl_id_equal(r->lease, act->lease)) {
        model_broken(m, "GRANT for %llu, which does not wait", (unsigned long long)act->tag);
        return;
    }
    if (c == NULL || c->holders >= model_room(m, c) || c->state != SL_CONN_LEASED || c->tainted) {
        model_broken(m, "GRANT for %llu of a connection that is not free", TAG(r));
        return;
    }
    const struct m_target *t = &m->target[c->target];
    if (r->revoked != 0)
        model_broken(m, "GRANT for %llu, which may not have it any more", TAG(r));
    if (c->target != r->target)
        model_broken(m, "GRANT for %llu across targets", TAG(r));
    if (c->reset)
        model_broken(m, "GRANT for %llu of a connection from before its owner's RESET", TAG(r));
    if (c->edition != t->edition || !t->present || m->stopping)
        model_broken(m, "GRANT for %llu of an outdated connection", TAG(r));
    if (c->owned && !t->policy.owners_shared && c->owner != r->owner)
        model_broken(m, "GRANT for %llu across owners", TAG(r));
    if (m->now_ms - c->heard_ms > t->policy.validate_after_ms)
        model_broken(m, "GRANT for %llu of a connection not heard of lately", TAG(r));
    for (uint32_t i = 0; i < MODEL_REQUESTS; i++) {
        const struct m_request *o = &m->request[i];
        if ((o->state == M_WAITING || o->state == M_MOVING) && o->target == r->target && o->serial < r->serial &&
            (!c->owned || t->policy.owners_shared || o->owner == c->owner))
            model_broken(m, "GRANT for %llu before %llu, which came first", TAG(r), TAG(o));
    }
    uint64_t lease_ms = r->lease_timeout_ms > 0 ? r->lease_timeout_ms : t->policy.lease_timeout_ms;
    if (act->type == SL_ACT_GRANT) {
        r->max_deadline_ms = m->now_ms + t->policy.max_lease_ms;
        r->deadline_ms = m->now_ms + lease_ms < r->max_deadline_ms ? m->now_ms + lease_ms : r->max_deadline_ms;
    }
    if (act->deadline_ms != r->deadline_ms || act->max_deadline_ms != r->max_deadline_ms)
        model_broken(m, "GRANT for %llu with a wrong deadline", TAG(r));
    r->state = M_GRANTED;
    r->conn = c;
    c->holders++;
    c->owned = true;
    c->owner = r->owner;
}

static bool is_revoked(const struct m_request *r, const struct sl_action *act)
{
    return r->revoked != 0 && r->revoked == act->status;
}

static void check_refusal(struct model *m, const struct m_request *r, const struct sl_action *act)
{
    const struct m_target *t = &m->target[r->target];
    switch (act->reason) {
    case SL_REASON_TIMEOUT: {
        int expected = model_fault(m, r);
        /* A dial may end in the very step in which the wait does: deadlines come first. */
        if (m->now_ms < r->wait_ms || (r->patient && act->status == SL_E_TIMEOUT) ||
            (act->status != expected && m->ev->type != SL_EV_CONN_READY && m->ev->type != SL_EV_CONN_LOST &&
                m->ev->type != SL_EV_CONN_GONE))
            model_broken(m, "%llu is refused for time: %s, not %s", TAG(r), sl_status_name(act->status),
                sl_status_name(expected));
        break;
    }
    case SL_REASON_QUEUE_FULL:
        if (r->state != M_ASKED || !(act->status == SL_E_QUEUE_FULL || act->status == SL_E_LIMIT))
            model_broken(m, "%llu is refused in the queue because the queue is full", TAG(r));
        break;
    case SL_REASON_TARGET_DOWN:
        if (r->state == M_ASKED ? act->status != t->blocked_status || m->now_ms >= t->blocked_ms
                                : m->failed_status == 0 || m->failed_target != r->target ||
                                      !(is_rejected(m->failed_status) || is_untrusted(m->failed_status) ||
                                          is_definite(m->failed_status)))
            model_broken(m, "%llu is refused because its target is down, which it is not", TAG(r));
        break;
    case SL_REASON_NO_TARGET:
        if (t->present && !is_revoked(r, act))
            model_broken(m, "%llu is refused because there is no such target", TAG(r));
        break;
    case SL_REASON_SHUTDOWN:
        if (!m->stopping)
            model_broken(m, "%llu is refused because of a shutdown", TAG(r));
        break;
    case SL_REASON_RELEASED:
    case SL_REASON_REVOKED:
        if (m->asked_about != r || (act->reason == SL_REASON_REVOKED) != (m->ev->type == SL_EV_REVOKE))
            model_broken(m, "%llu is refused for no reason", TAG(r));
        break;
    case SL_REASON_NOT_ALLOWED:
        if (!is_revoked(r, act))
            model_broken(m, "%llu is refused, and allowed", TAG(r));
        break;
    default:
        model_broken(m, "%llu is refused because of %s", TAG(r), sl_reason_name(act->reason));
    }
}

static void on_refuse(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    if (r == NULL || (r->state != M_ASKED && r->state != M_WAITING) ||
        (r->state == M_ASKED) != sl_id_is_none(act->lease)) {
        model_broken(m, "REFUSE for %llu, which does not wait", (unsigned long long)act->tag);
        return;
    }
    check_refusal(m, r, act);
    over(r, true);
}

static void on_renewed(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    if (r == NULL || (r->state != M_GRANTED && r->state != M_MOVING) || m->asked_about != r ||
        m->ev->type != SL_EV_RENEW) {
        model_broken(m, "RENEWED for %llu, which did not ask", (unsigned long long)act->tag);
        return;
    }
    uint64_t lease_ms = m->ev->lease_timeout_ms > 0 ? m->ev->lease_timeout_ms
                        : r->lease_timeout_ms > 0   ? r->lease_timeout_ms
                                                    : m->target[r->target].policy.lease_timeout_ms;
    r->deadline_ms = m->now_ms + lease_ms < r->max_deadline_ms ? m->now_ms + lease_ms : r->max_deadline_ms;
    if (act->deadline_ms != r->deadline_ms || act->max_deadline_ms != r->max_deadline_ms)
        model_broken(m, "RENEWED for %llu with a wrong deadline", TAG(r));
    m->renewed++;
}

static void on_released(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    bool clean = act->reason == SL_REASON_RELEASED;
    if (r == NULL || (r->state != M_GRANTED && r->state != M_MOVING) || m->asked_about != r ||
        m->ev->type != SL_EV_RELEASE || clean != (m->ev->clean || r->state == M_MOVING) ||
        m->now_ms >= r->deadline_ms) {
        model_broken(m, "RELEASED for %llu, which did not ask for it", (unsigned long long)act->tag);
        return;
    }
    if (m->ev->spent && m->ev->clean && r->conn != NULL)
        r->conn->takes = 0;
    over(r, clean);
}

/* One that waits for another connection ends as a waiter does, or as a lease. */
static bool moving_may_end(const struct model *m, const struct m_request *r, const struct sl_action *act)
{
    const struct m_target *t = &m->target[r->target];
    switch (act->reason) {
    case SL_REASON_EXPIRED:
        return m->now_ms >= r->deadline_ms && act->status == SL_E_EXPIRED;
    case SL_REASON_TIMEOUT:
        return m->now_ms >= r->wait_ms && !(r->patient && act->status == SL_E_TIMEOUT);
    case SL_REASON_REVOKED:
        return m->asked_about == r && m->ev->type == SL_EV_REVOKE && act->status == SL_E_REVOKED;
    case SL_REASON_TARGET_DOWN:
        return m->failed_status != 0 && m->failed_target == r->target;
    case SL_REASON_NO_TARGET:
        return !t->present || is_revoked(r, act);
    case SL_REASON_NOT_ALLOWED:
        return is_revoked(r, act);
    case SL_REASON_SHUTDOWN:
        return m->stopping;
    default:
        return false;
    }
}

static void on_ended(struct model *m, const struct sl_action *act)
{
    struct m_request *r = request_of_tag(m, act->tag);
    if (r != NULL && r->state == M_MOVING && moving_may_end(m, r, act)) {
        over(r, true);
        return;
    }
    if (r == NULL || r->state != M_GRANTED || r->conn == NULL || !sl_id_equal(r->conn->id, act->conn)) {
        model_broken(m, "ENDED for %llu, which has no lease", (unsigned long long)act->tag);
        return;
    }
    const struct m_conn *c = r->conn;
    const struct sl_policy *p = &m->target[r->target].policy;
    bool due = false;
    switch (act->reason) {
    case SL_REASON_EXPIRED:
        due = m->now_ms >= r->deadline_ms && act->status == SL_E_EXPIRED;
        break;
    case SL_REASON_REVOKED:
        due = m->asked_about == r && m->ev->type == SL_EV_REVOKE && act->status == SL_E_REVOKED;
        break;
    case SL_REASON_NOT_ALLOWED:
    case SL_REASON_NO_TARGET:
        due = is_revoked(r, act);
        break;
    case SL_REASON_SHUTDOWN:
        due = m->stopping && m->now_ms >= m->stop_ms && act->status == SL_E_SHUTDOWN;
        break;
    case SL_REASON_CONNECTION_LOST:
        due =
            sl_id_equal(m->ev->conn, c->id) ? m->ev->type == SL_EV_CONN_LOST || m->ev->type == SL_EV_CONN_GONE : false;
        due = due || (act->status == SL_E_PEER_DEAD && p->server_alive_interval_ms > 0 && (c->pinged || c->was_pinged));
        break;
    default:
        break;
    }
    if (!due)
        model_broken(m, "ENDED for %llu because of %s, which was not due", TAG(r), sl_reason_name(act->reason));
    over(r, false);
}

static void on_moving(struct model *m, struct m_request *r)
{
    bool displaced = m->ev->type == SL_EV_DISPLACED;
    if (r == NULL || r->state != M_GRANTED || m->asked_about != r || (m->ev->type != SL_EV_CROWDED && !displaced)) {
        model_broken(m, "a lease moves that was not asked to");
        return;
    }
    uint64_t wait_ms =
        r->acquire_timeout_ms > 0 ? r->acquire_timeout_ms : m->target[r->target].policy.acquire_timeout_ms;
    r->conn->holders--;
    r->conn->takes = displaced ? 0 : r->conn->holders > 0 ? r->conn->holders : 1;
    r->conn = NULL;
    r->state = M_MOVING;
    r->wait_ms = m->now_ms + wait_ms;
    r->failures_seen = m->target[r->target].failures;
    m->moved++;
}

/* A client that is gone gets no answer; the fact is all there is. */
static void on_lease_moved(struct model *m, const struct sl_action *act)
{
    struct m_request *r = model_request_of_lease(m, act->lease);
    if (act->lease_to == SL_LEASE_MOVING)
        on_moving(m, r);
    if (act->reason != SL_REASON_CLIENT_GONE)
        return;
    if (r == NULL || m->asked_about != r || m->ev->type != SL_EV_CLIENT_GONE)
        model_broken(m, "a lease ends because of a client that is not gone");
    else
        over(r, r->state != M_GRANTED);
}

/* --- all of them --- */

typedef void (*act_fn)(struct model *m, const struct sl_action *act);

void model_replay_actions(struct model *m, const struct sl_actions *actions)
{
    static const act_fn on[] = {
        [SL_ACT_QUEUED] = on_queued,
        [SL_ACT_NOTICE] = on_notice,
        [SL_ACT_GRANT] = on_grant,
        [SL_ACT_MOVE] = on_grant,
        [SL_ACT_REFUSE] = on_refuse,
        [SL_ACT_RENEWED] = on_renewed,
        [SL_ACT_RELEASED] = on_released,
        [SL_ACT_ENDED] = on_ended,
        [SL_ACT_DIAL] = model_on_dial,
        [SL_ACT_PING] = model_on_order,
        [SL_ACT_DRAIN] = model_on_order,
        [SL_ACT_CLOSE] = model_on_order,
        [SL_ACT_CONN_MOVED] = model_on_conn_moved,
        [SL_ACT_LEASE_MOVED] = on_lease_moved,
    };
    for (size_t i = 0; i < actions->count; i++) {
        const struct sl_action *act = &actions->item[i];
        if (act->type == SL_ACT_STOPPED) {
            if (m->stopped || !m->stopping)
                model_broken(m, "STOPPED was said twice, or out of nothing");
            m->stopped = true;
        } else {
            on[act->type](m, act);
        }
    }
}
