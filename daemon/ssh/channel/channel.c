/* SPDX-License-Identifier: MIT */
/* A connection's channels and the requests for them: opened step by step, held, taken, given up and closed; and the
 * ping. */
#include "daemon/ssh/channel/channel.h"

#include "base/state.h"
#include "daemon/ssh/channel/env.h"
#include "daemon/ssh/channel/preopen.h"
#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <assert.h>
#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the server may send on one channel before we read it: OpenSSH's own 2 MiB. Some servers break when a smaller one
 * is used up, and with 100 ms of round trip a quarter of a MiB is 2.5 MB/s. Readers may all stall at once, so that many
 * channels share WINDOWS_MAX, each new one getting a part of what is left. */
#define CHANNEL_WINDOW     (2u << 20)
#define CHANNEL_WINDOW_MIN (128u << 10)
#define WINDOWS_MAX        (64u << 20)
#define CHANNEL_PACKET     32768u

/* An open that nobody wants any more is given up after so long; the second must be over on the wall clock, too. */
#define GIVE_UP_MS 1100u

static const char ping_type[] = "ping@sshlease";

#define TO(state) SL_TO(SL_CHAN_##state)

static const struct sl_state states[] = {
    [SL_CHAN_NEW] = {"new", TO(ASKED) | TO(OPENING) | TO(USED) | TO(CLOSING)},
    [SL_CHAN_ASKED] = {"asked", TO(OPENING)},
    [SL_CHAN_OPENING] = {"opening", TO(REFUSED) | TO(HELD) | TO(USED) | TO(CLOSING)},
    [SL_CHAN_REFUSED] = {"refused", 0},
    [SL_CHAN_HELD] = {"held", TO(USED) | TO(CLOSING)},
    [SL_CHAN_USED] = {"used", TO(LIMBO) | TO(CLOSING)},
    [SL_CHAN_LIMBO] = {"limbo", 0},
    [SL_CHAN_CLOSING] = {"closing", 0},
};

static void set_state(struct sl_chan *chan, enum sl_chan_state state)
{
    SL_MOVE(states, chan->state, state);
}

/* Only sessions are counted: the server's limit and pre-opening are about those. */
static struct sl_chan *add_chan(
    struct sl_conn *conn, enum sl_chan_kind kind, LIBSSH2_CHANNEL *ch, enum sl_chan_state state)
{
    struct sl_chan *chan = calloc(1, sizeof *chan);
    if (chan != NULL) {
        chan->conn = conn;
        chan->kind = kind;
        chan->ch = ch;
        chan->number = SL_PACKET_TAP_NO_CHANNEL;
        set_state(chan, state);
        TAILQ_INSERT_TAIL(&conn->chans, chan, link);
        conn->chan_count += kind == SL_CHAN_SESSION;
    }
    return chan;
}

static void free_request(struct sl_chan *chan)
{
    if (chan->request != NULL) {
        free(chan->request->message);
        free(chan->request);
        chan->request = NULL;
    }
}

static void unlink_chan(struct sl_chan *chan)
{
    TAILQ_REMOVE(&chan->conn->chans, chan, link);
    chan->conn->chan_count -= chan->kind == SL_CHAN_SESSION;
    free_request(chan);
    free(chan);
}

/* --- draining --- */

static struct sl_chan *pump_channel(struct sl_conn *conn)
{
    struct sl_chan *chan, *best = NULL;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->ch != NULL && (best == NULL || chan->end < best->end))
            best = chan;
    }
    return best;
}

/* For the channel that is being opened. */
static uint32_t window_for(const struct sl_conn *conn)
{
    uint32_t used = 0;
    const struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        used += chan != conn->op_chan ? chan->window : 0;
    }
    uint32_t part = used < WINDOWS_MAX ? (WINDOWS_MAX - used) / 8 : 0;
    part = part < CHANNEL_WINDOW ? part : CHANNEL_WINDOW;
    return part > CHANNEL_WINDOW_MIN ? part : CHANNEL_WINDOW_MIN;
}

static int step_op(struct sl_conn *conn);

static void begin_op(struct sl_conn *conn, enum sl_op op, struct sl_chan *chan)
{
    conn->op = op;
    conn->op_chan = chan;
    conn->op_since_ms = sl_conn_now(conn);
    conn->op_commands = conn->commands;
}

/* False: out of memory. */
static bool open_session(struct sl_conn *conn)
{
    struct sl_chan *chan = add_chan(conn, SL_CHAN_SESSION, NULL, SL_CHAN_OPENING);
    if (chan == NULL)
        return false;
    begin_op(conn, SL_OP_OPEN, chan);
    chan->window = window_for(conn);
    conn->opened_last = SL_CHAN_SESSION;
    return true;
}

/* EAGAIN of libssh2 when the socket is dry. */
static int pump(struct sl_conn *conn)
{
    struct sl_chan *chan = pump_channel(conn);
    if (chan == NULL) {
        if (conn->op == SL_OP_NONE) {
            if (!conn->maybe_readable)
                return LIBSSH2_ERROR_EAGAIN;
            /* Nothing else of libssh2's reads a session without channels. */
            if (sl_compat_probe(conn->compat) != SL_PROBE_TCP)
                begin_op(conn, SL_OP_PING, NULL);
            else if (!open_session(conn))
                return LIBSSH2_ERROR_ALLOC;
        }
        return step_op(conn);
    }
    int r;
    if (chan->end == SL_CHAN_END_NONE) {
        r = libssh2_channel_wait_eof(chan->ch);
        if (r == 0)
            chan->end = SL_CHAN_END_EOF;
    } else if (chan->end == SL_CHAN_END_EOF) {
        r = libssh2_channel_wait_closed(chan->ch);
        if (r == 0)
            chan->end = SL_CHAN_END_CLOSE;
    } else {
        /* Every channel has been closed by the server: a read of nothing reads on until there is nothing. */
        ssize_t n = libssh2_channel_read_ex(chan->ch, 0, (char *)conn->transport->scratch, 0);
        r = n < 0 && n != LIBSSH2_ERROR_EAGAIN ? (int)n : LIBSSH2_ERROR_EAGAIN;
    }
    return r;
}

/* Every call here reads until RECV has nothing more, sends nothing and looks for no answer. They stop early where the
 * channel they were called for has reached what they wait for; then another one goes on. */
void sl_chan_pump(struct sl_conn *conn)
{
    for (;;) {
        int r = pump(conn);
        if (r == LIBSSH2_ERROR_EAGAIN)
            return;
        if (!sl_session_survives(r)) {
            sl_session_failed(conn, r);
            return;
        }
        if (conn->error != 0 || conn->phase != SL_CONN_PHASE_READY)
            return;
    }
}

/* --- the session-wide operation --- */

static void opened_direct(struct sl_chan *chan)
{
    bool cancelled = chan->request->cancelled;
    free_request(chan);
    set_state(chan, cancelled ? SL_CHAN_CLOSING : SL_CHAN_USED);
}

static void opened(struct sl_conn *conn, LIBSSH2_CHANNEL *ch)
{
    struct sl_chan *chan = conn->op_chan;
    conn->op = SL_OP_NONE;
    conn->op_chan = NULL;
    conn->progressed = true;
    chan->ch = ch;
    chan->number = conn->tap.opened;
    sl_preopen_answered(conn);
    if (chan->kind == SL_CHAN_DIRECT) {
        opened_direct(chan);
    } else {
        set_state(chan, SL_CHAN_HELD);
        sl_preopen_opened(conn);
    }
}

static void refused_direct(struct sl_chan *chan, const char *why)
{
    if (chan->request->cancelled) {
        unlink_chan(chan);
        return;
    }
    snprintf(chan->request->why, sizeof chan->request->why, "%s", why);
    set_state(chan, SL_CHAN_REFUSED);
}

static void refused(struct sl_conn *conn)
{
    struct sl_chan *chan = conn->op_chan;
    conn->op = SL_OP_NONE;
    conn->op_chan = NULL;
    conn->progressed = true;
    sl_preopen_answered(conn);
    if (chan->kind == SL_CHAN_DIRECT) {
        char why[sizeof chan->request->why];
        refused_direct(chan, sl_packet_tap_refusal(&conn->tap, why, sizeof why));
        return;
    }
    unlink_chan(chan);
    sl_preopen_refused(conn);
}

/* A server that connects into the void answers after two minutes; nothing else could be opened all the while. */
static uint64_t direct_deadline(const struct sl_conn *conn)
{
    return conn->op_chan->request->cancelled ? conn->op_since_ms + GIVE_UP_MS
                                             : conn->op_since_ms + conn->target->policy.connect_timeout_ms;
}

static LIBSSH2_CHANNEL *open_direct(struct sl_conn *conn)
{
    const struct sl_chan_request *request = conn->op_chan->request;
    bool late = sl_conn_now(conn) >= direct_deadline(conn);
    /* The one way to make libssh2 end its waiting. It never uses a channel's number twice, so that an answer that comes
     * later is nobody's. In whole seconds of its own clock. */
    libssh2_session_set_read_timeout(
        conn->session, late ? 1 : (long)(conn->target->policy.connect_timeout_ms / 1000) + 60);
    LIBSSH2_CHANNEL *ch = libssh2_channel_open_ex(conn->session, request->type, (unsigned)strlen(request->type),
        conn->op_chan->window, CHANNEL_PACKET, (const char *)request->message, (unsigned)request->message_len);
    libssh2_session_set_read_timeout(conn->session, 0);
    return ch;
}

static void gave_up(struct sl_conn *conn)
{
    struct sl_chan *chan = conn->op_chan;
    char why[64];
    conn->op = SL_OP_NONE;
    conn->op_chan = NULL;
    conn->progressed = true;
    if (chan->tenant != NULL)
        chan->tenant->orphans++;
    snprintf(why, sizeof why, "no answer within %g s", (double)conn->target->policy.connect_timeout_ms / 1000.0);
    refused_direct(chan, why);
}

static LIBSSH2_CHANNEL *open_channel(struct sl_conn *conn)
{
    if (conn->op == SL_OP_PING) {
        return libssh2_channel_open_ex(
            conn->session, ping_type, sizeof ping_type - 1, CHANNEL_WINDOW_MIN, CHANNEL_PACKET, NULL, 0);
    }
    conn->tap.opened = SL_PACKET_TAP_NO_CHANNEL;
    if (conn->op_chan->kind == SL_CHAN_DIRECT)
        return open_direct(conn);
    return libssh2_channel_open_ex(
        conn->session, "session", sizeof "session" - 1, conn->op_chan->window, CHANNEL_PACKET, NULL, 0);
}

/* 0 when it is over, whatever its result. */
static int step_op(struct sl_conn *conn)
{
    LIBSSH2_CHANNEL *ch = open_channel(conn);
    int r = ch != NULL ? 0 : libssh2_session_last_errno(conn->session);
    if (r == LIBSSH2_ERROR_EAGAIN)
        return r;
    if (r == LIBSSH2_ERROR_TIMEOUT && conn->op == SL_OP_OPEN && conn->op_chan->kind == SL_CHAN_DIRECT) {
        gave_up(conn);
        return 0;
    }
    if (r != 0 && r != LIBSSH2_ERROR_CHANNEL_FAILURE)
        return r != LIBSSH2_ERROR_NONE ? r : LIBSSH2_ERROR_PROTO;
    if (conn->op == SL_OP_OPEN) {
        if (ch != NULL)
            opened(conn, ch);
        else
            refused(conn);
        return 0;
    }
    conn->op = SL_OP_NONE;
    sl_preopen_answered(conn);
    sl_compat_saw_probe(conn->compat);
    if (ch != NULL) {
        /* A server that opens channels of any type; it is closed like one of ours. */
        if (add_chan(conn, SL_CHAN_SESSION, ch, SL_CHAN_CLOSING) == NULL)
            return LIBSSH2_ERROR_ALLOC;
    }
    return 0;
}

static uint32_t held(const struct sl_conn *conn)
{
    uint32_t count = 0;
    const struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        count += chan->kind == SL_CHAN_SESSION && (chan->state == SL_CHAN_HELD || chan->state == SL_CHAN_OPENING);
    }
    return count;
}

static struct sl_chan *first_asked(struct sl_conn *conn)
{
    struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->state == SL_CHAN_ASKED)
            break;
    }
    return chan;
}

bool sl_chan_may_ping(const struct sl_conn *conn)
{
    enum sl_probe probe = sl_compat_probe(conn->compat);
    const struct sl_chan *chan;
    if (probe != SL_PROBE_UNTRIED)
        return probe == SL_PROBE_UNKNOWN_TYPE;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->state == SL_CHAN_USED)
            return false;
    }
    return true;
}

static void start_op(struct sl_conn *conn, uint32_t needed)
{
    struct sl_chan *asked = first_asked(conn);
    bool session = sl_preopen_wanted(conn, held(conn), needed) > 0;
    bool pinged = conn->ping_after != UINT64_MAX || (sl_preopen_needs_proof(conn) && held(conn) > 0);
    if (pinged && sl_chan_may_ping(conn)) {
        begin_op(conn, SL_OP_PING, NULL);
    } else if (asked != NULL && (!session || conn->opened_last == SL_CHAN_SESSION)) { /* in turn */
        set_state(asked, SL_CHAN_OPENING);
        begin_op(conn, SL_OP_OPEN, asked);
        asked->window = window_for(conn);
        conn->opened_last = SL_CHAN_DIRECT;
    } else if (session) {
        sl_preopen_begin_trial(conn);
        /* Out of memory: tried again in the next tick; whoever waits for it has a deadline. */
        (void)open_session(conn);
    }
}

/* --- channels of another type --- */

struct sl_chan *sl_chan_ask(struct sl_tenant *tenant, const char *type, uint8_t *message, size_t message_len)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_chan_request *request = calloc(1, sizeof *request);
    struct sl_chan *chan = request != NULL ? add_chan(conn, SL_CHAN_DIRECT, NULL, SL_CHAN_ASKED) : NULL;
    if (chan == NULL) {
        free(request);
        free(message);
        return NULL;
    }
    request->type = type;
    request->message = message;
    request->message_len = message_len;
    chan->request = request;
    chan->tenant = tenant;
    sl_conn_schedule(conn);
    return chan;
}

void sl_chan_unask(struct sl_chan *chan)
{
    if (chan->state == SL_CHAN_OPENING) {
        chan->request->cancelled = true;
        sl_conn_schedule(chan->conn);
    } else {
        unlink_chan(chan);
    }
}

struct sl_chan *sl_chan_adopt(struct sl_conn *conn, struct sl_tenant *tenant, LIBSSH2_CHANNEL *ch)
{
    struct sl_chan *chan = add_chan(conn, SL_CHAN_FORWARDED, ch, SL_CHAN_USED);
    if (chan != NULL) {
        chan->tenant = tenant;
        chan->window = CHANNEL_WINDOW; /* libssh2's choice */
    }
    return chan;
}

/* --- using and closing --- */

struct sl_chan *sl_chan_take(struct sl_tenant *tenant)
{
    struct sl_chan *chan, *best = NULL;
    if (!sl_preopen_may_start(tenant->conn))
        return NULL;
    TAILQ_FOREACH(chan, &tenant->conn->chans, link)
    {
        /* One that the server has closed already is no use; one whose cookie is settled is the best. */
        if (chan->state == SL_CHAN_HELD && (best == NULL || chan->cookie > best->cookie) &&
            sl_chan_look(chan) == SL_CHAN_END_NONE)
            best = chan;
    }
    if (best != NULL) {
        best->tenant = tenant;
        set_state(best, SL_CHAN_USED);
    }
    return best;
}

void sl_chan_close(struct sl_chan *chan, bool unanswered)
{
    if (unanswered && chan->tenant != NULL)
        chan->tenant->tainted++;
    chan->question.is_out &= chan->cookie == SL_COOKIE_SENT; /* nobody waits for another one */
    set_state(chan, unanswered ? SL_CHAN_LIMBO : SL_CHAN_CLOSING);
    chan->conn->progressed = true;
}

void sl_chan_give_up(struct sl_chan *chan)
{
    chan->tenant = NULL;
    sl_chan_close(chan, false);
}

/* A channel may only be freed, and its number used again, when no answer is out that would be taken for another's. So a
 * cookie's answer is awaited first (the server's CLOSE comes behind it), and one in limbo stays until the end. */
int sl_chan_step_close(struct sl_chan *chan)
{
    struct sl_conn *conn = chan->conn;
    sl_chan_look(chan);
    if (chan->cookie == SL_COOKIE_SENT) {
        int r = sl_env_settle_cookie(chan);
        if (r == SL_E_CONNECTION_LOST || (r == SL_E_AGAIN && chan->end != SL_CHAN_END_CLOSE))
            return r;
    }
    int r = libssh2_channel_close(chan->ch);
    if (r == LIBSSH2_ERROR_EAGAIN)
        return SL_E_AGAIN;
    if (!sl_session_survives(r)) {
        sl_session_failed(conn, r);
        return SL_E_CONNECTION_LOST;
    }
    if (chan->state == SL_CHAN_LIMBO || libssh2_channel_free(chan->ch) == LIBSSH2_ERROR_EAGAIN)
        return SL_E_AGAIN;
    unlink_chan(chan);
    conn->progressed = true;
    return 0;
}

static void step_held(struct sl_chan *chan)
{
    struct sl_conn *conn = chan->conn;
    bool useless = chan->end != SL_CHAN_END_NONE || conn->serves == SL_SERVES_NOTHING;
    if (chan->exit != SL_EXIT_NONE)
        sl_preopen_mixed_up(conn);
    if (!useless && (chan->question.is_out || sl_preopen_marks(conn)))
        useless = sl_env_settle_cookie(chan) == SL_E_STREAM_REFUSED;
    if (useless) {
        sl_preopen_trial_failed(conn, "does not serve two at once");
        sl_chan_close(chan, false);
    }
}

void sl_chan_tick(struct sl_conn *conn, uint32_t needed)
{
    if (conn->op == SL_OP_NONE)
        start_op(conn, needed);
    if (conn->op != SL_OP_NONE) {
        int r = step_op(conn);
        if (!sl_session_survives(r)) {
            sl_session_failed(conn, r);
            return;
        }
        if (conn->op == SL_OP_NONE) {
            start_op(conn, needed);
            if (conn->op != SL_OP_NONE)
                (void)step_op(conn); /* sends it; an error shows again in the next round */
        }
    }
    struct sl_chan *chan, *next;
    for (chan = TAILQ_FIRST(&conn->chans); chan != NULL && conn->phase == SL_CONN_PHASE_READY; chan = next) {
        next = TAILQ_NEXT(chan, link);
        if (chan->state == SL_CHAN_HELD)
            step_held(chan);
        if (chan->state == SL_CHAN_LIMBO || chan->state == SL_CHAN_CLOSING)
            (void)sl_chan_step_close(chan);
    }
    sl_preopen_step(conn);
}

uint64_t sl_chan_deadline(const struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    uint64_t first = sl_env_deadline(conn), trial = sl_preopen_deadline(conn);
    first = first < trial ? first : trial;
    first = first > now ? first : now + 1;
    if (conn->op == SL_OP_OPEN && conn->op_chan->kind == SL_CHAN_DIRECT) {
        uint64_t deadline = direct_deadline(conn);
        deadline = deadline > now ? deadline : now + GIVE_UP_MS; /* libssh2's clock is not ours */
        return deadline < first ? deadline : first;
    }
    uint64_t retry = conn->op == SL_OP_NONE && conn->open_retry_ms > now ? conn->open_retry_ms : UINT64_MAX;
    return retry < first ? retry : first;
}

void sl_chan_forget_all(struct sl_conn *conn)
{
    struct sl_chan *chan, *next;
    for (chan = TAILQ_FIRST(&conn->chans); chan != NULL; chan = next) {
        next = TAILQ_NEXT(chan, link);
        unlink_chan(chan);
    }
    conn->op = SL_OP_NONE;
    conn->op_chan = NULL;
}
