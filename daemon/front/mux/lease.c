/* SPDX-License-Identifier: MIT */
/* A client's lease, from the first user's wish to the last one's leaving.
 *   asked:   on_granted tells all users; renewing begins: a client of OpenSSH's cannot renew, but its open socket says
 *            that it wants the lease, until max_lease
 *   over:    refused, expired, revoked, lost: every user is told, and there is none any more
 *   left:    by the last user: released; the socket of a client that is finished goes when that has been done, so that
 *            the connection is back in its pool when the client's process ends */
#include "daemon/front/mux/client.h"

#include "proto/status.h"

/* Renewed so many times in the time a lease has. */
#define RENEWALS 3u

static int acquire(struct sl_mux_client *c, const struct sl_mux_user *user);

static void let_go(struct sl_mux_client *c)
{
    c->lease = NULL;
    (void)uv_timer_stop(&c->renewal);
}

static void tell_lost(struct sl_mux_client *c, int status, const char *text)
{
    struct sl_mux_user *user;
    while ((user = TAILQ_FIRST(&c->users)) != NULL) {
        TAILQ_REMOVE(&c->users, user, link);
        user->joined = false;
        user->handler->on_lost(user->arg, status, text);
    }
}

static void on_over(struct sl_mux_client *c, int status, const char *text)
{
    let_go(c);
    tell_lost(c, status, text);
    if (c->phase == SL_MUX_FINISHING)
        sl_mux_client_finish(c);
}

/* --- what the driver says ----------------------------------------------------------------------------------------- */

static void on_renewal_due(uv_timer_t *timer)
{
    const struct sl_mux_client *c = timer->data;
    if (sl_lease_is_held(c->lease))
        sl_lease_renew(c->lease, 0);
}

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct sl_mux_client *c = arg;
    struct sl_mux_user *user;
    TAILQ_FOREACH(user, &c->users, link)
    {
        if (user->handler->on_waiting != NULL)
            user->handler->on_waiting(user->arg, position, waited_ms, reason);
    }
}

static void on_granted(void *arg, const struct sl_lease_grant *grant)
{
    struct sl_mux_client *c = arg;
    struct sl_mux_user *user, *next;
    uint64_t every_ms = grant->lease_timeout_ms / RENEWALS;
    if (every_ms == 0)
        every_ms = 1;
    (void)uv_timer_start(&c->renewal, on_renewal_due, every_ms, every_ms);
    for (user = TAILQ_FIRST(&c->users); user != NULL; user = next) {
        next = TAILQ_NEXT(user, link);
        user->handler->on_granted(user->arg);
    }
}

static void on_refused(void *arg, int status, const char *text)
{
    on_over(arg, status, text);
}

static void on_renewed(void *arg, uint32_t left_ms)
{
    (void)arg;
    (void)left_ms;
}

static void on_released(void *arg)
{
    struct sl_mux_client *c = arg;
    let_go(c);
    if (!TAILQ_EMPTY(&c->users)) { /* they came too late for that lease */
        int r = acquire(c, TAILQ_FIRST(&c->users));
        if (r != 0)
            tell_lost(c, r, sl_status_text(r));
    }
    if (c->phase == SL_MUX_FINISHING)
        sl_mux_client_finish(c);
}

static void on_ended(void *arg, int status, const char *text)
{
    on_over(arg, status, text);
}

static const struct sl_lease_handler lease_handler = {
    .on_waiting = on_waiting,
    .on_granted = on_granted,
    .on_refused = on_refused,
    .on_renewed = on_renewed,
    .on_released = on_released,
    .on_ended = on_ended,
};

/* --- what the users want ------------------------------------------------------------------------------------------ */

static int acquire(struct sl_mux_client *c, const struct sl_mux_user *user)
{
    const struct sl_lease_wish wish = {
        .target = c->target,
        .who = &c->who,
        .label = user->label != NULL ? user->label : "mux",
        .acquire_timeout_ms = SL_ACQUIRE_PATIENTLY,
    };
    return sl_lease_acquire(c->mux->driver, &wish, &lease_handler, c, &c->lease);
}

int sl_mux_lease_join(struct sl_mux_client *c, struct sl_mux_user *user)
{
    if (c->lease == NULL) {
        int r = acquire(c, user);
        if (r != 0)
            return r;
    }
    TAILQ_INSERT_TAIL(&c->users, user, link);
    user->joined = true;
    if (sl_lease_is_held(c->lease))
        user->handler->on_granted(user->arg);
    return 0;
}

void sl_mux_lease_leave(struct sl_mux_client *c, struct sl_mux_user *user)
{
    if (!user->joined)
        return;
    TAILQ_REMOVE(&c->users, user, link);
    user->joined = false;
    if (!TAILQ_EMPTY(&c->users) || c->lease == NULL)
        return;
    (void)uv_timer_stop(&c->renewal);
    sl_lease_release(c->lease);
}

void sl_mux_lease_abandon(struct sl_mux_client *c)
{
    struct sl_mux_user *user;
    if (c->lease != NULL)
        sl_lease_abandon(c->lease);
    let_go(c);
    while ((user = TAILQ_FIRST(&c->users)) != NULL) {
        TAILQ_REMOVE(&c->users, user, link);
        user->joined = false;
    }
}
