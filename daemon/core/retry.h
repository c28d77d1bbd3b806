/* SPDX-License-Identifier: MIT */
/* retry.h - what failed dials mean for a target: how long the next is held back, and who is refused. Dials nothing
 * itself. For daemon/core only. */
#ifndef SSHLEASE_CORE_RETRY_H
#define SSHLEASE_CORE_RETRY_H

#include "daemon/core/state.h"

/* Whether dials are held back by backoff or by a standing failure: those that nobody waits for, and those that somebody
 * does, for whom the pauses grow less. */
bool sl_retry_held_back(const struct sl_pool *pool, const struct sl_target_slot *target);
bool sl_retry_demand_held_back(const struct sl_pool *pool, const struct sl_target_slot *target);
/* The standing failure (credentials, host key) that every acquire is refused with at once, or 0. */
int sl_retry_blocked(const struct sl_pool *pool, const struct sl_target_slot *target);

/* Dials that may be under way at once: one until the credentials have worked, and again after they were rejected, or
 * each of many waiters would be one more failed login to the server, which counts them. */
uint32_t sl_retry_handshakes(const struct sl_target_slot *target);

/* What a dial's outcome means for the target and those who wait. Its connection has left `dialing` before. `dialed_ms`
 * is when it began. */
void sl_retry_dial_failed(struct sl_pool *pool, struct sl_target_slot *target, uint64_t dialed_ms, int status);
void sl_retry_dial_succeeded(struct sl_pool *pool, struct sl_target_slot *target);
/* A connection was worth its login: earlier failures are forgiven. Until then they count on. */
void sl_retry_proved(struct sl_pool *pool, struct sl_conn_slot *conn);
/* A connection was lost before it was worth its login, at `ready_ms`: that is one more failed dial, or a server that
 * lets us in and hangs up would be dialed as fast as it does that. */
void sl_retry_login_wasted(struct sl_pool *pool, struct sl_target_slot *target, uint64_t ready_ms, int status);
/* An operator acted: forgets failed dials. */
void sl_retry_forgive(struct sl_pool *pool, struct sl_target_slot *target);

#endif
