/* SPDX-License-Identifier: MIT */
/* The way of a connection:
 *   1. RESOLVING, CONNECTING: dial.c gets a socket; meanwhile known_hosts is read in a worker
 *   2. HANDSHAKE: libssh2's handshake, step by step in a worker
 *   3. HOST_KEY: the key is compared; a new one may have to be written down first
 *   4. AUTH: auth.c
 *   5. READY: channels, until somebody closes it or it dies
 * Whatever happens is noted and done by the tick, which the transport runs once per turn of the loop at most; callbacks
 * come from the tick only. Whoever finds the connection broken calls sl_conn_die(); everything else follows from there.
 */
#include "daemon/ssh/conn.h"

#include "daemon/net/dial.h"
#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/env.h"
#include "daemon/ssh/channel/preopen.h"
#include "daemon/ssh/channel/remote.h"
#include "daemon/ssh/channel/stream.h"
#include "daemon/ssh/channel/stream_run.h"
#include "daemon/ssh/channel/tenant.h"
#include "daemon/ssh/keys/hostkey.h"
#include "daemon/ssh/login/auth.h"
#include "daemon/ssh/reclaim/reclaim.h"
#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes a connection may take from its socket in one turn of the loop. */
#define TURN_BUDGET 262144u
/* Rounds of a turn while something still moves. */
#define TURN_ROUNDS 4
/* What ends a connection at once shows within so long; a server that ends it after commands may take longer. */
#define PROBE_SOON_MS    2000u
#define AFTER_COMMAND_MS 2000u
/* TCP has no event for an acknowledgement: it is looked for so often. */
#define TCP_AGAIN_MS 250u

/* --- dialing --- */

/* A connection that was closed in the meantime forgets its dial in its next turn only. */
static void on_resolved(void *arg)
{
    struct sl_conn *conn = arg;
    if (conn->phase == SL_CONN_PHASE_RESOLVING)
        sl_conn_move(conn, SL_CONN_PHASE_CONNECTING);
}

static void on_connected(void *arg, int fd, const char *address)
{
    struct sl_conn *conn = arg;
    conn->dial = NULL;
    if (conn->phase != SL_CONN_PHASE_CONNECTING) {
        close(fd);
        return;
    }
    conn->login_deadline_ms = sl_conn_now(conn) + conn->target->policy.login_timeout_ms;
    conn->address = strdup(address);
    if (sl_io_open(conn, fd) != 0 || conn->address == NULL) {
        sl_conn_die(conn, SL_E_NOMEM, "out of memory");
        return;
    }
    conn->last_received_ms = sl_conn_now(conn);
    sl_conn_move(conn, SL_CONN_PHASE_HANDSHAKE);
}

static void on_dial_failed(void *arg, int status, const char *text)
{
    struct sl_conn *conn = arg;
    conn->dial = NULL;
    sl_conn_die(conn, status, "%s", text);
}

static const struct sl_dial_handler dial_handler = {on_resolved, on_connected, on_dial_failed};

static void on_known_hosts(void *arg)
{
    struct sl_conn *conn = arg;
    conn->basis.host_keys = sl_hostkey_basis(conn->hostkey);
    sl_conn_schedule(conn);
}

static void on_exit_seen(void *arg, uint32_t channel, enum sl_packet_tap_exit seen)
{
    static const enum sl_chan_exit means[] = {[SL_PACKET_TAP_STATUS] = SL_EXIT_STATUS_CAME,
        [SL_PACKET_TAP_SIGNAL] = SL_EXIT_SIGNAL_CAME,
        [SL_PACKET_TAP_SIGNAL_CORE] = SL_EXIT_CORE_DUMPED};
    sl_chan_saw_exit(arg, channel, means[seen]);
}

/* Unacknowledged data for as long as pings may stay unanswered is the end of a connection, too. */
static uint64_t user_timeout_ms(const struct sl_policy *policy)
{
    uint64_t ms = policy->server_alive_interval_ms * policy->server_alive_count_max;
    return ms > 0 && ms < 600000 ? ms : 120000;
}

int sl_conn_open(struct sl_transport *transport, struct sl_target_conf *target, struct sl_compat *compat,
    const struct sl_conn_handler *handler, void *arg, struct sl_conn **ret_conn)
{
    struct sl_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return SL_E_NOMEM;
    conn->transport = transport;
    conn->compat = compat;
    conn->handler = *handler;
    conn->arg = arg;
    conn->ping_after = UINT64_MAX;
    conn->slot_limit = UINT32_MAX;
    conn->login_deadline_ms = UINT64_MAX;
    conn->tap.on_exit = on_exit_seen;
    conn->tap.arg = conn;
    TAILQ_INIT(&conn->chans);
    TAILQ_INIT(&conn->streams);
    TAILQ_INIT(&conn->remotes);
    TAILQ_INIT(&conn->tenants);
    int r = sl_chan_make_cookie_base(conn);
    if (r != 0)
        goto err_alloc;
    r = sl_dial_start(transport->dialer, target->host, target->port, target->policy.connect_timeout_ms,
        user_timeout_ms(&target->policy), &dial_handler, conn, &conn->dial);
    if (r != 0)
        goto err_alloc;
    r = sl_hostkey_load(transport->loop, target, on_known_hosts, conn, &conn->hostkey);
    if (r != 0)
        goto err_dial;
    conn->target = sl_target_conf_ref(target);
    sl_io_init(conn);
    *ret_conn = conn;
    return 0;

err_dial:
    sl_dial_cancel(conn->dial);
err_alloc:
    free(conn);
    return r == SL_E_INTERNAL ? SL_E_NOMEM : r;
}

/* --- the phases' ticks --- */

static void check_login_deadline(struct sl_conn *conn)
{
    if (sl_conn_now(conn) < conn->login_deadline_ms || !sl_conn_is_dialing(conn))
        return;
    double seconds = (double)conn->target->policy.login_timeout_ms / 1000.0;
    if (conn->phase == SL_CONN_PHASE_AUTH)
        sl_conn_die(conn, SL_E_LOGIN_TIMEOUT, "logging in took longer than %g s%s", seconds, sl_auth_delay(conn->auth));
    else if (conn->offloop_step == NULL || conn->phase == SL_CONN_PHASE_HOST_KEY)
        sl_conn_die(conn, SL_E_LOGIN_TIMEOUT, "known_hosts could not be read or written within %g s", seconds);
    else if (conn->server == NULL)
        sl_conn_die(conn, SL_E_LOGIN_TIMEOUT, "the server did not answer the SSH handshake within %g s", seconds);
    else
        sl_conn_die(conn, SL_E_LOGIN_TIMEOUT, "the SSH handshake took longer than %g s", seconds);
}

/* Publishes what was received. Not while the session is off-loop: the counter of it is the worker's then. */
static void note_received(struct sl_conn *conn)
{
    if (conn->bytes_in != conn->received) {
        conn->received = conn->bytes_in;
        conn->last_received_ms = sl_conn_now(conn);
        if (conn->ping_after != UINT64_MAX && conn->received > conn->ping_after) {
            conn->ping_after = UINT64_MAX;
            conn->pending_callbacks |= SL_PENDING_PONG;
        }
    }
}

/* Whether a sign of life is asked for without a question to the server. Nor can there be an answer while what it has
 * sent is not read. */
static bool is_asked_by_tcp(const struct sl_conn *conn)
{
    return conn->ping_after != UINT64_MAX && (!sl_chan_may_ping(conn) || !sl_io_may_read(conn));
}

static void ask_tcp(struct sl_conn *conn)
{
    if (is_asked_by_tcp(conn) && sl_io_tcp_acknowledged(conn, 2 * conn->target->policy.validate_after_ms)) {
        conn->ping_after = UINT64_MAX;
        conn->pending_callbacks |= SL_PENDING_PONG;
    }
}

static void handshake_tick(struct sl_conn *conn)
{
    if (!sl_hostkey_loaded(conn->hostkey))
        return; /* the order of host-key algorithms depends on it */
    if (conn->offloop == SL_OFF_LOOP_DONE) {
        conn->offloop = SL_ON_LOOP;
        note_received(conn);
        int r = sl_session_handshake_result(conn, conn->offloop_result);
        if (r == 0) {
            sl_conn_move(conn, SL_CONN_PHASE_HOST_KEY);
            return;
        }
        if (r != SL_E_AGAIN)
            return; /* it has died */
    } else if (conn->offloop_step == NULL && sl_session_prepare(conn, sl_hostkey_keys(conn->hostkey)) != 0) {
        sl_conn_die(conn, SL_E_INTERNAL, "the SSH library refuses its settings");
        return;
    }
    if (conn->maybe_readable && sl_io_may_read(conn)) {
        sl_io_gate_open(conn, TURN_BUDGET);
        sl_io_step_offloop(conn, sl_session_handshake_step);
    }
}

static void on_key_checked(void *arg, int status, const char *text)
{
    struct sl_conn *conn = arg;
    if (conn->phase != SL_CONN_PHASE_HOST_KEY)
        return; /* too late */
    if (status != 0) {
        sl_conn_die(conn, status, "%s", text);
        return;
    }
    if (text[0] != '\0') {
        char name[SL_CONN_NAME_SIZE], quoted[800];
        sl_log(conn->transport->log, SL_LOG_WARNING, "ssh", "conn=%p host=%s text=%s", (void *)conn,
            sl_conn_name(conn, name, sizeof name), sl_log_quote(quoted, sizeof quoted, text));
    }
    conn->basis.host_keys = sl_hostkey_basis(conn->hostkey);
    sl_hostkey_free(conn->hostkey);
    conn->hostkey = NULL;
    if (sl_auth_new(conn, &conn->auth) != 0) {
        sl_conn_die(conn, SL_E_NOMEM, "out of memory");
        return;
    }
    sl_conn_move(conn, SL_CONN_PHASE_AUTH);
}

static void host_key_tick(struct sl_conn *conn)
{
    if (conn->fingerprint != NULL)
        return; /* being written down */
    size_t len;
    const uint8_t *key = sl_session_host_key(conn, &len);
    conn->fingerprint = key != NULL ? sl_key_fingerprint(key, len) : NULL;
    if (conn->fingerprint == NULL) {
        sl_conn_die(conn, SL_E_HANDSHAKE, "the server showed no host key");
        return;
    }
    sl_hostkey_check(conn->hostkey, key, len, on_key_checked, conn);
}

static void probe_by_tcp(struct sl_conn *conn)
{
    const struct sl_policy *policy = &conn->target->policy;
    uint64_t interval_ms = policy->server_alive_interval_ms;
    if (interval_ms == 0 || policy->validate_after_ms < interval_ms)
        interval_ms = policy->validate_after_ms;
    sl_io_tcp_keepalive(conn, interval_ms, policy->server_alive_count_max);
}

static void auth_tick(struct sl_conn *conn)
{
    int r = sl_auth_tick(conn->auth);
    if (conn->offloop == SL_ON_LOOP)
        note_received(conn);
    if (r == 0) {
        sl_auth_free(conn->auth);
        conn->auth = NULL;
        conn->tap.unwiped = true;
        conn->compat_number = sl_compat_meet(conn->compat, conn->server != NULL ? conn->server : "");
        if (sl_compat_probe(conn->compat) != SL_PROBE_UNKNOWN_TYPE)
            probe_by_tcp(conn);
        conn->pending_callbacks |= SL_PENDING_READY;
        sl_conn_move(conn, SL_CONN_PHASE_READY);
    }
}

static void ready_tick(struct sl_conn *conn)
{
    sl_io_gate_shut(conn);
    size_t budget = TURN_BUDGET;
    for (int round = 0; round < TURN_ROUNDS && conn->phase == SL_CONN_PHASE_READY; round++) {
        uint64_t before = conn->bytes_in;
        conn->progressed = false;
        sl_io_gate_open(conn, budget);
        sl_remote_pump(conn);
        if (conn->phase == SL_CONN_PHASE_READY)
            sl_chan_pump(conn);
        sl_io_gate_shut(conn);
        budget -= (size_t)(conn->bytes_in - before);
        note_received(conn);
        if (conn->phase != SL_CONN_PHASE_READY)
            return;
        sl_chan_tick(conn, sl_stream_waiting(conn) + sl_reclaim_needs_channels(conn));
        sl_stream_tick(conn);
        sl_remote_tick(conn);
        sl_reclaim_tick(conn);
        ask_tcp(conn);
        if (conn->serves != SL_SERVES_COMMANDS && TAILQ_EMPTY(&conn->tenants) && conn->phase == SL_CONN_PHASE_READY)
            sl_conn_die(conn, SL_E_CONNECTION_LOST, "of no more use: the server serves no more commands on it");
        if (conn->error != 0 && conn->phase == SL_CONN_PHASE_READY)
            sl_session_lost(conn);
        if (!conn->progressed)
            break;
    }
    if (conn->progressed || (conn->maybe_readable && sl_io_may_read(conn)))
        sl_conn_schedule(conn); /* the rest after the others */
}

/* --- the end --- */

static void on_gone(struct sl_conn *conn)
{
    sl_conn_move(conn, SL_CONN_PHASE_CLOSED);
    sl_conn_unschedule(conn);
    struct sl_conn_handler handler = conn->handler;
    void *arg = conn->arg;
    sl_target_conf_unref(conn->target);
    free(conn->address);
    free(conn->server);
    free(conn->fingerprint);
    free(conn->lost_text);
    free(conn->disconnect_text);
    sl_session_forget_offer(conn);
    free(conn);
    handler.on_closed(arg);
}

static void free_tenants(struct sl_conn *conn)
{
    struct sl_tenant *tenant;
    while ((tenant = TAILQ_FIRST(&conn->tenants)) != NULL) {
        sl_reclaim_free(tenant);
        sl_tenant_free(tenant); /* NOLINT(clang-analyzer-unix.Malloc): it unlinks itself */
    }
}

static void closing_tick(struct sl_conn *conn)
{
    sl_remote_end_all(conn);
    sl_stream_end_all(conn, "the connection was closed");
    if (uv_is_closing((uv_handle_t *)&conn->timer))
        return;
    free_tenants(conn);
    sl_dial_cancel(conn->dial);
    conn->dial = NULL;
    sl_hostkey_free(conn->hostkey);
    conn->hostkey = NULL;
    sl_auth_free(conn->auth);
    conn->auth = NULL;
    if (conn->session != NULL && conn->error == 0 && conn->fingerprint != NULL) {
        sl_session_say_goodbye(conn);
        sl_io_flush(conn);
    }
    sl_chan_forget_all(conn);
    sl_io_close(conn, on_gone);
}

/* The server has ended it, not the network. */
static bool was_ended_by_server(const struct sl_conn *conn)
{
    return conn->session != NULL && (conn->disconnect_text != NULL || conn->error == ENODATA ||
                                        conn->error == ECONNRESET || conn->error == EPIPE);
}

/* The server has ended the connection: what it was asked last may have been why. */
static void learn_of_end(struct sl_conn *conn)
{
    bool pinging = conn->op == SL_OP_PING && sl_conn_now(conn) - conn->op_since_ms < PROBE_SOON_MS;
    if (!sl_preopen_lost(conn) && !sl_env_lost(conn) && pinging && sl_compat_is(conn->compat, conn->compat_number) &&
        sl_compat_saw_probe_fail(conn->compat, "ends the connection on a channel of an unknown type"))
        sl_conn_learned(conn);
}

/* A lease of which nothing is under way goes on elsewhere: where a command of it waits, or nothing has been started by
 * it, or the server is one that ends connections after commands. */
static void save_tenants(struct sl_conn *conn, bool by_server)
{
    struct sl_tenant *tenant;
    bool after_command = by_server && conn->commands > 0 && sl_conn_now(conn) - conn->command_end_ms < AFTER_COMMAND_MS;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        if (tenant->sessions > 0 || tenant->started == 0 || after_command)
            (void)sl_tenant_crowd(tenant);
    }
}

static void mourn(struct sl_conn *conn)
{
    bool by_server = was_ended_by_server(conn);
    if ((conn->pending_callbacks & SL_PENDING_LOST) == 0)
        return; /* everything was said */
    if (by_server && conn->compat_number != SL_COMPAT_NONE)
        learn_of_end(conn);
    save_tenants(conn, by_server);
    if ((conn->pending_callbacks & SL_PENDING_CROWDED) != 0) {
        conn->pending_callbacks &= ~SL_PENDING_CROWDED;
        sl_tenant_report(conn);
    }
}

/* The handler's pending callbacks, each at most once; any of them may close the connection. */
static void deliver(struct sl_conn *conn)
{
    if (conn->phase == SL_CONN_PHASE_DEAD) {
        mourn(conn);
        sl_reclaim_lost(conn);
        sl_remote_end_all(conn);
        sl_stream_end_lost(conn, conn->lost_text != NULL ? conn->lost_text : "the connection was lost");
    }
    while (conn->pending_callbacks != 0 && conn->phase != SL_CONN_PHASE_CLOSING) {
        unsigned now = conn->pending_callbacks & ~(conn->pending_callbacks - 1); /* the lowest first */
        conn->pending_callbacks &= ~now;
        if (now == SL_PENDING_READY) {
            conn->handler.on_ready(conn->arg);
        } else if (now == SL_PENDING_ANSWERED) {
            conn->handler.on_answered(conn->arg);
        } else if (now == SL_PENDING_LOST) {
            conn->handler.on_lost(conn->arg, conn->lost_status,
                conn->lost_text != NULL ? conn->lost_text : sl_status_text(conn->lost_status));
        } else if (now == SL_PENDING_PONG) {
            conn->handler.on_pong(conn->arg);
        } else if (now == SL_PENDING_DRAINED) {
            sl_reclaim_report(conn);
        } else if (now == SL_PENDING_CROWDED) {
            sl_tenant_report(conn);
        }
    }
}

static uint64_t next_deadline(const struct sl_conn *conn)
{
    if (conn->phase == SL_CONN_PHASE_READY) {
        uint64_t chan = sl_chan_deadline(conn), stream = sl_stream_deadline(conn), reclaim = sl_reclaim_deadline(conn);
        uint64_t first = chan < stream ? chan : stream;
        uint64_t tcp = is_asked_by_tcp(conn) ? sl_conn_now(conn) + TCP_AGAIN_MS : UINT64_MAX;
        first = first < tcp ? first : tcp;
        return first < reclaim ? first : reclaim;
    }
    return sl_conn_is_dialing(conn) ? conn->login_deadline_ms : UINT64_MAX;
}

void sl_conn_tick(struct sl_conn *conn)
{
    if (conn->offloop == SL_OFF_LOOP)
        return; /* the worker's return schedules the next one */
    check_login_deadline(conn);
    switch (conn->phase) {
    case SL_CONN_PHASE_HANDSHAKE:
        handshake_tick(conn);
        break;
    case SL_CONN_PHASE_HOST_KEY:
        host_key_tick(conn);
        break;
    case SL_CONN_PHASE_AUTH:
        auth_tick(conn);
        break;
    case SL_CONN_PHASE_READY:
        ready_tick(conn);
        break;
    default:
        break;
    }
    deliver(conn);
    if (conn->phase == SL_CONN_PHASE_CLOSING) {
        conn->offloop = SL_ON_LOOP;
        closing_tick(conn);
        return;
    }
    if (conn->offloop == SL_OFF_LOOP)
        return;
    sl_io_flush(conn);
    if (conn->error != 0)
        sl_session_lost(conn); /* moving to DEAD has asked for the next tick; nothing is polled for any more */
    sl_io_watch(conn, conn->phase == SL_CONN_PHASE_READY ||
                          (conn->phase == SL_CONN_PHASE_AUTH && sl_auth_wants_read(conn->auth)) ||
                          (conn->phase == SL_CONN_PHASE_HANDSHAKE && sl_hostkey_loaded(conn->hostkey)));
    sl_io_wake_at(conn, next_deadline(conn));
}

/* --- what the daemon asks --- */

bool sl_conn_is_spent(const struct sl_conn *conn)
{
    return conn->phase != SL_CONN_PHASE_READY || conn->serves != SL_SERVES_COMMANDS || sl_preopen_uses_left(conn) == 0;
}

/* It is closed, perhaps because a ping was not answered: a server that is there and says nothing minds it. */
static void learn_of_silence(struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    if (conn->phase == SL_CONN_PHASE_READY && conn->op == SL_OP_PING && conn->error == 0 &&
        now - conn->op_since_ms >= PROBE_SOON_MS && conn->last_received_ms < conn->op_since_ms &&
        sl_io_tcp_acknowledged(conn, now - conn->op_since_ms) && sl_compat_is(conn->compat, conn->compat_number) &&
        sl_compat_saw_probe_fail(conn->compat, "does not answer a channel of an unknown type"))
        sl_conn_learned(conn);
}

void sl_conn_close(struct sl_conn *conn)
{
    if (!sl_conn_is_closing(conn)) {
        learn_of_silence(conn);
        sl_conn_move(conn, SL_CONN_PHASE_CLOSING);
    }
}

void sl_conn_ping(struct sl_conn *conn)
{
    if (conn->phase == SL_CONN_PHASE_READY && conn->ping_after == UINT64_MAX) {
        conn->ping_after = conn->received;
        sl_conn_schedule(conn);
    }
}

uint64_t sl_conn_last_received_ms(const struct sl_conn *conn)
{
    return conn->last_received_ms;
}

void sl_conn_info(const struct sl_conn *conn, struct sl_conn_info *ret_info)
{
    *ret_info = (struct sl_conn_info){
        .server = conn->server != NULL ? conn->server : "",
        .fingerprint = conn->fingerprint != NULL ? conn->fingerprint : "",
        .address = conn->address != NULL ? conn->address : "",
        .bytes_in = conn->received,
        .bytes_out = conn->bytes_out,
        .streams = conn->stream_count,
        .stream_limit = sl_preopen_stream_limit(conn),
    };
}
