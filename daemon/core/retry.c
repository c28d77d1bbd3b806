/* SPDX-License-Identifier: MIT */
/* Counts a target's failed dials and logins, holds its next dial back, and forgives when a login has proved itself. */
#include "daemon/core/retry.h"

#include "daemon/core/backoff.h"
#include "daemon/core/leases.h"

bool sl_retry_held_back(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    return pool->now_ms < target->retry_at_ms;
}

bool sl_retry_demand_held_back(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    return pool->now_ms < target->demand_at_ms;
}

static bool is_standing(int status)
{
    enum sl_dial_failure failure = sl_dial_failure_of(status);
    return failure == SL_DIAL_REJECTED || failure == SL_DIAL_MISMATCHED || failure == SL_DIAL_UNTRUSTED;
}

int sl_retry_blocked(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    return sl_retry_held_back(pool, target) && is_standing(target->last_status) ? target->last_status : 0;
}

uint32_t sl_retry_handshakes(const struct sl_target_slot *target)
{
    return target->credentials_work ? target->policy.handshakes : 1;
}

static void hold_until(struct sl_target_slot *target, uint64_t due_ms)
{
    target->retry_at_ms = target->demand_at_ms = due_ms;
}

/* Dials that were under way together fail together: that is one round and doubles the wait once. With somebody waiting
 * it doubles to `demand_max_ms` only. */
static void hold_back(struct sl_pool *pool, struct sl_target_slot *target, uint64_t dialed_ms, uint64_t demand_max_ms)
{
    const struct sl_policy *policy = &target->policy;
    uint64_t chance = sl_prng_next(&pool->prng);
    if (target->failures == 0 || dialed_ms > target->failed_ms) {
        target->failures++;
        target->failed_ms = pool->now_ms;
    }
    uint64_t wait = sl_backoff_ms(target->failures, policy->retry_min_ms, policy->retry_max_ms, chance);
    uint64_t demand_wait =
        sl_backoff_ms(target->failures, policy->retry_min_ms, sl_min_u64(policy->retry_max_ms, demand_max_ms), chance);
    uint64_t retry_at = sl_after(pool->now_ms, wait);
    uint64_t demand_at = sl_min_u64(retry_at, sl_after(pool->now_ms, demand_wait));
    if (target->retry_at_ms < retry_at)
        target->retry_at_ms = retry_at;
    if (target->demand_at_ms < demand_at)
        target->demand_at_ms = demand_at;
}

static uint64_t demand_max_ms(const struct sl_target_slot *target)
{
    uint64_t min = target->policy.retry_min_ms;
    return min > SL_DEMAND_RETRY_MS ? min : SL_DEMAND_RETRY_MS;
}

void sl_retry_dial_failed(struct sl_pool *pool, struct sl_target_slot *target, uint64_t dialed_ms, int status)
{
    int blocked = sl_retry_blocked(pool, target);
    enum sl_dial_failure failure = sl_dial_failure_of(status);
    target->failure_serial++;
    switch (failure) {
    case SL_DIAL_REJECTED:
    case SL_DIAL_MISMATCHED:
        target->credentials_work = target->credentials_work && failure != SL_DIAL_REJECTED;
        if (blocked == 0) {
            hold_back(pool, target, dialed_ms, SL_NEVER);
            target->last_status = status;
            hold_until(target, sl_after(pool->now_ms, failure == SL_DIAL_REJECTED ? target->policy.auth_retry_ms
                                                                                  : target->policy.retry_max_ms));
        }
        sl_leases_refuse_all(pool, target, SL_REASON_TARGET_DOWN, target->last_status);
        break;
    case SL_DIAL_UNTRUSTED:
        hold_back(pool, target, dialed_ms, SL_NEVER);
        target->last_status = status;
        hold_until(target, SL_NEVER);
        sl_leases_refuse_all(pool, target, SL_REASON_TARGET_DOWN, status);
        break;
    case SL_DIAL_DEFINITE:
        if (blocked != 0)
            break;
        hold_back(pool, target, dialed_ms, demand_max_ms(target));
        target->last_status = status;
        if (target->conns[SL_CONN_DIALING].length + target->conns[SL_CONN_IDLE].length +
                target->conns[SL_CONN_LEASED].length ==
            0)
            sl_leases_refuse_all(pool, target, SL_REASON_TARGET_DOWN, status);
        break;
    case SL_DIAL_TRANSIENT:
        if (blocked != 0)
            break;
        hold_back(pool, target, dialed_ms, demand_max_ms(target));
        target->last_status = status;
        break;
    }
    sl_target_mark(pool, target);
}

void sl_retry_forgive(struct sl_pool *pool, struct sl_target_slot *target)
{
    target->failures = 0;
    target->last_status = 0;
    target->failed_ms = 0;
    hold_until(target, 0);
    sl_target_mark(pool, target);
}

void sl_retry_dial_succeeded(struct sl_pool *pool, struct sl_target_slot *target)
{
    target->credentials_work = true;
    /* Some other machine may answer under the same name: one good host key does not excuse a bad one. */
    int blocked = sl_retry_blocked(pool, target);
    if (blocked != 0 && sl_dial_failure_of(blocked) == SL_DIAL_UNTRUSTED)
        return;
    target->last_status = 0;
    hold_until(target, 0);
    sl_target_mark(pool, target);
}

void sl_retry_proved(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    struct sl_target_slot *target = conn->target;
    conn->proved = true;
    if (target->failures == 0)
        return;
    if (conn->epoch == target->epoch && conn->ready_ms > target->failed_ms) {
        target->failures = 0;
        target->failed_ms = 0;
    }
    sl_target_mark(pool, target);
}

void sl_retry_login_wasted(struct sl_pool *pool, struct sl_target_slot *target, uint64_t ready_ms, int status)
{
    if (sl_retry_blocked(pool, target) != 0)
        return;
    target->failure_serial++;
    hold_back(pool, target, ready_ms, SL_NEVER); /* each is one more login to a server that counts them */
    target->last_status = status;
    sl_target_mark(pool, target);
}
