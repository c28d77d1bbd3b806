/* SPDX-License-Identifier: MIT */
/* libssh2 gives a request's answer to whoever asks first, SUCCESS before FAILURE, and plain ssh's way of not asking for
 * one is not to be had from it. So a question is answered before the next request is sent, unless this connection has
 * taken the same variable before; and the order in which answers came is looked at even then. */
#include "daemon/ssh/channel/env.h"

#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <libssh2.h>
#include <string.h>

/* An answer takes a round trip. A server that has not given it by then is taken for one that gives none: the channel is
 * given up, and the command goes on another one. */
#define ANSWER_MS 2000u

static void learn(struct sl_chan *chan, const char *name, enum sl_env_verdict verdict)
{
    struct sl_conn *conn = chan->conn;
    if (sl_compat_is(conn->compat, conn->compat_number) &&
        sl_compat_saw_env(conn->compat, name, verdict, sl_conn_now(conn)) && verdict != SL_ENV_TAKEN)
        sl_conn_learned(conn);
}

static uint64_t place_bit(const struct sl_conn *conn, const char *name)
{
    uint32_t place =
        sl_compat_is(conn->compat, conn->compat_number) ? sl_compat_place(conn->compat, name) : SL_COMPAT_NAMES;
    return place < SL_COMPAT_NAMES ? UINT64_C(1) << place : 0;
}

static bool is_known_bad(const struct sl_conn *conn, const char *name)
{
    return sl_compat_env(conn->compat, name, sl_conn_now(conn)) >= SL_ENV_REFUSED;
}

static void end_question(struct sl_chan *chan)
{
    chan->question.is_out = false;
    chan->conn->progressed = true;
}

/* What goes wrong while a second session is tried is not the variable's fault, where it is known to be answered. */
static bool is_on_trial(const struct sl_conn *conn, const char *name)
{
    enum sl_env_verdict known = sl_compat_env(conn->compat, name, sl_conn_now(conn));
    return conn->trial_ms != 0 && (known == SL_ENV_TAKEN || known == SL_ENV_REFUSED);
}

/* No answer yet. One that is known to come is awaited as long as what follows it. */
static int await(struct sl_chan *chan, const char *name)
{
    const struct sl_question *question = &chan->question;
    bool ended = sl_chan_look(chan) != SL_CHAN_END_NONE;
    if (!ended && (question->proven || sl_conn_now(chan->conn) - question->since_ms < ANSWER_MS))
        return SL_E_AGAIN;
    if (!is_on_trial(chan->conn, name))
        learn(chan, name, ended ? SL_ENV_FATAL : SL_ENV_UNANSWERED);
    end_question(chan);
    return SL_E_STREAM_REFUSED;
}

static int ask(struct sl_chan *chan, const char *name, const char *value)
{
    struct sl_conn *conn = chan->conn;
    struct sl_question *question = &chan->question;
    if (!question->is_out) {
        *question = (struct sl_question){.is_out = true, .since_ms = sl_conn_now(conn)};
        strncpy(question->name, name, sizeof question->name - 1);
        question->proven = (conn->env_proven & place_bit(conn, name)) != 0;
    }
    int r = libssh2_channel_setenv_ex(chan->ch, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    if (r == LIBSSH2_ERROR_EAGAIN)
        return await(chan, name);
    if (!sl_session_survives(r)) {
        sl_session_failed(conn, r);
        return SL_E_CONNECTION_LOST;
    }
    question->answer = conn->tap.answer;
    question->taken = r == 0;
    learn(chan, name, r == 0 ? SL_ENV_TAKEN : SL_ENV_REFUSED);
    conn->env_proven |= r == 0 ? place_bit(conn, name) : 0;
    end_question(chan);
    return 0;
}

/* Whether cookies are worth sending on this connection. */
static bool cookie_wanted(const struct sl_conn *conn)
{
    return conn->target->remote_cleanup == SL_CLEANUP_SWEEP && !is_known_bad(conn, SL_COOKIE_NAME);
}

int sl_env_settle_cookie(struct sl_chan *chan)
{
    struct sl_conn *conn = chan->conn;
    if (chan->cookie >= SL_COOKIE_ACCEPTED)
        return 0;
    if (chan->cookie == SL_COOKIE_NONE) {
        if (conn->trial_ms == 0 && !cookie_wanted(conn)) {
            chan->cookie = SL_COOKIE_OMITTED;
            return 0;
        }
        uint32_t epoch = chan->tenant != NULL               ? chan->tenant->epoch
                         : conn->target->policy.sharing > 1 ? 0
                                                            : conn->epoch;
        chan->mark = (struct sl_cookie){epoch, ++conn->next_cookie};
        chan->cookie = SL_COOKIE_SENT;
    }
    char cookie[SL_COOKIE_SIZE];
    int r = ask(chan, SL_COOKIE_NAME, sl_chan_cookie(conn, chan->mark, cookie));
    if (r == 0)
        chan->cookie = chan->question.taken ? SL_COOKIE_ACCEPTED : SL_COOKIE_REFUSED;
    else if (r == SL_E_STREAM_REFUSED)
        chan->cookie = SL_COOKIE_REFUSED;
    return r;
}

int sl_env_settle(struct sl_chan *chan, const char *name, const char *value)
{
    if (!chan->question.is_out && is_known_bad(chan->conn, name))
        return 0;
    if (strlen(name) + strlen(value) > SL_REQUEST_MAX) {
        sl_log_of(chan->conn->transport->log, SL_LOG_NOBODY, SL_LOG_VARIABLES, SL_LOG_WARNING, "env",
            "target=%s variable=%s has %zu bytes and is left out: %s", chan->conn->target->name, name, strlen(value),
            SL_REQUEST_WHY);
        return 0;
    }
    return ask(chan, name, value);
}

bool sl_env_may_follow(const struct sl_chan *chan)
{
    return !chan->question.is_out || chan->question.proven;
}

bool sl_env_unswap(struct sl_chan *chan, uint64_t answer)
{
    struct sl_question *question = &chan->question;
    if (!question->taken || answer >= question->answer)
        return false;
    question->taken = false;
    chan->conn->env_proven &= ~place_bit(chan->conn, question->name);
    learn(chan, question->name, SL_ENV_REFUSED);
    if (strcmp(question->name, SL_COOKIE_NAME) == 0)
        chan->cookie = SL_COOKIE_REFUSED;
    return true;
}

bool sl_env_lost(struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    struct sl_chan *chan;
    bool found = false;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->question.is_out && !chan->question.proven && now - chan->question.since_ms < ANSWER_MS) {
            learn(chan, chan->question.name, SL_ENV_FATAL);
            found = true;
        }
    }
    return found;
}

uint64_t sl_env_deadline(const struct sl_conn *conn)
{
    uint64_t first = UINT64_MAX;
    const struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        const struct sl_question *question = &chan->question;
        if (question->is_out && !question->proven && question->since_ms + ANSWER_MS < first)
            first = question->since_ms + ANSWER_MS;
    }
    return first;
}
