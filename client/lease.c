/* SPDX-License-Identifier: MIT */
/* The lease of a handle: asked for, granted, renewed, given back, or ended from the other side.
 *
 *   NONE -> ASKING -> GRANTED -> RELEASING -> NONE
 *             │          └─> NONE  (LEASE_ENDED: held.ended_status says why until the next acquire)
 *             ├─> NONE   (refused: held.acquire_status)
 *             └─> RELEASING  (the wait is given up; a grant that was under way is given back by the same RELEASE)
 */
#include "client/handle.h"

#include "base/state.h"
#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

/* Renewing cannot help once the deadline is this close to the longest allowed, clocks and messages taking their time.
 */
#define RENEW_SLACK_MS 50

#define TO(state) SL_TO(SL_HELD_##state)

static const struct sl_state states[] = {
    [SL_HELD_NONE] = {"none", TO(ASKING)},
    [SL_HELD_ASKING] = {"asking", TO(NONE) | TO(GRANTED) | TO(RELEASING)},
    [SL_HELD_GRANTED] = {"granted", TO(NONE) | TO(RELEASING)},
    [SL_HELD_RELEASING] = {"releasing", TO(NONE)},
};

static void set_state(struct sl_held *held, enum sl_held_state state)
{
    SL_MOVE(states, held->state, state);
    held->renew_at_ms = SL_NEVER;
    if (state == SL_HELD_NONE) {
        held->id = 0;
        held->deadline_ms = 0;
        held->auto_rid = 0;
    }
}

static void keep_why(struct sl_held *held, const char *text)
{
    free(held->why);
    held->why = strdup(text); /* NULL: the status' own text will do */
}

static const char *why(const struct sl_held *held, int status)
{
    return held->why != NULL ? held->why : sl_status_text(status);
}

void sl_held_fini(struct sshlease *lease)
{
    free(lease->held.why);
    lease->held.why = NULL;
}

int sl_held_check(struct sshlease *lease)
{
    if (lease->held.state == SL_HELD_GRANTED)
        return 0;
    if (lease->held.ended_status != 0)
        return sl_refuse(lease, lease->held.ended_status, "%s", why(&lease->held, lease->held.ended_status));
    return sl_refuse(lease, SL_E_NO_LEASE, "there is no lease on this handle");
}

/* --- what the daemon says --- */

static void plan_renewal(struct sl_held *held, int64_t now_ms)
{
    if (!held->auto_renew || held->deadline_ms + RENEW_SLACK_MS >= held->max_deadline_ms)
        held->renew_at_ms = SL_NEVER;
    else
        held->renew_at_ms = now_ms + (held->deadline_ms - now_ms) / 3;
}

static int on_waiting(struct sshlease *lease, const struct sl_msg_waiting *waiting)
{
    struct sl_held *held = &lease->held;
    if (waiting->rid != held->acquire_rid || held->state != SL_HELD_ASKING || held->on_waiting == NULL)
        return 0; /* late, or nobody wants to know */
    char *reason = sl_text_dup(waiting->reason, SL_E_AGAIN);
    if (reason == NULL)
        return SL_E_NOMEM;
    held->on_waiting(held->arg, waiting->position, waiting->waited_ms, waiting->reason.len > 0 ? reason : "");
    free(reason);
    return 0;
}

static int on_granted(struct sshlease *lease, const struct sl_msg_granted *granted)
{
    struct sl_held *held = &lease->held;
    /* The daemon is not to be trusted to answer in order: what was given up is over with the answer to that. */
    if (granted->rid != held->acquire_rid || (held->state != SL_HELD_ASKING && held->state != SL_HELD_RELEASING))
        return SL_E_PROTOCOL;
    held->acquire_rid = 0;
    if (held->state == SL_HELD_RELEASING)
        return 0;
    set_state(held, SL_HELD_GRANTED);
    held->acquire_status = 0;
    held->id = granted->lease;
    int64_t now_ms = sl_now_ms();
    held->deadline_ms = now_ms + granted->lease_timeout_ms;
    held->max_deadline_ms = now_ms + granted->max_lease_ms;
    plan_renewal(held, now_ms);
    return 0;
}

static int on_renewed(struct sshlease *lease, const struct sl_msg_renewed *renewed)
{
    struct sl_held *held = &lease->held;
    if (renewed->rid == 0 || (renewed->rid != held->auto_rid && renewed->rid != held->renew_rid))
        return renewed->rid < lease->link.next_rid ? 0 : SL_E_PROTOCOL;
    if (renewed->rid == held->renew_rid) {
        held->renew_rid = 0;
        held->renew_status = 0;
        held->renewed_ms = renewed->lease_timeout_ms;
    } else {
        held->auto_rid = 0;
    }
    if (held->state == SL_HELD_GRANTED) {
        int64_t now_ms = sl_now_ms();
        held->deadline_ms = now_ms + renewed->lease_timeout_ms;
        plan_renewal(held, now_ms);
    }
    return 0;
}

static int on_lease_ended(struct sshlease *lease, const struct sl_msg_lease_ended *ended)
{
    struct sl_held *held = &lease->held;
    int status = sl_status_of(ended->code);
    if (held->state != SL_HELD_GRANTED && held->state != SL_HELD_RELEASING)
        return SL_E_PROTOCOL;
    /* RELEASING out of a wait: the grant may be unknown here, its id with it. */
    if (held->id != 0 && ended->lease != held->id)
        return SL_E_PROTOCOL;
    char *text = sl_text_dup(ended->text, status);
    if (text == NULL)
        return SL_E_NOMEM;
    free(held->why);
    held->why = text;
    held->ended_status = status;
    if (held->release_rid != 0)
        held->release_status = status;
    held->release_rid = 0;
    set_state(held, SL_HELD_NONE);
    sl_streams_on_lease_end(lease, status, text);
    return 0;
}

int sl_held_on_message(struct sshlease *lease, const struct sl_msg *msg)
{
    switch ((int)msg->type) {
    case SL_MSG_WAITING:
        return on_waiting(lease, &msg->waiting);
    case SL_MSG_GRANTED:
        return on_granted(lease, &msg->granted);
    case SL_MSG_RENEWED:
        return on_renewed(lease, &msg->renewed);
    default:
        return on_lease_ended(lease, &msg->lease_ended);
    }
}

/* The error's text: to be found by who asks for the result later, and by event loops at once. */
static void say_error(struct sshlease *lease, int status, const struct sl_msg_error *error)
{
    char *text = sl_text_dup(error->text, status);
    (error->unsent ? sl_refuse : sl_fail)(lease, status, "%s", text != NULL ? text : sl_status_text(status));
    free(text);
}

bool sl_held_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error)
{
    struct sl_held *held = &lease->held;
    if (rid == held->acquire_rid) {
        if (error == NULL)
            return false; /* OK is no answer to ACQUIRE, but harmless */
        held->acquire_rid = 0;
        held->acquire_status = status;
        if (held->state == SL_HELD_ASKING) {
            set_state(held, SL_HELD_NONE);
            say_error(lease, status, error);
            keep_why(held, lease->error);
        }
        return true;
    }
    if (rid == held->release_rid) {
        held->release_rid = 0;
        held->release_status = status;
        if (error != NULL) {
            say_error(lease, status, error);
            keep_why(held, lease->error);
        }
        if (held->state == SL_HELD_RELEASING)
            set_state(held, SL_HELD_NONE);
        sl_streams_on_lease_end(lease, SL_E_NO_LEASE, "the lease was released");
        return true;
    }
    if (rid == held->renew_rid) {
        held->renew_rid = 0;
        held->renew_status = status;
        if (error != NULL)
            say_error(lease, status, error);
        return true;
    }
    if (rid == held->auto_rid) {
        /* Nobody asked for this renewal by name; if the lease is over, LEASE_ENDED says so. */
        held->auto_rid = 0;
        return true;
    }
    return false;
}

void sl_held_on_link_end(struct sshlease *lease, int status, const char *text)
{
    struct sl_held *held = &lease->held;
    if (held->state == SL_HELD_GRANTED || held->state == SL_HELD_RELEASING)
        held->ended_status = status;
    if (held->acquire_rid != 0)
        held->acquire_status = status;
    if (held->release_rid != 0)
        held->release_status = status;
    if (held->renew_rid != 0)
        held->renew_status = status;
    held->acquire_rid = held->release_rid = held->renew_rid = 0;
    if (held->state != SL_HELD_NONE) {
        keep_why(held, text);
        set_state(held, SL_HELD_NONE);
    }
}

void sl_held_tick(struct sshlease *lease, int64_t now_ms)
{
    struct sl_held *held = &lease->held;
    struct sl_msg renew = {.type = SL_MSG_RENEW};
    if (held->renew_at_ms > now_ms)
        return;
    renew.renew.rid = sl_link_next_rid(lease);
    if (sl_link_queue(lease, &renew) == 0) {
        held->auto_rid = renew.renew.rid;
        held->renew_at_ms = SL_NEVER; /* the answer plans the next */
    } else {
        held->renew_at_ms = now_ms + 1000;
    }
}

/* --- public calls that wait for nothing --- */

/* A name as the protocol takes it. NULL: none. */
static int check_name(struct sshlease *lease, const char *what, const char *name)
{
    if (name != NULL && strlen(name) > SL_MSG_NAME_MAX)
        return sl_refuse(lease, SL_E_INVALID, "%s has %zu bytes; it may have %u", what, strlen(name), SL_MSG_NAME_MAX);
    return 0;
}

int sshlease_acquire_start(struct sshlease *lease, const char *target, const struct sshlease_acquire_options *options)
{
    static const struct sshlease_acquire_options defaults = {0};
    static const char *const busy_with[] = {[SL_HELD_ASKING] = "asks for a lease already",
        [SL_HELD_GRANTED] = "has a lease already",
        [SL_HELD_RELEASING] = "is giving a lease back"};
    struct sl_held *held = &lease->held;
    int status;
    if (options == NULL)
        options = &defaults;
    if ((status = sl_link_check(lease)) != 0)
        return status;
    if (target == NULL || target[0] == '\0')
        return sl_refuse(lease, SL_E_INVALID, "no target is named");
    if ((status = check_name(lease, "the target's name", target)) != 0 ||
        (status = check_name(lease, "the label", options->label)) != 0)
        return status;
    if (held->state != SL_HELD_NONE)
        return sl_refuse(lease, SL_E_BUSY, "this handle %s", busy_with[held->state]);

    struct sl_msg acquire = {.type = SL_MSG_ACQUIRE,
        .acquire = {.rid = sl_link_next_rid(lease),
            .target = sl_bytes_of(target),
            .acquire_timeout_ms = options->acquire_timeout_ms,
            .lease_timeout_ms = options->lease_timeout_ms,
            .label = sl_bytes_of(options->label != NULL ? options->label : "")}};
    if ((status = sl_link_queue(lease, &acquire)) != 0)
        return status;
    held->acquire_rid = acquire.acquire.rid;
    held->acquire_status = SL_E_AGAIN;
    held->ended_status = 0;
    held->auto_renew = options->auto_renew;
    held->on_waiting = options->on_waiting;
    held->arg = options->arg;
    set_state(held, SL_HELD_ASKING);
    return 0;
}

int sshlease_acquire_result(struct sshlease *lease)
{
    int status = sl_link_check_fork(lease);
    if (status != 0)
        return status;
    if (lease->held.state == SL_HELD_ASKING)
        return SL_E_AGAIN;
    if (lease->held.state == SL_HELD_GRANTED)
        return 0;
    if (lease->held.acquire_status == 0) /* it was granted, and is over */
        return sl_held_check(lease);
    return lease->held.acquire_status;
}

int sshlease_release_start(struct sshlease *lease)
{
    struct sl_held *held = &lease->held;
    int status;
    if ((status = sl_link_check(lease)) != 0)
        return status;
    if (held->state == SL_HELD_RELEASING)
        return sl_refuse(lease, SL_E_BUSY, "this handle is giving its lease back already");
    if (held->state != SL_HELD_ASKING && (status = sl_held_check(lease)) != 0) {
        /* It ended by itself: that is said once, and the handle is as new. */
        held->ended_status = 0;
        sl_streams_fini(lease);
        return status;
    }
    struct sl_msg release = {.type = SL_MSG_RELEASE, .request = {.rid = sl_link_next_rid(lease)}};
    if ((status = sl_link_queue(lease, &release)) != 0)
        return status;
    held->release_rid = release.request.rid;
    held->release_status = SL_E_AGAIN;
    set_state(held, SL_HELD_RELEASING);
    sl_streams_disown(lease);
    return 0;
}

int sshlease_release_result(struct sshlease *lease)
{
    int status = sl_link_check_fork(lease);
    if (status != 0)
        return status;
    status = lease->held.release_status;
    if (status != 0 && status != SL_E_AGAIN)
        sl_fail(lease, status, "%s", why(&lease->held, status));
    return status;
}

uint64_t sshlease_id(const struct sshlease *lease)
{
    return lease->held.state == SL_HELD_GRANTED ? lease->held.id : 0;
}

uint32_t sshlease_left_ms(const struct sshlease *lease)
{
    if (lease->held.state != SL_HELD_GRANTED)
        return 0;
    int64_t left_ms = lease->held.deadline_ms - sl_now_ms();
    if (left_ms < 0)
        return 0;
    return left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
}
