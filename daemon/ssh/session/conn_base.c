/* SPDX-License-Identifier: MIT */
/* The phases of a connection with their setter, its name for the log, and its tick on the loop. */
#include "daemon/ssh/session/conn_base.h"

#include "base/state.h"
#include "daemon/ssh/session/compat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TO(phase) SL_TO(SL_CONN_PHASE_##phase)

static const struct sl_state phases[] = {
    [SL_CONN_PHASE_RESOLVING] = {"resolving", TO(CONNECTING) | TO(DEAD) | TO(CLOSING)},
    [SL_CONN_PHASE_CONNECTING] = {"connecting", TO(HANDSHAKE) | TO(DEAD) | TO(CLOSING)},
    [SL_CONN_PHASE_HANDSHAKE] = {"handshake", TO(HOST_KEY) | TO(DEAD) | TO(CLOSING)},
    [SL_CONN_PHASE_HOST_KEY] = {"host-key", TO(AUTH) | TO(DEAD) | TO(CLOSING)},
    [SL_CONN_PHASE_AUTH] = {"auth", TO(READY) | TO(DEAD) | TO(CLOSING)},
    [SL_CONN_PHASE_READY] = {"ready", TO(DEAD) | TO(CLOSING)},
    [SL_CONN_PHASE_DEAD] = {"dead", TO(CLOSING)},
    [SL_CONN_PHASE_CLOSING] = {"closing", TO(CLOSED)},
    [SL_CONN_PHASE_CLOSED] = {"closed", 0},
};

const char *sl_conn_name(const struct sl_conn *conn, char *buf, size_t size)
{
    const char *host = conn->target->host;
    snprintf(buf, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, (unsigned)conn->target->port);
    return buf;
}

void sl_conn_basis(const struct sl_conn *conn, struct sl_basis *ret_basis)
{
    *ret_basis = conn->basis;
}

uint64_t sl_conn_now(const struct sl_conn *conn)
{
    return uv_now(conn->transport->loop);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being active keeps the poll from waiting; the check does the work */
}

void sl_conn_schedule(struct sl_conn *conn)
{
    struct sl_transport *transport = conn->transport;
    if (conn->phase != SL_CONN_PHASE_CLOSED && conn->run_link.tqe_prev == NULL) {
        TAILQ_INSERT_TAIL(&transport->run, conn, run_link);
        if (!uv_is_active((uv_handle_t *)&transport->idle))
            uv_idle_start(&transport->idle, on_idle);
    }
}

void sl_conn_unschedule(struct sl_conn *conn)
{
    struct sl_transport *transport = conn->transport;
    if (conn->run_link.tqe_prev != NULL) {
        TAILQ_REMOVE(&transport->run, conn, run_link);
        conn->run_link.tqe_prev = NULL;
        if (TAILQ_EMPTY(&transport->run))
            uv_idle_stop(&transport->idle); /* or the loop would never rest again */
    }
}

void sl_conn_learned(struct sl_conn *conn)
{
    char name[SL_CONN_NAME_SIZE], what[512];
    sl_log(conn->transport->log, SL_LOG_NOTICE, "ssh", "target=%s host=%s learned=\"%s\"", conn->target->name,
        sl_conn_name(conn, name, sizeof name), sl_compat_describe(conn->compat, sl_conn_now(conn), what, sizeof what));
}

void sl_conn_move(struct sl_conn *conn, enum sl_conn_phase to)
{
    char name[SL_CONN_NAME_SIZE];
    sl_log(conn->transport->log, SL_LOG_DEBUG, "ssh", "conn=%p host=%s %s -> %s", (void *)conn,
        sl_conn_name(conn, name, sizeof name), phases[conn->phase].name, phases[to].name);
    SL_MOVE(phases, conn->phase, to);
    sl_conn_schedule(conn);
}

void sl_conn_die(struct sl_conn *conn, int status, const char *format, ...)
{
    if (conn->phase == SL_CONN_PHASE_DEAD || sl_conn_is_closing(conn))
        return;
    char name[SL_CONN_NAME_SIZE], why[768];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (conn->long_command > 0) {
        size_t len = strlen(why);
        snprintf(why + len, sizeof why - len, " (on a command of %zu bytes, which may be too long for it)",
            conn->long_command);
    }
    size_t size = strlen(why) + sizeof name + 3;
    conn->lost_text = malloc(size);
    if (conn->lost_text != NULL)
        snprintf(conn->lost_text, size, "%s: %s", sl_conn_name(conn, name, sizeof name), why);
    conn->lost_status = status;
    if (conn->error == 0)
        conn->error = ECONNABORTED;
    conn->pending_callbacks |= SL_PENDING_LOST;
    sl_conn_move(conn, SL_CONN_PHASE_DEAD);
}
