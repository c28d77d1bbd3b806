/* SPDX-License-Identifier: MIT */
/* sim_random - random histories: clients that vanish, hang, renew and give back; servers that refuse, stall, reject,
 * die and come back; reloads, clock steps, shutdowns. Every step is checked by the core's own invariants and by the
 * model. sim_random [--seed N] [--seeds COUNT] [--steps N] [--trace] */
#include "proto/status.h"
#include "tests/sim/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS 5u
#define CLIENTS 24u
#define OWNERS  3u

/* xorshift64*: another generator than the core's. */
static uint64_t chance_state;

static uint64_t chance(void)
{
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return chance_state * UINT64_C(2685821657736338717);
}

static uint64_t below(uint64_t bound)
{
    return (chance() >> 16) % bound;
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static uint64_t between(uint64_t least, uint64_t most)
{
    return least + below(most - least + 1);
}

/* --- configurations --- */

static struct sl_policy random_policy(void)
{
    struct sl_policy p = sim_default_policy();
    p.max_connections = (uint32_t)between(1, 5);
    p.min_idle = one_in(3) ? (uint32_t)between(0, 3) : 0;
    p.sharing = one_in(2) ? (uint32_t)between(2, 4) : 1;
    p.handshakes = (uint32_t)between(1, 4);
    p.waiters = (uint32_t)between(1, 8);
    p.acquire_timeout_ms = between(1, 20000);
    p.acquire_notice_ms = between(1, 8000);
    p.connect_timeout_ms = between(1000, 5000);
    p.login_timeout_ms = between(1000, 5000);
    p.idle_timeout_ms = one_in(4) ? 0 : between(1, 60000);
    p.max_lifetime_ms = one_in(3) ? 0 : between(1000, 200000);
    p.server_alive_interval_ms = one_in(3) ? 0 : between(1000, 30000);
    p.server_alive_count_max = (uint32_t)between(1, 3);
    p.validate_after_ms = one_in(4) ? between(0, 500) : between(500, 30000);
    p.validate_timeout_ms = between(1, 5000);
    p.lease_timeout_ms = between(100, 30000);
    p.max_lease_ms = between(100, 90000);
    p.kill_grace_ms = between(0, 3000);
    p.retry_min_ms = between(1, 2000);
    p.retry_max_ms = p.retry_min_ms * between(1, 30);
    p.auth_retry_ms = between(1, 60000);
    p.owners_shared = one_in(3);
    return p;
}

static void random_server(struct server *s)
{
    static const int statuses[] = {SL_E_CONNECT, SL_E_CONNECT, SL_E_RESOLVE, SL_E_CONNECT_TIMEOUT, SL_E_HANDSHAKE,
        SL_E_CONNECTION_LOST, SL_E_AUTH_FAILED, SL_E_CREDENTIALS, SL_E_NO_ALGORITHM, SL_E_HOST_KEY_CHANGED,
        SL_E_HOST_KEY_UNKNOWN};
    *s = (struct server){
        .dial_ms = one_in(3) ? between(0, 2000) : between(0, 100),
        .dial_status = one_in(3) ? statuses[below(sizeof statuses / sizeof statuses[0])] : 0,
        .two_machines = one_in(4),
        .dial_stalls = one_in(10),
        .hangup_ms = one_in(4) ? between(1, 15000) : 0,
        .pong_ms = one_in(5) ? between(0, 8000) : between(0, 100),
        .deaf = one_in(8),
        .drain_ms = between(0, 4000),
        .drain_stalls = one_in(10),
        .close_ms = one_in(3) ? between(0, 3000) : 0,
    };
}

static void configure(struct world *w, bool all_new)
{
    struct sl_limits limits = w->limits;
    struct sl_pool_target targets[TARGETS];
    size_t count = 0;
    if (all_new || one_in(3)) {
        limits.connections = (uint32_t)(one_in(2) ? between(1, 6) : between(5, 40));
        limits.handshakes = (uint32_t)between(1, 8);
        limits.clients = one_in(4) ? (uint32_t)between(0, 10) : 1000;
    }
    for (uint32_t i = 0; i < TARGETS; i++) {
        if (one_in(8))
            continue;
        struct sl_pool_target *t = &targets[count];
        *t = (struct sl_pool_target){
            .target = i, .identity = between(1, 2), .retry_epoch = between(1, 2), .policy = random_policy()};
        for (size_t k = 0; k < w->target_count && !all_new && !one_in(4); k++)
            if (w->targets[k].target == i)
                *t = w->targets[k];
        count++;
    }
    const bool strict = one_in(4);
    for (uint32_t i = 0; i < CLIENTS; i++)
        w->client[i].revoke = !one_in(strict ? 2 : 20) ? 0 : one_in(4) ? SL_E_NO_TARGET : SL_E_NOT_ALLOWED;
    world_configure(w, &limits, targets, count);
}

/* --- things that happen --- */

static void client_does_something(struct world *w)
{
    uint32_t client = (uint32_t)below(CLIENTS);
    struct client *c = &w->client[client];
    if (!c->busy) {
        world_acquire(w, client, (uint32_t)below(TARGETS + (one_in(20) ? 1 : 0)), below(OWNERS),
            one_in(3) ? between(1, 10000) : 0, one_in(3) ? between(1, 20000) : 0, one_in(3));
        return;
    }
    switch (below(8)) {
    case 0:
        world_client(w, client, SL_EV_CLIENT_GONE, false, 0);
        break;
    case 1:
        world_client(w, client, SL_EV_RELEASE, false, 0);
        break;
    case 2:
        world_client(w, client, SL_EV_RENEW, false, one_in(2) ? between(1, 40000) : 0);
        break;
    case 3:
        if (one_in(4))
            world_client(w, client, SL_EV_REVOKE, false, 0);
        else if (one_in(2))
            world_client(w, client, SL_EV_CROWDED, false, 0);
        break;
    case 4:
        if (one_in(4)) /* else it hangs */
            world_lease_event(
                w, client, (struct sl_event){.type = SL_EV_DISPLACED, .status = one_in(2) ? SL_E_CONNECTION_LOST : 0});
        break;
    default:
        world_lease_event(w, client, (struct sl_event){.type = SL_EV_RELEASE, .clean = true, .spent = one_in(8)});
    }
}

/* Any connection there is, or was. */
static struct world_conn *some_conn(struct world *w)
{
    uint32_t start = (uint32_t)below(WORLD_CONNS);
    for (uint32_t i = 0; i < WORLD_CONNS; i++) {
        struct world_conn *c = &w->conn[(start + i) % WORLD_CONNS];
        if (c->number > 0)
            return c;
    }
    return NULL;
}

static void conn_does_something(struct world *w)
{
    struct world_conn *c = some_conn(w);
    if (c == NULL)
        return;
    switch (below(5)) {
    case 0:
        world_conn_event(w, c->id, SL_EV_CONN_LOST, one_in(2) ? SL_E_CONNECTION_LOST : SL_E_IO);
        break;
    case 1:
        c->deaf = true;
        break;
    case 2: /* gone by itself: the core must not lose the place */
        if (one_in(10))
            world_conn_event(w, c->id, SL_EV_CONN_GONE, 0);
        break;
    default:
        world_conn_event(w, c->id, SL_EV_CONN_ALIVE, 0);
    }
}

/* Late callbacks: ids of the past, and events that do not fit the state. */
static void stale_event(struct world *w)
{
    static const enum sl_event_type types[] = {SL_EV_CLIENT_GONE, SL_EV_RELEASE, SL_EV_RENEW, SL_EV_REVOKE,
        SL_EV_CROWDED, SL_EV_DISPLACED, SL_EV_CONN_READY, SL_EV_CONN_LOST, SL_EV_CONN_ALIVE, SL_EV_CONN_DRAINED,
        SL_EV_CONN_GONE};
    struct sl_event ev = {.type = types[below(sizeof types / sizeof types[0])], .status = SL_E_IO, .clean = one_in(2)};
    ev.conn.index = (uint32_t)below(WORLD_CONNS + 10);
    ev.conn.generation = w->conn[ev.conn.index % WORLD_CONNS].id.generation;
    if (ev.conn.generation > 0)
        ev.conn.generation -= 1; /* was, or never was */
    ev.lease.index = (uint32_t)below(300);
    ev.lease.generation = 0;
    world_step(w, ev);
}

static void time_passes(struct world *w)
{
    /* Mostly from one happening to the next. Sometimes the loop was late; sometimes the clock steps. */
    uint64_t limit = one_in(50) ? 60000 : one_in(4) ? between(0, 3000) : between(0, 100);
    uint64_t until = w->now_ms + limit;
    if (!world_happen(w, until)) {
        w->now_ms = until;
        if (one_in(2))
            world_step(w, (struct sl_event){.type = SL_EV_TIME});
    }
    if (one_in(200))
        w->now_ms += between(0, 200000);
    if (one_in(200))
        world_step(w, (struct sl_event){.type = SL_EV_TIME, .now_ms = w->now_ms > 5000 ? w->now_ms - below(5000) : 1});
}

static void random_step(struct world *w)
{
    uint64_t what = below(1000);
    if (what < 550)
        time_passes(w);
    else if (what < 900)
        client_does_something(w);
    else if (what < 950)
        conn_does_something(w);
    else if (what < 980)
        random_server(&w->server[below(TARGETS)]);
    else if (what < 990)
        stale_event(w);
    else if (what < 992) /* as anybody may, of any target that there is, was, or will be */
        world_step(
            w, (struct sl_event){.type = SL_EV_RESET, .target = (uint32_t)below(TARGETS), .owner = below(OWNERS)});
    else
        configure(w, false);
}

/* --- one history --- */

static uint64_t seed_now, steps_now;
static void broken(struct world *w, const char *what)
{
    fflush(stdout);
    fprintf(stderr,
        "BROKEN seed %" PRIu64 ", step %" PRIu64 ", %" PRIu64 " ms: %s\nreplay: sim_random --seed %" PRIu64
        " --steps %" PRIu64 " --trace\n",
        seed_now, w->steps, w->now_ms, what, seed_now, steps_now);
    exit(1);
}

/* A daemon's life, at most so many steps: from the start to the stop. */
static uint64_t live(uint64_t steps, bool trace)
{
    struct sl_limits limits = sim_default_limits();
    struct world *w = world_new(chance(), &limits);
    w->on_broken = broken;
    w->echo = trace;
    w->now_ms = between(1, 1000000);
    for (uint32_t i = 0; i < TARGETS; i++)
        random_server(&w->server[i]);
    configure(w, true);
    while (w->steps < steps)
        random_step(w);

    struct sl_event ev = {.type = one_in(4) ? SL_EV_SHUTDOWN_NOW : SL_EV_SHUTDOWN, .drain_ms = between(0, 30000)};
    world_step(w, ev);
    for (unsigned i = 0; i < 300 && !w->stopped; i++) {
        if (one_in(100))
            world_step(w, (struct sl_event){.type = SL_EV_SHUTDOWN_NOW});
        random_step(w);
    }
    while (world_happen(w, UINT64_MAX))
        continue;
    if (!w->stopped)
        broken(w, "the pool never stops");
    uint64_t fed = w->steps;
    world_free(w);
    return fed;
}

static void history(uint64_t seed, uint64_t steps, bool trace)
{
    seed_now = seed;
    steps_now = steps;
    chance_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    uint64_t fed = 0;
    while (fed < steps) {
        uint64_t most = one_in(3) ? between(10, 500) : between(500, 20000);
        fed += live(most < steps - fed ? most : steps - fed, trace);
    }
    printf("seed %" PRIu64 ": %" PRIu64 " steps, nothing broken\n", seed, fed);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 1, steps = 100000;
    bool trace = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            trace = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--steps") == 0)
            steps = strtoull(argv[++i], NULL, 10);
        else {
            fprintf(stderr, "usage: sim_random [--seed N] [--seeds COUNT] [--steps N] [--trace]\n");
            return 2;
        }
    }
    for (uint64_t i = 0; i < seeds; i++)
        history(seed + i, steps, trace);
    return 0;
}
