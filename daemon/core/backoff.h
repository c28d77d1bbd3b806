/* SPDX-License-Identifier: MIT */
/* backoff.h - what a failed dial means and how long to wait after it. Pure functions. */
#ifndef SSHLEASE_CORE_BACKOFF_H
#define SSHLEASE_CORE_BACKOFF_H

#include "config/policy.h"

enum sl_dial_failure {
    SL_DIAL_TRANSIENT,  /* may be better in a moment: waiters go on waiting */
    SL_DIAL_DEFINITE,   /* the target or what we log in with is not there: no use in waiting, the next client's attempt
                           may find it */
    SL_DIAL_REJECTED,   /* our credentials are no good: not again for auth_retry */
    SL_DIAL_MISMATCHED, /* the two ends have no algorithm in common: somebody must change one, not again for retry_max
                         */
    SL_DIAL_UNTRUSTED,  /* the host key is wrong: not again until an operator acted */
};
/* `status` is a code of proto/status.h. */
enum sl_dial_failure sl_dial_failure_of(int status);

/* How long to hold the next dial back after the `failures`-th failed one in a row: retry_min doubling to retry_max,
 * give or take a fifth (never more than retry_max, never 0). `chance` is any random number. */
uint64_t sl_backoff_ms(uint32_t failures, uint64_t retry_min_ms, uint64_t retry_max_ms, uint64_t chance);

#endif
