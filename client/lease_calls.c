/* SPDX-License-Identifier: MIT */
/* The public calls on the lease that wait. Each starts something and turns the loop until it has happened. */
#include "client/handle.h"

#include "proto/status.h"

int sshlease_acquire(struct sshlease *lease, const char *target, const struct sshlease_acquire_options *options)
{
    int status = sshlease_acquire_start(lease, target, options);
    while (status == 0 && lease->held.state == SL_HELD_ASKING)
        status = sl_loop_turn(lease, SL_NEVER);
    return status != 0 ? status : sshlease_acquire_result(lease);
}

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
