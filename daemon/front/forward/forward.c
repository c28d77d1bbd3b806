/* SPDX-License-Identifier: MIT */
/* A client's forwards, from its request to their end.
 *   OPEN_FWD    its client is looked at (mux/cmdline.h), which decides how it can be refused; it is checked; a
 *               lease is asked for unless the client has one; when it is there the forward is opened, and only then
 *               the client is answered
 *   CLOSE_FWD   from whatever client of the same user at the same target
 *   session     the client's has ended: its forwards end, in order, and the lease is given back
 *   gone        the client is: had it a session, everything ends; had it none, it was `ssh -O forward`, which leaves
 *               as soon as it is answered. Its forwards stand: its client stays without a socket, and keeps the
 *               lease, until they are cancelled or the lease is over */
#include "daemon/front/forward/forward.h"
#include "daemon/front/mux/handlers.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void close_each(struct sl_mux_forwards *fs, const char *why)
{
    struct sl_forward *f, *next;
    for (f = TAILQ_FIRST(&fs->forwards); f != NULL; f = next) {
        next = TAILQ_NEXT(f, link);
        sl_forward_close(f, why);
    }
}

/* Without a word to the server: the lease is over, or about to be. */
static void drop_each(struct sl_mux_forwards *fs, const char *why)
{
    struct sl_forward *f;
    sl_forward_conns_drop(fs);
    while ((f = TAILQ_FIRST(&fs->forwards)) != NULL)
        sl_forward_free(f, why);
}

/* --- the lease ---------------------------------------------------------------------------------------------------- */

static void on_granted(void *arg)
{
    struct sl_mux_forwards *fs = arg;
    struct sl_forward *f, *next;
    fs->lease = SL_FORWARDS_GRANTED;
    for (f = TAILQ_FIRST(&fs->forwards); f != NULL; f = next) {
        next = TAILQ_NEXT(f, link);
        if (f->phase == SL_FORWARD_WAITING)
            sl_forward_open(f);
    }
    sl_forwards_settle(fs);
}

static void on_lost(void *arg, int status, const char *text)
{
    struct sl_mux_forwards *fs = arg;
    struct sl_forward *f, *next;
    (void)status;
    fs->lease = SL_FORWARDS_OVER;
    for (f = TAILQ_FIRST(&fs->forwards); f != NULL; f = next) {
        next = TAILQ_NEXT(f, link);
        if (!f->answered)
            sl_forward_refused(f, text);
    }
    drop_each(fs, text);
    sl_forwards_settle(fs);
}

static const struct sl_mux_user_handler user_handler = {.on_granted = on_granted, .on_lost = on_lost};

/* 0 or SL_E_NOMEM. */
static int join(struct sl_mux_forwards *fs)
{
    const struct sl_forward *f = TAILQ_FIRST(&fs->forwards);
    char name[SL_FORWARD_NAME_SIZE];
    snprintf(fs->label, sizeof fs->label, "mux %.240s", sl_forward_name(f, name, sizeof name));
    fs->user = (struct sl_mux_user){.handler = &user_handler, .arg = fs, .label = fs->label};
    return sl_mux_lease_join(fs->client, &fs->user);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static struct sl_forward *find(struct sl_mux_forwards *fs, const struct sl_mux_fwd *fwd)
{
    struct sl_forward *f = NULL;
    if (fs != NULL) {
        TAILQ_FOREACH(f, &fs->forwards, link)
        {
            if (sl_forward_is(f, fwd))
                break;
        }
    }
    return f;
}

/* Of the same user at the same target, whichever client asked for it. */
static struct sl_forward *find_anywhere(struct sl_mux_client *c, const struct sl_mux_fwd *fwd)
{
    struct sl_mux_client *other;
    /* One that is not open has a client that waits for the answer. */
    TAILQ_FOREACH(other, &c->mux->clients, link)
    {
        if (other->who.uid != c->who.uid || strcmp(other->target, c->target) != 0)
            continue;
        struct sl_forward *f = find(other->forwards, fwd);
        if (f != NULL && f->phase == SL_FORWARD_OPEN)
            return f;
    }
    return NULL;
}

static unsigned count(const struct sl_mux_forwards *fs)
{
    const struct sl_forward *f;
    unsigned n = 0;
    TAILQ_FOREACH(f, &fs->forwards, link)
    n++;
    return n;
}

/* Its client is known: it may be had, and then waits for the lease. */
static void proceed(struct sl_forward *f)
{
    struct sl_mux_forwards *fs = f->owner;
    char text[512];
    snprintf(text, sizeof text, "a client has %u forwards at most", SL_MUX_FORWARDS_MAX);
    if (count(fs) > SL_MUX_FORWARDS_MAX || !sl_forward_allowed(f, text, sizeof text)) {
        sl_forward_refused(f, text);
        return;
    }
    sl_forward_move(f, SL_FORWARD_WAITING);
    if (fs->lease == SL_FORWARDS_GRANTED)
        sl_forward_open(f);
}

/* Its client is as known as it will be. */
static void begin(struct sl_mux_forwards *fs)
{
    struct sl_forward *f, *next;
    int r;
    for (f = TAILQ_FIRST(&fs->forwards); f != NULL; f = next) {
        next = TAILQ_NEXT(f, link);
        if (f->phase == SL_FORWARD_NEW)
            proceed(f);
    }
    if (fs->lease == SL_FORWARDS_NOT_ASKED && !TAILQ_EMPTY(&fs->forwards)) {
        fs->lease = SL_FORWARDS_ASKING;
        r = join(fs);
        if (r == 0)
            return; /* on_granted may have been here, and settled */
        fs->lease = SL_FORWARDS_OVER;
        while ((f = TAILQ_FIRST(&fs->forwards)) != NULL)
            sl_forward_refused(f, sl_status_text(r));
    }
    sl_forwards_settle(fs);
}

static void on_cmdline(void *arg, const struct sl_mux_words *words)
{
    struct sl_mux_forwards *fs = arg;
    fs->cmdline = NULL;
    fs->cmdline_read = true;
    fs->limited = words->limited;
    if (words->known && !words->control)
        fs->client_kind = SL_FORWARD_CLIENT_SESSION;
    else if (words->known && words->forward)
        fs->client_kind = SL_FORWARD_CLIENT_CONTROL;
    begin(fs);
}

void sl_mux_on_open_fwd(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    struct sl_forward *f = find_anywhere(c, &msg->fwd);
    if (f != NULL && (f->owner->client == c || f->owner->client->phase == SL_MUX_STANDING)) {
        sl_mux_client_ok(c, msg->rid); /* as asked for */
        return;
    }
    f = sl_forward_add(c, &msg->fwd, msg->rid);
    if (f == NULL) {
        sl_mux_client_refuse_loudly(c, msg->rid, sl_status_text(SL_E_NOMEM));
        if (c->forwards != NULL)
            sl_forwards_settle(c->forwards);
        return;
    }
    struct sl_mux_forwards *fs = f->owner;
    if (fs->cmdline_read || (fs->cmdline == NULL && sl_mux_cmdline_read(c, on_cmdline, fs, &fs->cmdline) != 0))
        begin(fs); /* without knowing, where there is no memory to look */
}

void sl_mux_on_close_fwd(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    struct sl_forward *f = find_anywhere(c, &msg->fwd);
    if (f == NULL) {
        sl_mux_client_refuse(c, SL_MUX_FAILURE, msg->rid, "there is no such forward");
        return;
    }
    struct sl_mux_forwards *fs = f->owner;
    sl_mux_client_ok(c, msg->rid);
    sl_forward_close(f, "cancelled");
    sl_forwards_settle(fs);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

bool sl_mux_forwards_stand(struct sl_mux_client *c)
{
    const struct sl_forward *f;
    if (c->forwards == NULL || c->session != NULL || c->stdio != NULL || c->sessions > 0 || c->refusal != NULL)
        return false;
    if (c->forwards->client_kind == SL_FORWARD_CLIENT_SESSION) /* its session was still to come: it was killed */
        return false;
    TAILQ_FOREACH(f, &c->forwards->forwards, link)
    {
        if (f->phase != SL_FORWARD_OPEN)
            return false; /* it did not wait for its answer */
    }
    return true;
}

void sl_mux_forwards_end(struct sl_mux_client *c)
{
    struct sl_mux_forwards *fs = c->forwards;
    if (fs == NULL)
        return;
    if (sl_lease_is_held(c->lease)) {
        close_each(fs, "its session has ended");
        sl_forward_conns_close(fs);
    } else {
        drop_each(fs, "its lease is over");
    }
    sl_forwards_settle(fs);
}

void sl_mux_forwards_drop(struct sl_mux_client *c)
{
    struct sl_mux_forwards *fs = c->forwards;
    if (fs == NULL)
        return;
    drop_each(fs, "its client is gone");
    sl_mux_cmdline_cancel(fs->cmdline);
    c->forwards = NULL;
    free(fs);
}
