/* SPDX-License-Identifier: MIT */
/* The public calls on the lease that wait. Each starts something and turns the loop until it has happened. */
#include "client/handle.h"

#include "proto/status.h"

/* Whoever waits for the next daemon is told after that: most are there sooner. */
#define TELL_MS 1000

/* --- acquiring ---------------------------------------------------------------------------------------------------- */

static int ask(struct sshlease *lease, const char *target, const struct sshlease_acquire_options *options)
{
    int status = sshlease_acquire_start(lease, target, options);
    while (status == 0 && lease->held.state == SL_HELD_ASKING)
        status = sl_loop_turn(lease, SL_NEVER);
    return status != 0 ? status : sshlease_acquire_result(lease);
}

/* The daemon, which is shutting down, has refused: it is waited for its end. Its text is in held.why. 0, or TIMEOUT. */
static int await_end(
    struct sshlease *lease, const struct sshlease_acquire_options *options, int64_t asked_ms, int64_t deadline_ms)
{
    const char *why = lease->held.why != NULL ? lease->held.why : sl_status_text(SL_E_SHUTDOWN);
    int64_t tell_ms = options->on_waiting != NULL ? asked_ms + TELL_MS : SL_NEVER;
    while (lease->link.state != SL_LINK_ENDED) {
        if (sl_loop_turn(lease, deadline_ms < tell_ms ? deadline_ms : tell_ms) != SL_E_AGAIN)
            continue;
        const int64_t now_ms = sl_now_ms();
        if (now_ms >= deadline_ms)
            return sl_refuse(
                lease, SL_E_TIMEOUT, "%s; waited %lld ms for another sshleased", why, (long long)(now_ms - asked_ms));
        if (now_ms < tell_ms)
            continue;
        options->on_waiting(options->arg, 0, (uint32_t)(now_ms - asked_ms), why);
        tell_ms = SL_NEVER;
    }
    sl_refuse(lease, SL_E_SHUTDOWN, "%s", why);
    return 0;
}

/* A new link to the daemon that takes the place of the last one, and the question once more. */
static int ask_again(
    struct sshlease *lease, const char *target, struct sshlease_acquire_options *options, int64_t deadline_ms)
{
    const int64_t answer_ms = sl_deadline(SL_LINK_ANSWER_MS);
    const int64_t greeted_ms = deadline_ms < answer_ms ? deadline_ms : answer_ms;
    int status = sl_link_connect(lease, greeted_ms);
    if (status == 0)
        status = sl_link_greet(lease, greeted_ms);
    if (status != 0)
        return status;
    if (deadline_ms != SL_NEVER) {
        const int64_t left_ms = deadline_ms - sl_now_ms();
        options->acquire_timeout_ms = left_ms > 1 ? (uint32_t)left_ms : 1;
    }
    return ask(lease, target, options);
}

/* Nothing was sent, and another daemon may come. A link that still stands is no daemon's end, whatever it says. */
static bool is_between_daemons(const struct sshlease *lease, int status)
{
    const bool gone = status == SL_E_DAEMON_GONE || status == SL_E_NO_DAEMON;
    return status == SL_E_SHUTDOWN || (gone && lease->link.state == SL_LINK_ENDED);
}

int sshlease_acquire(struct sshlease *lease, const char *target, const struct sshlease_acquire_options *options)
{
    struct sshlease_acquire_options asked = {0};
    if (options != NULL)
        asked = *options;
    const int64_t asked_ms = sl_now_ms();
    const int64_t deadline_ms = asked.acquire_timeout_ms != 0 ? asked_ms + asked.acquire_timeout_ms : SL_NEVER;
    struct sl_patience patience = {.deadline_ms = deadline_ms};
    int status = ask(lease, target, &asked);
    if (status == SL_E_NO_DAEMON || !is_between_daemons(lease, status))
        return status;
    do {
        const bool stands = lease->link.state != SL_LINK_ENDED;
        int late = stands ? await_end(lease, &asked, asked_ms, deadline_ms) : 0;
        if (late != 0)
            return late;
        if (!sl_patience_lasts(&patience, lease, &status))
            return status;
        status = ask_again(lease, target, &asked, deadline_ms);
    } while (is_between_daemons(lease, status));
    return status;
}

/* --- keeping, giving back ----------------------------------------------------------------------------------------- */

int sshlease_renew(struct sshlease *lease, uint32_t lease_timeout_ms, uint32_t *ret_left_ms)
{
    struct sl_held *held = &lease->held;
    int64_t deadline_ms = sl_deadline(SL_LINK_ANSWER_MS);
    int status;
    if ((status = sl_link_check(lease)) != 0 || (status = sl_held_check(lease)) != 0)
        return status;
    struct sl_msg renew = {
        .type = SL_MSG_RENEW, .renew = {.rid = sl_link_next_rid(lease), .lease_timeout_ms = lease_timeout_ms}};
    if ((status = sl_link_queue(lease, &renew)) != 0)
        return status;
    held->renew_rid = renew.renew.rid;
    held->renew_status = SL_E_AGAIN;
    /* LEASE_ENDED may come instead of, or just before, the answer. */
    while (held->renew_rid != 0 && held->state == SL_HELD_GRANTED)
        if ((status = sl_loop_turn(lease, deadline_ms)) != 0)
            break;
    if (status == SL_E_AGAIN)
        status = sl_fail(lease, SL_E_TIMEOUT, "sshleased does not answer a renewal");
    else if (status == 0)
        status = held->state != SL_HELD_GRANTED ? sl_held_check(lease) : held->renew_status;
    held->renew_rid = 0;
    if (status == 0 && ret_left_ms != NULL)
        *ret_left_ms = held->renewed_ms;
    return status;
}

int sshlease_release(struct sshlease *lease)
{
    int64_t deadline_ms = sl_deadline(SL_LINK_ANSWER_MS);
    int status = sshlease_release_start(lease);
    if (status != 0)
        return status;
    while (lease->held.release_status == SL_E_AGAIN)
        if (sl_loop_turn(lease, deadline_ms) == SL_E_AGAIN)
            return sl_loop_end(lease, SL_E_TIMEOUT, "sshleased does not answer a release");
    return sshlease_release_result(lease);
}
