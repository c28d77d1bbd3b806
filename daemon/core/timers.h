/* SPDX-License-Identifier: MIT */
/* timers.h - a heap of deadlines whose entries live inside the objects they belong to. Pure; never allocates. */
#ifndef SSHLEASE_CORE_TIMERS_H
#define SSHLEASE_CORE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

enum sl_timer_kind { SL_TIMER_CONN, SL_TIMER_LEASE, SL_TIMER_TARGET, SL_TIMER_STOP };

struct sl_timer {
    uint64_t due_ms; /* UINT64_MAX: not set */
    uint32_t place;  /* in the heap, while set */
    enum sl_timer_kind kind;
};

struct sl_timers {
    struct sl_timer **item; /* room for every timer there is, reserved by the pool */
    uint32_t count;
    uint32_t capacity;
};

void sl_timer_init(struct sl_timer *timer, enum sl_timer_kind kind);

/* Sets, moves or (UINT64_MAX) clears. */
void sl_timers_set(struct sl_timers *timers, struct sl_timer *timer, uint64_t due_ms);

/* The one that is due first, borrowed, or NULL. */
struct sl_timer *sl_timers_first(const struct sl_timers *timers);

/* Whether heap and entries agree. */
bool sl_timers_check(const struct sl_timers *timers);

#endif
