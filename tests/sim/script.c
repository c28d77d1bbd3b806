/* SPDX-License-Identifier: MIT */
/* Takes the words of a scenario apart and sets the world up, or feeds it, as they say. */
#include "tests/sim/script.h"

#include "proto/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sl_policy sim_default_policy(void)
{
    return (struct sl_policy){
        .max_connections = 4,
        .streams = 8,
        .sharing = 1,
        .handshakes = 4,
        .waiters = 64,
        .acquire_timeout_ms = 30000,
        .acquire_notice_ms = 5000,
        .connect_timeout_ms = 10000,
        .login_timeout_ms = 30000,
        .idle_timeout_ms = 300000,
        .max_lifetime_ms = 3600000,
        .server_alive_count_max = 3,
        .validate_after_ms = 30000,
        .validate_timeout_ms = 5000,
        .lease_timeout_ms = 900000,
        .max_lease_ms = 14400000,
        .kill_grace_ms = 2000,
        .retry_min_ms = 1000,
        .retry_max_ms = 60000,
        .auth_retry_ms = 600000,
    };
}

struct sl_limits sim_default_limits(void)
{
    return (struct sl_limits){
        .clients = 1000, .connections = 1000, .handshakes = 32, .targets = 1000, .shutdown_drain_ms = 60000};
}

__attribute__((noreturn, format(printf, 1, 2))) static void bad(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("script: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

/* --- key=value --- */

struct key {
    const char *name;
    size_t offset;
    enum { U32, U64, BOOL } type;
};

static const struct key policy_keys[] = {
    {"max", offsetof(struct sl_policy, max_connections), U32},
    {"sharing", offsetof(struct sl_policy, sharing), U32},
    {"min_idle", offsetof(struct sl_policy, min_idle), U32},
    {"handshakes", offsetof(struct sl_policy, handshakes), U32},
    {"waiters", offsetof(struct sl_policy, waiters), U32},
    {"acquire", offsetof(struct sl_policy, acquire_timeout_ms), U64},
    {"notice", offsetof(struct sl_policy, acquire_notice_ms), U64},
    {"connect", offsetof(struct sl_policy, connect_timeout_ms), U64},
    {"login", offsetof(struct sl_policy, login_timeout_ms), U64},
    {"idle", offsetof(struct sl_policy, idle_timeout_ms), U64},
    {"lifetime", offsetof(struct sl_policy, max_lifetime_ms), U64},
    {"alive", offsetof(struct sl_policy, server_alive_interval_ms), U64},
    {"count", offsetof(struct sl_policy, server_alive_count_max), U32},
    {"validate", offsetof(struct sl_policy, validate_after_ms), U64},
    {"validate_timeout", offsetof(struct sl_policy, validate_timeout_ms), U64},
    {"lease", offsetof(struct sl_policy, lease_timeout_ms), U64},
    {"max_lease", offsetof(struct sl_policy, max_lease_ms), U64},
    {"grace", offsetof(struct sl_policy, kill_grace_ms), U64},
    {"retry", offsetof(struct sl_policy, retry_min_ms), U64},
    {"retry_max", offsetof(struct sl_policy, retry_max_ms), U64},
    {"auth_retry", offsetof(struct sl_policy, auth_retry_ms), U64},
    {"shared", offsetof(struct sl_policy, owners_shared), BOOL},
    {NULL, 0, U32},
};

static const struct key server_keys[] = {
    {"dial", offsetof(struct server, dial_ms), U64},
    {"stall", offsetof(struct server, dial_stalls), BOOL},
    {"hangup", offsetof(struct server, hangup_ms), U64},
    {"pong", offsetof(struct server, pong_ms), U64},
    {"deaf", offsetof(struct server, deaf), BOOL},
    {"drain", offsetof(struct server, drain_ms), U64},
    {"drain_stall", offsetof(struct server, drain_stalls), BOOL},
    {"close", offsetof(struct server, close_ms), U64},
    {NULL, 0, U32},
};

static const struct key limit_keys[] = {
    {"connections", offsetof(struct sl_limits, connections), U32},
    {"handshakes", offsetof(struct sl_limits, handshakes), U32},
    {"clients", offsetof(struct sl_limits, clients), U32},
    {NULL, 0, U32},
};

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (end == text || *end != '\0')
        bad("'%s' is not a number", text);
    return n;
}

static bool set(const struct key *keys, void *object, const char *name, const char *value)
{
    for (; keys->name != NULL; keys++) {
        if (strcmp(keys->name, name) != 0)
            continue;
        char *at = (char *)object + keys->offset;
        if (keys->type == U32)
            *(uint32_t *)(void *)at = (uint32_t)number(value);
        else if (keys->type == U64)
            *(uint64_t *)(void *)at = number(value);
        else
            *(bool *)(void *)at = number(value) != 0;
        return true;
    }
    return false;
}

static int status_of(const char *name)
{
    for (int code = 0; code > -100; code--)
        if (strcmp(sl_status_name(code), name) == 0)
            return code;
    bad("'%s' is not a status", name);
}

/* "key=value": cuts it in two. */
static char *split(char *word)
{
    char *value = strchr(word, '=');
    if (value == NULL)
        bad("'%s' is not key=value", word);
    *value = '\0';
    return value + 1;
}

static bool set_server(struct server *server, const char *name, const char *value)
{
    if (strcmp(name, "fail") == 0) {
        server->dial_status = status_of(value);
        return true;
    }
    return set(server_keys, server, name, value);
}

/* --- configurations --- */

static uint32_t target_of(struct world *w, const char *name, bool may_be_new)
{
    for (uint32_t i = 0; i < WORLD_TARGETS; i++) {
        if (strcmp(w->target_name[i], name) == 0)
            return i;
        if (w->target_name[i][0] == '\0') {
            if (!may_be_new)
                break;
            snprintf(w->target_name[i], sizeof w->target_name[i], "%s", name);
            return i;
        }
    }
    bad("there is no target '%s', or there are too many", name);
}

void sim_targets(struct world *w, const char *text)
{
    struct sl_limits limits = sim_default_limits();
    struct sl_pool_target targets[WORLD_TARGETS];
    size_t count = 0;
    char *copy = strdup(text), *save_part = NULL;
    for (char *part = strtok_r(copy, ";", &save_part); part != NULL; part = strtok_r(NULL, ";", &save_part)) {
        char *save_word = NULL;
        char *name = strtok_r(part, " :\n", &save_word);
        if (name == NULL)
            continue;
        bool is_target = strcmp(name, "limits") != 0;
        if (is_target)
            targets[count] = (struct sl_pool_target){
                .target = target_of(w, name, true), .identity = 1, .retry_epoch = 1, .policy = sim_default_policy()};
        for (char *word; (word = strtok_r(NULL, " \n", &save_word)) != NULL;) {
            char *value = split(word);
            if (is_target && strcmp(word, "id") == 0)
                targets[count].identity = number(value);
            else if (is_target && strcmp(word, "retry_epoch") == 0)
                targets[count].retry_epoch = number(value);
            else if (is_target ? !set(policy_keys, &targets[count].policy, word, value) &&
                                     !set_server(&w->server[targets[count].target], word, value)
                               : !set(limit_keys, &limits, word, value))
                bad("'%s' is not known here", word);
        }
        count += is_target;
    }
    free(copy);
    world_configure(w, &limits, targets, count);
}

/* --- commands --- */

static void do_client(struct world *w, uint32_t client, char **save)
{
    char *verb = strtok_r(NULL, " \n", save);
    if (client >= WORLD_CLIENTS || verb == NULL)
        bad("c%u does what?", client);
    char *target = strcmp(verb, "acquire") == 0 ? strtok_r(NULL, " \n", save) : NULL;
    uint64_t owner = 0, timeout = 0, lease = 0;
    struct sl_event more = {.clean = true};
    for (char *word; (word = strtok_r(NULL, " \n", save)) != NULL;) {
        if (strcmp(word, "unclean") == 0) {
            more.clean = false;
            continue;
        }
        if (strcmp(word, "spent") == 0) {
            more.spent = true;
            continue;
        }
        if (strcmp(word, "patient") == 0) {
            more.patient = true;
            continue;
        }
        if (strcmp(word, "lost") == 0) {
            more.status = SL_E_CONNECTION_LOST;
            continue;
        }
        uint64_t value = number(split(word));
        if (strcmp(word, "owner") == 0)
            owner = value;
        else if (strcmp(word, "timeout") == 0)
            timeout = value;
        else if (strcmp(word, "lease") == 0)
            lease = value;
        else
            bad("'%s' is not known here", word);
    }
    if (target != NULL)
        world_acquire(w, client, target_of(w, target, false), owner, timeout, lease, more.patient);
    else if (strcmp(verb, "release") == 0) {
        more.type = SL_EV_RELEASE;
        world_lease_event(w, client, more);
    } else if (strcmp(verb, "displaced") == 0) {
        more.type = SL_EV_DISPLACED;
        world_lease_event(w, client, more);
    } else if (strcmp(verb, "renew") == 0)
        world_client(w, client, SL_EV_RENEW, false, lease);
    else if (strcmp(verb, "revoke") == 0)
        world_client(w, client, SL_EV_REVOKE, false, 0);
    else if (strcmp(verb, "disallow") == 0)
        w->client[client].revoke = SL_E_NOT_ALLOWED;
    else if (strcmp(verb, "unname") == 0)
        w->client[client].revoke = SL_E_NO_TARGET;
    else if (strcmp(verb, "crowded") == 0)
        world_client(w, client, SL_EV_CROWDED, false, 0);
    else if (strcmp(verb, "gone") == 0)
        world_client(w, client, SL_EV_CLIENT_GONE, false, 0);
    else
        bad("a client cannot '%s'", verb);
}

static void do_conn(struct world *w, const char *name, char **save)
{
    char *verb = strtok_r(NULL, " \n", save);
    struct world_conn *conn = NULL;
    for (uint32_t i = 0; i < WORLD_CONNS; i++) {
        char full[32];
        snprintf(full, sizeof full, "%s.%u", w->target_name[w->conn[i].target], w->conn[i].number);
        if (w->conn[i].number > 0 && strcmp(full, name) == 0)
            conn = &w->conn[i];
    }
    if (conn == NULL || verb == NULL)
        bad("there is no connection '%s', or nothing to do to it", name);
    if (strcmp(verb, "lost") == 0)
        world_conn_event(w, conn->id, SL_EV_CONN_LOST, SL_E_CONNECTION_LOST);
    else if (strcmp(verb, "alive") == 0)
        world_conn_event(w, conn->id, SL_EV_CONN_ALIVE, 0);
    else if (strcmp(verb, "gone") == 0)
        world_conn_event(w, conn->id, SL_EV_CONN_GONE, 0);
    else if (strcmp(verb, "deaf") == 0)
        conn->deaf = true;
    else
        bad("a connection cannot be '%s'", verb);
}

static void do_shutdown(struct world *w, char **save)
{
    struct sl_event ev = {.type = SL_EV_SHUTDOWN, .drain_ms = w->limits.shutdown_drain_ms};
    for (char *word; (word = strtok_r(NULL, " \n", save)) != NULL;)
        if (strcmp(word, "now") == 0)
            ev.type = SL_EV_SHUTDOWN_NOW;
        else
            ev.drain_ms = number(split(word));
    world_step(w, ev);
}

void sim_do(struct world *w, const char *text)
{
    char *copy = strdup(text), *save_part = NULL;
    for (char *part = strtok_r(copy, ";", &save_part); part != NULL; part = strtok_r(NULL, ";", &save_part)) {
        char *save = NULL, *word = strtok_r(part, " \n", &save), *end;
        if (word == NULL)
            continue;
        if (word[0] == 'c' && word[1] >= '0' && word[1] <= '9') {
            unsigned long client = strtoul(word + 1, &end, 10);
            do_client(w, (uint32_t)client, &save);
        } else if (strcmp(word, "server") == 0) {
            struct server *server = &w->server[target_of(w, strtok_r(NULL, " \n", &save), false)];
            while ((word = strtok_r(NULL, " \n", &save)) != NULL) {
                char *value = split(word);
                if (!set_server(server, word, value))
                    bad("'%s' is not known here", word);
            }
        } else if (strcmp(word, "reset") == 0) {
            struct sl_event ev = {.type = SL_EV_RESET, .target = target_of(w, strtok_r(NULL, " \n", &save), false)};
            if ((word = strtok_r(NULL, " \n", &save)) != NULL)
                ev.owner = number(split(word));
            world_step(w, ev);
        } else if (strcmp(word, "shutdown") == 0) {
            do_shutdown(w, &save);
        } else {
            do_conn(w, word, &save);
        }
    }
    free(copy);
}

void sim_warm(struct world *w)
{
    for (size_t i = 0; i < w->target_count; i++) {
        uint32_t target = w->targets[i].target;
        struct server *server = &w->server[target], as_it_is = *server;
        *server = (struct server){0};
        world_acquire(w, 0, target, 0, 0, 0, false);
        sim_run_until(w, w->now_ms);
        struct sl_id conn = w->client[0].conn;
        world_conn_event(w, conn, SL_EV_CONN_ALIVE, 0);
        world_client(w, 0, SL_EV_RELEASE, true, 0);
        world_conn_event(w, conn, SL_EV_CONN_GONE, 0);
        *server = as_it_is;
        w->dials[target] = 0;
    }
    sim_run_until(w, w->now_ms);
    world_trace_clear(w);
}

struct world *sim_new(void)
{
    struct sl_limits limits = sim_default_limits();
    struct world *w = world_new(1, &limits);
    memset(w->target_name, 0, sizeof w->target_name);
    w->tracing = true;
    return w;
}
