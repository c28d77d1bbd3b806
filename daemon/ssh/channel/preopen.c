/* SPDX-License-Identifier: MIT */
/* With a channel that is open already a command costs one round trip instead of three. But some servers end the
 * connection when a second session is opened, or forget the first, and some end it after each command. So nothing is
 * opened beside a command, and no command sent after another, before the server was seen to take it; that is found out
 * once for each target, when no command is at stake. */
#include "daemon/ssh/channel/preopen.h"

#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/env.h"
#include "daemon/ssh/channel/tenant.h"
#include "daemon/ssh/session/compat.h"

/* sshd keeps the slot of a closed session until its child is gone, so a refusal may be over in a moment. */
#define REFUSALS_MAX        7
#define REFUSALS_MAX_SHARED 3 /* where a lease may go elsewhere instead of waiting */
#define REFUSAL_FIRST_MS    10u
#define LIMIT_REMEMBERED_MS 60000u
/* Held at most: a command a round trip is all that one connection can take in turn, opening takes as long. */
#define PREOPEN_MAX 3u
/* A second session is opened, and answers, within so long, or it is not. */
#define TRIAL_MS 2000u
/* What ends a connection at once shows within so long. */
#define SOON_MS 2000u
/* From a command's end to the next one, on the first connection to a target. */
#define QUARANTINE_MS 500u

uint32_t sl_preopen_slot_limit(const struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    uint32_t own = now < conn->slot_limit_until_ms ? conn->slot_limit : UINT32_MAX;
    uint32_t seen = sl_compat_session_limit(conn->compat, now);
    return seen < own ? seen : own;
}

uint32_t sl_preopen_stream_limit(const struct sl_conn *conn)
{
    uint32_t limit = conn->target->policy.streams, seen = sl_preopen_slot_limit(conn);
    if (sl_compat_sessions(conn->compat) == SL_SESSIONS_ONE)
        return 1;
    uint32_t uses = sl_preopen_uses_left(conn);
    limit = uses < limit ? uses : limit;
    return seen < limit ? seen : limit;
}

uint32_t sl_preopen_uses_left(const struct sl_conn *conn)
{
    uint32_t most = conn->target->policy.max_uses, seen = sl_compat_uses(conn->compat, sl_conn_now(conn));
    most = most == 0 || seen < most ? seen : most;
    if (most == UINT32_MAX)
        return UINT32_MAX;
    return most > conn->commands ? most - conn->commands : 0;
}

static uint32_t room_left(const struct sl_conn *conn)
{
    uint32_t limit = sl_preopen_slot_limit(conn), uses = sl_preopen_uses_left(conn);
    limit = uses < limit ? uses : limit;
    return limit > conn->chan_count ? limit - conn->chan_count : 0;
}

/* A lease that has used channels will use more; one that is reclaimed, and a connection with no other, none. */
static uint32_t preopen_for(const struct sl_conn *conn)
{
    uint32_t preopen = 1;
    bool live = TAILQ_EMPTY(&conn->tenants);
    const struct sl_tenant *tenant;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        if (sl_tenant_goes_on(tenant)) {
            preopen = tenant->streams < PREOPEN_MAX - preopen ? preopen + tenant->streams : PREOPEN_MAX;
            live = true;
        }
    }
    return live ? preopen : 0;
}

/* --- life after a command --- */

bool sl_preopen_needs_proof(const struct sl_conn *conn)
{
    return conn->commands > conn->proved && !sl_compat_goes_on(conn->compat) &&
           sl_compat_probe(conn->compat) != SL_PROBE_TCP;
}

/* Of a server that ends connections after commands it may take a moment. */
static uint64_t quarantine_ms(const struct sl_conn *conn)
{
    return sl_compat_is_well_known(conn->compat) || sl_compat_goes_on(conn->compat) ? 0 : QUARANTINE_MS;
}

static bool is_in_quarantine(const struct sl_conn *conn)
{
    return conn->commands > 0 && sl_conn_now(conn) - conn->command_end_ms < quarantine_ms(conn);
}

bool sl_preopen_may_start(const struct sl_conn *conn)
{
    return conn->serves != SL_SERVES_NOTHING && conn->trial_ms == 0 && !sl_preopen_needs_proof(conn) &&
           !is_in_quarantine(conn);
}

bool sl_preopen_is_full(const struct sl_conn *conn)
{
    uint32_t used = 0, limit = sl_preopen_slot_limit(conn);
    const struct sl_chan *chan;
    if (limit == UINT32_MAX)
        return false;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        used += chan->kind == SL_CHAN_SESSION && (chan->state == SL_CHAN_USED || chan->state == SL_CHAN_LIMBO);
    }
    return used >= limit;
}

void sl_preopen_answered(struct sl_conn *conn)
{
    if (conn->op_commands > conn->proved)
        conn->proved = conn->op_commands;
}

/* It has answered after its last command, and is still there when it would be gone. */
static void believe_life(struct sl_conn *conn)
{
    if (conn->commands > 0 && conn->proved == conn->commands && !sl_compat_goes_on(conn->compat) &&
        !is_in_quarantine(conn) && sl_compat_is(conn->compat, conn->compat_number)) {
        (void)sl_compat_saw_life(conn->compat, conn->proved);
        conn->progressed = true;
    }
}

/* --- the second session --- */

/* No session is in use, and none is on its way out. */
static bool is_at_rest(const struct sl_conn *conn)
{
    const struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->kind == SL_CHAN_SESSION && chan->state != SL_CHAN_HELD && chan->state != SL_CHAN_OPENING)
            return false;
    }
    return true;
}

/* Not before the first command: it has waited for the login already, and servers that have room for one session only
 * often end the connection with it. */
static bool is_trial_due(const struct sl_conn *conn)
{
    return conn->commands > 0 && conn->target->policy.open_ahead == SL_OPEN_AHEAD_AUTO &&
           conn->target->policy.streams > 1 && conn->target->remote_cleanup == SL_CLEANUP_SWEEP &&
           sl_compat_sessions(conn->compat) == SL_SESSIONS_UNKNOWN &&
           sl_compat_env(conn->compat, SL_COOKIE_NAME, sl_conn_now(conn)) <= SL_ENV_REFUSED && conn->trial_ms == 0 &&
           preopen_for(conn) > 0 && is_at_rest(conn);
}

void sl_preopen_begin_trial(struct sl_conn *conn)
{
    if (conn->chan_count > 0 && is_trial_due(conn))
        conn->trial_ms = sl_conn_now(conn);
}

static void end_trial(struct sl_conn *conn, enum sl_sessions_verdict verdict, const char *why)
{
    conn->trial_ms = 0;
    conn->progressed = true;
    if (sl_compat_is(conn->compat, conn->compat_number) && sl_compat_saw_sessions(conn->compat, verdict, why) &&
        verdict == SL_SESSIONS_ONE)
        sl_conn_learned(conn);
}

/* What is left of the trial's channels may answer for each other: the connection is not used for a command any more. */
void sl_preopen_trial_failed(struct sl_conn *conn, const char *why)
{
    if (conn->trial_ms != 0) {
        end_trial(conn, SL_SESSIONS_ONE, why);
        conn->serves = SL_SERVES_NOTHING;
    }
}

void sl_preopen_mixed_up(struct sl_conn *conn)
{
    end_trial(conn, SL_SESSIONS_ONE, "mixes up two sessions");
    conn->serves = SL_SERVES_NOTHING;
}

bool sl_preopen_marks(const struct sl_conn *conn)
{
    if (conn->trial_ms != 0)
        return conn->op != SL_OP_OPEN;
    return conn->target->policy.sharing <= 1 && !is_trial_due(conn);
}

void sl_preopen_step(struct sl_conn *conn)
{
    uint32_t answered = 0, open = 0;
    const struct sl_chan *chan;
    believe_life(conn);
    if (conn->trial_ms == 0)
        return;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->kind == SL_CHAN_SESSION && chan->state == SL_CHAN_HELD) {
            open++;
            answered += chan->cookie > SL_COOKIE_SENT;
        }
    }
    if (conn->op != SL_OP_OPEN && open > 1 && answered == open)
        end_trial(conn, SL_SESSIONS_SEVERAL, NULL);
    else if (sl_conn_now(conn) - conn->trial_ms >= TRIAL_MS)
        sl_preopen_trial_failed(conn, "does not answer at a second session");
}

uint64_t sl_preopen_deadline(const struct sl_conn *conn)
{
    uint64_t trial = conn->trial_ms != 0 ? conn->trial_ms + TRIAL_MS : UINT64_MAX;
    uint64_t free = is_in_quarantine(conn) ? conn->command_end_ms + quarantine_ms(conn) : UINT64_MAX;
    return trial < free ? trial : free;
}

/* --- how many --- */

static uint32_t preopen_wanted(const struct sl_conn *conn, uint32_t used, uint32_t needed)
{
    switch (conn->target->policy.open_ahead) {
    case SL_OPEN_AHEAD_NO:
        return 0;
    case SL_OPEN_AHEAD_YES:
        return preopen_for(conn);
    case SL_OPEN_AHEAD_AUTO:
        break;
    }
    switch (sl_compat_sessions(conn->compat)) {
    case SL_SESSIONS_SEVERAL:
        return preopen_for(conn);
    case SL_SESSIONS_UNKNOWN:
        if (conn->trial_ms != 0 || is_trial_due(conn))
            return needed < 2 ? 2 - needed : 0;
        break;
    case SL_SESSIONS_ONE:
        break;
    }
    return used + needed == 0 && preopen_for(conn) > 0 ? 1 : 0;
}

uint32_t sl_preopen_wanted(const struct sl_conn *conn, uint32_t held, uint32_t needed)
{
    if (conn->serves == SL_SERVES_NOTHING || sl_conn_now(conn) < conn->open_retry_ms)
        return 0;
    if (conn->serves == SL_SERVES_SWEEP)
        return needed > held ? needed - held : 0;
    /* The policy's streams bound what is held as well as what is used, the sweep may go one beyond. */
    uint32_t used = conn->chan_count - held;
    uint32_t preopen = preopen_wanted(conn, used, needed);
    uint32_t streams = conn->target->policy.streams;
    uint32_t free_streams = streams > used + needed ? streams - used - needed : 0;
    uint32_t target = needed + (preopen < free_streams ? preopen : free_streams);
    if (sl_compat_sessions(conn->compat) == SL_SESSIONS_ONE && target + used > 1)
        target = used > 0 ? 0 : 1;
    uint32_t room = room_left(conn);
    uint32_t wanted = target > held ? target - held : 0;
    return wanted < room ? wanted : room;
}

/* --- what the server allows --- */

void sl_preopen_opened(struct sl_conn *conn)
{
    conn->open_refusals = 0;
    conn->open_retry_ms = 0;
}

static void saw_end(struct sl_conn *conn)
{
    if (sl_compat_is(conn->compat, conn->compat_number) &&
        sl_compat_saw_end(conn->compat, conn->commands, sl_conn_now(conn)))
        sl_conn_learned(conn);
}

/* It means it. */
static void believe_refusal(struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    conn->open_retry_ms = 0;
    conn->open_refused = true;
    if (conn->chan_count == 0 && conn->commands > 0) {
        /* It did open some before, and has had its time to give a slot back: so many were all. */
        conn->serves = SL_SERVES_NOTHING;
        saw_end(conn);
        return;
    }
    /* What is open is what it allows; that is believed for a while. */
    conn->slot_limit = conn->chan_count;
    conn->slot_limit_until_ms = now + LIMIT_REMEMBERED_MS;
    sl_log(conn->transport->log, SL_LOG_NOTICE, "ssh", "conn=%p server-allows-sessions=%u", (void *)conn,
        (unsigned)conn->slot_limit);
    if (conn->chan_count > 0 && sl_compat_is(conn->compat, conn->compat_number))
        (void)sl_compat_saw_session_limit(conn->compat, conn->chan_count, now);
}

void sl_preopen_refused(struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    const struct sl_tenant *first = TAILQ_FIRST(&conn->tenants);
    unsigned most = first != NULL && TAILQ_NEXT(first, link) != NULL ? REFUSALS_MAX_SHARED : REFUSALS_MAX;
    if (conn->trial_ms != 0)
        end_trial(conn, SL_SESSIONS_SEVERAL, NULL); /* whoever says no serves the first one on */
    if (++conn->open_refusals < most) {
        conn->open_retry_ms = now + (REFUSAL_FIRST_MS << conn->open_refusals);
        return;
    }
    conn->open_refusals = 0;
    believe_refusal(conn);
}

static bool is_opening_second(const struct sl_conn *conn)
{
    return conn->op == SL_OP_OPEN && conn->op_chan->kind == SL_CHAN_SESSION && conn->chan_count > 1 &&
           sl_compat_sessions(conn->compat) == SL_SESSIONS_UNKNOWN && sl_conn_now(conn) - conn->op_since_ms < SOON_MS;
}

bool sl_preopen_lost(struct sl_conn *conn)
{
    bool after_command = conn->commands > 0 && sl_conn_now(conn) - conn->command_end_ms < SOON_MS;
    bool second = conn->trial_ms != 0 || is_opening_second(conn);
    /* Where nothing was answered since the command, the second session has not come to be. */
    if (second && !(after_command && conn->commands > conn->proved))
        end_trial(conn, SL_SESSIONS_ONE, "ends the connection at a second session");
    else if (after_command)
        saw_end(conn);
    return second || after_command;
}
