/* SPDX-License-Identifier: MIT */
/* Sorts failed dials into classes by their status, and doubles the wait after each, with a fifth of jitter. */
#include "daemon/core/backoff.h"

#include "proto/status.h"

enum sl_dial_failure sl_dial_failure_of(int status)
{
    switch (status) {
    case SL_E_AUTH_FAILED:
        return SL_DIAL_REJECTED;
    case SL_E_HOST_KEY_UNKNOWN:
    case SL_E_HOST_KEY_CHANGED:
    case SL_E_HOST_KEY_REVOKED:
        return SL_DIAL_UNTRUSTED;
    case SL_E_NO_ALGORITHM:
        return SL_DIAL_MISMATCHED;
    case SL_E_RESOLVE:
    case SL_E_CONNECT:
    case SL_E_CREDENTIALS: /* nothing was rejected: an agent or a file may be there in a moment */
        return SL_DIAL_DEFINITE;
    default:
        return SL_DIAL_TRANSIENT;
    }
}

uint64_t sl_backoff_ms(uint32_t failures, uint64_t retry_min_ms, uint64_t retry_max_ms, uint64_t chance)
{
    uint64_t base = retry_min_ms > 0 ? retry_min_ms : 1;
    for (uint32_t i = 1; i < failures && base < retry_max_ms; i++)
        base = base > UINT64_MAX / 2 ? UINT64_MAX : base * 2;
    if (base > retry_max_ms)
        base = retry_max_ms > 0 ? retry_max_ms : 1;

    /* Many daemons may have lost the same target at the same moment: spread them, at the maximum too. */
    uint64_t fifth = base / 5;
    uint64_t least = base - fifth;
    uint64_t most = base > UINT64_MAX - fifth ? UINT64_MAX : base + fifth;
    if (most > retry_max_ms)
        most = base > retry_max_ms ? base : retry_max_ms;
    return least + chance % (most - least + 1);
}
