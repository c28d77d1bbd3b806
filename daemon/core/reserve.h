/* SPDX-License-Identifier: MIT */
/* reserve.h - all memory the core ever has. The only file of daemon/core that allocates; runs at configuration time
 * only. */
#ifndef SSHLEASE_CORE_RESERVE_H
#define SSHLEASE_CORE_RESERVE_H

#include "daemon/core/state.h"

/* Makes room for these targets and limits beside what exists now: connection and lease slots, target slots, timers, and
 * the actions one step can answer at most. Room only grows. 0, or SL_E_NOMEM: then nothing that anybody sees has
 * changed. */
int sl_reserve(
    struct sl_pool *pool, const struct sl_limits *limits, const struct sl_pool_target *targets, size_t count);

#endif
