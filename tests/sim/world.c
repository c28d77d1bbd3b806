/* SPDX-License-Identifier: MIT */
/* Carries the core's actions out on virtual time, writes the trace, and checks each step. */
#include "tests/sim/world.h"

#include "proto/status.h"
#include "tests/sim/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the agenda --- */

struct happening {
    uint64_t due_ms;
    uint64_t serial; /* first come first, at the same time */
    enum sl_event_type type;
    struct sl_id conn;
    struct sl_id lease; /* of a clean-up */
    int status;
};

static bool before(const struct happening *a, const struct happening *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->serial < b->serial;
}

static void swap(struct happening *a, struct happening *b)
{
    struct happening c = *a;
    *a = *b;
    *b = c;
}

static void plan_about(
    struct world *w, uint64_t in_ms, enum sl_event_type type, struct sl_id conn, struct sl_id lease, int status)
{
    if (w->agenda_count == w->agenda_capacity) {
        w->agenda_capacity = w->agenda_capacity > 0 ? 2 * w->agenda_capacity : 64;
        w->agenda = realloc(w->agenda, w->agenda_capacity * sizeof *w->agenda);
        if (w->agenda == NULL)
            abort();
    }
    size_t at = w->agenda_count++;
    w->agenda[at] = (struct happening){w->now_ms + in_ms, ++w->agenda_serial, type, conn, lease, status};
    for (; at > 0 && before(&w->agenda[at], &w->agenda[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&w->agenda[at], &w->agenda[(at - 1) / 2]);
}

static void plan(struct world *w, uint64_t in_ms, enum sl_event_type type, struct sl_id conn, int status)
{
    plan_about(w, in_ms, type, conn, SL_ID_NONE, status);
}

static struct happening take(struct world *w)
{
    struct happening first = w->agenda[0];
    w->agenda[0] = w->agenda[--w->agenda_count];
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= w->agenda_count)
            break;
        if (child + 1 < w->agenda_count && before(&w->agenda[child + 1], &w->agenda[child]))
            child++;
        if (!before(&w->agenda[child], &w->agenda[at]))
            break;
        swap(&w->agenda[child], &w->agenda[at]);
        at = child;
    }
    return first;
}

/* --- traces --- */

void world_trace(struct world *w, const char *format, ...)
{
    if (!w->tracing && !w->echo)
        return;
    char line[256];
    int begin = snprintf(line, sizeof line, "[%5" PRIu64 "] ", w->now_ms);
    va_list args;
    va_start(args, format);
    int length = begin + vsnprintf(line + begin, sizeof line - (size_t)begin - 1, format, args);
    va_end(args);
    if (length > (int)sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length++] = '\n';
    line[length] = '\0';
    if (w->echo)
        fputs(line, stdout);
    if (!w->tracing)
        return;
    if (w->trace_length + (size_t)length + 1 > w->trace_capacity) {
        w->trace_capacity = 2 * (w->trace_capacity + (size_t)length + 1);
        w->trace = realloc(w->trace, w->trace_capacity);
        if (w->trace == NULL)
            abort();
    }
    memcpy(w->trace + w->trace_length, line, (size_t)length + 1);
    w->trace_length += (size_t)length;
}

void world_trace_clear(struct world *w)
{
    w->trace_length = 0;
    if (w->trace != NULL)
        w->trace[0] = '\0';
}

static const char *conn_name(const struct world *w, struct sl_id id, char *buf, size_t size)
{
    const struct world_conn *c = &w->conn[id.index % WORLD_CONNS];
    snprintf(buf, size, "%s.%u", w->target_name[c->target], c->number);
    return buf;
}

/* --- what the core orders --- */

static struct world_conn *find_conn(struct world *w, struct sl_id id)
{
    struct world_conn *c = &w->conn[id.index % WORLD_CONNS];
    return c->exists && sl_id_equal(c->id, id) ? c : NULL;
}

static void on_dial(struct world *w, const struct sl_action *act)
{
    if (act->conn.index >= WORLD_CONNS)
        w->on_broken(w, "the world is too small for this connection");
    const struct server *server = &w->server[act->target];
    bool ahead = w->conn[act->conn.index].moved_for == SL_REASON_MIN_IDLE;
    w->conn[act->conn.index] =
        (struct world_conn){.id = act->conn, .exists = true, .target = act->target, .number = ++w->dials[act->target]};
    int status = server->two_machines && w->dials[act->target] % 2 == 0 ? 0 : server->dial_status;
    char name[32];
    world_trace(w, "dial %s%s", conn_name(w, act->conn, name, sizeof name), ahead ? " ahead" : "");
    const struct sl_policy *policy = NULL;
    for (size_t i = 0; i < w->target_count; i++)
        if (w->targets[i].target == act->target)
            policy = &w->targets[i].policy;
    if (policy == NULL)
        w->on_broken(w, "DIAL for a target that is not configured");
    else if (server->dial_stalls)
        plan(w, policy->connect_timeout_ms + policy->login_timeout_ms, SL_EV_CONN_LOST, act->conn, SL_E_LOGIN_TIMEOUT);
    else
        plan(w, server->dial_ms, status == 0 ? SL_EV_CONN_READY : SL_EV_CONN_LOST, act->conn, status);
    if (server->hangup_ms > 0 && status == 0 && !server->dial_stalls)
        plan(w, server->dial_ms + server->hangup_ms, SL_EV_CONN_LOST, act->conn, SL_E_CONNECTION_LOST);
}

static bool shares(const struct world *w, uint32_t target)
{
    for (size_t i = 0; i < w->target_count; i++)
        if (w->targets[i].target == target)
            return w->targets[i].policy.sharing > 1;
    return false;
}

static void on_order(struct world *w, const struct sl_action *act)
{
    char name[32];
    conn_name(w, act->conn, name, sizeof name);
    const char *reason = sl_reason_name(act->reason);
    struct world_conn *c = find_conn(w, act->conn);
    if (c == NULL)
        return; /* it went by itself in this very step */
    const struct server *server = &w->server[c->target];
    if (act->type == SL_ACT_PING) {
        world_trace(w, "ping %s", name);
        if (!server->deaf && !c->deaf)
            plan(w, server->pong_ms, SL_EV_CONN_ALIVE, act->conn, 0);
    } else if (act->type == SL_ACT_DRAIN) {
        if (shares(w, c->target))
            world_trace(w, "drain %s of c%u %s", name, (unsigned)(act->tag % 256), reason);
        else
            world_trace(w, "drain %s %s", name, reason);
        if (!server->drain_stalls)
            plan_about(w, server->drain_ms, SL_EV_CONN_DRAINED, act->conn, act->lease, 0);
    } else {
        world_trace(w, "close %s %s", name, sl_reason_name(c->moved_for));
        c->close_said = true;
        plan(w, server->close_ms, SL_EV_CONN_GONE, act->conn, 0);
    }
}

static void on_answer(struct world *w, const struct sl_action *act)
{
    uint32_t number = (uint32_t)(act->tag % 256);
    struct client *c = &w->client[number % WORLD_CLIENTS];
    if (!c->busy || c->tag != act->tag) {
        if (act->type != SL_ACT_RELEASED) /* the model says what is wrong with it, if anything */
            world_trace(w, "answer %d for c%u, which asked for nothing", (int)act->type, number);
        return;
    }
    char name[32];
    switch (act->type) {
    case SL_ACT_QUEUED:
        c->lease = act->lease;
        break;
    case SL_ACT_NOTICE:
        world_trace(w, "notice c%u #%u %s", number, act->position, sl_status_name(act->status));
        break;
    case SL_ACT_GRANT:
        c->conn = act->conn;
        world_trace(w, "grant c%u %s", number, conn_name(w, act->conn, name, sizeof name));
        break;
    case SL_ACT_MOVE:
        c->conn = act->conn;
        world_trace(w, "move c%u %s", number, conn_name(w, act->conn, name, sizeof name));
        break;
    case SL_ACT_RENEWED:
        world_trace(w, "renewed c%u until %" PRIu64, number, act->deadline_ms);
        break;
    case SL_ACT_REFUSE:
        world_trace(w, "refuse c%u %s: %s", number, sl_reason_name(act->reason), sl_status_name(act->status));
        c->busy = false;
        break;
    case SL_ACT_RELEASED:
        world_trace(w, "released c%u%s", number, act->reason == SL_REASON_UNCLEAN ? " unclean" : "");
        c->busy = false;
        break;
    case SL_ACT_ENDED:
        world_trace(w, "ended c%u %s: %s", number, sl_reason_name(act->reason), sl_status_name(act->status));
        c->busy = false;
        break;
    default:
        break;
    }
}

static void carry_out(struct world *w, const struct sl_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        const struct sl_action *act = &actions->item[i];
        switch (act->type) {
        case SL_ACT_DIAL:
            on_dial(w, act);
            break;
        case SL_ACT_PING:
        case SL_ACT_DRAIN:
        case SL_ACT_CLOSE:
            on_order(w, act);
            break;
        case SL_ACT_STOPPED:
            world_trace(w, "stopped");
            w->stopped = true;
            break;
        case SL_ACT_CONN_MOVED:
            w->conn[act->conn.index].moved_for = act->reason;
            break;
        case SL_ACT_LEASE_MOVED:
            break; /* facts: the model compares them with the orders and answers */
        default:
            on_answer(w, act);
        }
    }
}

static void check(struct world *w, const char *model_says)
{
    const char *core_says = sl_pool_check(w->pool);
    if (core_says != NULL)
        w->on_broken(w, core_says);
    if (model_says != NULL)
        w->on_broken(w, model_says);
}

void world_step(struct world *w, struct sl_event ev)
{
    if (ev.now_ms == 0)
        ev.now_ms = w->now_ms;
    w->steps++;
    sl_pool_step(w->pool, &ev);
    const char *broken = model_stepped(w->model, w->pool, &ev);
    carry_out(w, sl_pool_actions(w->pool));
    check(w, broken);
}

static size_t list_revoked(struct world *w, struct sl_pool_revocation item[WORLD_CLIENTS])
{
    size_t count = 0;
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++) {
        struct client *c = &w->client[i];
        if (c->busy && c->revoke != 0)
            item[count++] = (struct sl_pool_revocation){.lease = c->lease, .status = c->revoke};
        c->revoke = 0;
    }
    return count;
}

void world_configure(
    struct world *w, const struct sl_limits *limits, const struct sl_pool_target *targets, size_t count)
{
    world_step(w, (struct sl_event){.type = SL_EV_TIME}); /* what was due by now is judged by the old settings */
    w->limits = *limits;
    memcpy(w->targets, targets, count * sizeof *targets);
    w->target_count = count;
    struct sl_pool_revocation item[WORLD_CLIENTS];
    const struct sl_pool_revocations revoked = {.item = item, .count = list_revoked(w, item)};
    if (sl_pool_configure(w->pool, w->now_ms, limits, targets, count, &revoked) != 0)
        abort();
    const char *broken = model_configured(w->model, w->pool, w->now_ms, limits, targets, count, &revoked);
    carry_out(w, sl_pool_actions(w->pool));
    check(w, broken);
}

/* --- time --- */

uint64_t world_next_ms(const struct world *w)
{
    uint64_t next = sl_pool_next_ms(w->pool);
    if (w->agenda_count > 0 && w->agenda[0].due_ms < next)
        next = w->agenda[0].due_ms;
    return next;
}

bool world_happen(struct world *w, uint64_t until_ms)
{
    uint64_t due = world_next_ms(w);
    if (due > until_ms || due == UINT64_MAX)
        return false;
    if (w->now_ms < due)
        w->now_ms = due;
    if (w->agenda_count > 0 && w->agenda[0].due_ms <= sl_pool_next_ms(w->pool)) {
        struct happening h = take(w);
        if (h.type == SL_EV_CONN_DRAINED)
            world_step(w, (struct sl_event){.type = h.type, .conn = h.conn, .lease = h.lease});
        else
            world_conn_event(w, h.conn, h.type, h.status);
    } else {
        world_step(w, (struct sl_event){.type = SL_EV_TIME});
    }
    return true;
}

void world_run_until(struct world *w, uint64_t until_ms)
{
    while (world_happen(w, until_ms))
        continue;
    if (w->now_ms < until_ms)
        w->now_ms = until_ms;
}

/* --- clients and connections --- */

void world_acquire(struct world *w, uint32_t client, uint32_t target, uint64_t owner, uint64_t acquire_timeout_ms,
    uint64_t lease_timeout_ms, bool patient)
{
    struct client *c = &w->client[client];
    *c = (struct client){.busy = true,
        .tag = ++w->next_serial << 8 | client,
        .owner = owner,
        .target = target,
        .lease_ms = lease_timeout_ms};
    world_step(w, (struct sl_event){.type = SL_EV_ACQUIRE,
                      .target = target,
                      .owner = owner,
                      .tag = c->tag,
                      .acquire_timeout_ms = acquire_timeout_ms,
                      .lease_timeout_ms = lease_timeout_ms,
                      .patient = patient});
}

void world_lease_event(struct world *w, uint32_t client, struct sl_event ev)
{
    struct client *c = &w->client[client];
    if (!c->busy)
        return;
    ev.lease = c->lease;
    world_step(w, ev);
    if (ev.type == SL_EV_CLIENT_GONE)
        c->busy = false;
}

void world_client(struct world *w, uint32_t client, enum sl_event_type type, bool clean, uint64_t lease_timeout_ms)
{
    world_lease_event(w, client, (struct sl_event){.type = type, .clean = clean, .lease_timeout_ms = lease_timeout_ms});
}

void world_conn_event(struct world *w, struct sl_id conn, enum sl_event_type type, int status)
{
    struct world_conn *c = find_conn(w, conn);
    if (c != NULL) {
        if (type == SL_EV_CONN_READY)
            c->dialed = true;
        if (type == SL_EV_CONN_GONE)
            c->exists = false;
    }
    /* One that is gone may still have something on the agenda: that is the late callback the core has to ignore. */
    world_step(w, (struct sl_event){.type = type, .conn = conn, .status = status});
}

/* --- life --- */

static void end_program(struct world *w, const char *what)
{
    fprintf(stderr, "broken at step %" PRIu64 ", %" PRIu64 " ms: %s\n", w->steps, w->now_ms, what);
    exit(1);
}

struct world *world_new(uint64_t seed, const struct sl_limits *limits)
{
    struct world *w = calloc(1, sizeof *w);
    if (w == NULL || sl_pool_new(limits, seed, &w->pool) != 0)
        abort();
    w->model = model_new();
    w->seed = seed;
    w->limits = *limits;
    w->on_broken = end_program;
    for (uint32_t i = 0; i < WORLD_TARGETS; i++)
        snprintf(w->target_name[i], sizeof w->target_name[i], "t%u", i);
    return w;
}

void world_free(struct world *w)
{
    sl_pool_free(w->pool);
    model_free(w->model);
    free(w->agenda);
    free(w->trace);
    free(w);
}
