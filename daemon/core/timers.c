/* SPDX-License-Identifier: MIT */
/* A binary heap: each timer knows its place in it, so that moving or removing one needs no search. */
#include "daemon/core/timers.h"

#include <assert.h>
#include <stddef.h>

void sl_timer_init(struct sl_timer *timer, enum sl_timer_kind kind)
{
    *timer = (struct sl_timer){.due_ms = UINT64_MAX, .kind = kind};
}

static void put(struct sl_timers *timers, uint32_t place, struct sl_timer *timer)
{
    timers->item[place] = timer;
    timer->place = place;
}

static void sift_up(struct sl_timers *timers, struct sl_timer *timer)
{
    uint32_t place = timer->place;
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        if (timers->item[parent]->due_ms <= timer->due_ms)
            break;
        put(timers, place, timers->item[parent]);
        place = parent;
    }
    put(timers, place, timer);
}

static void sift_down(struct sl_timers *timers, struct sl_timer *timer)
{
    uint32_t place = timer->place;
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count && timers->item[child + 1]->due_ms < timers->item[child]->due_ms)
            child++;
        if (timers->item[child]->due_ms >= timer->due_ms)
            break;
        put(timers, place, timers->item[child]);
        place = child;
    }
    put(timers, place, timer);
}

void sl_timers_set(struct sl_timers *timers, struct sl_timer *timer, uint64_t due_ms)
{
    uint64_t old = timer->due_ms;
    if (due_ms == old)
        return;
    timer->due_ms = due_ms;
    if (old == UINT64_MAX) {
        assert(timers->count < timers->capacity);
        put(timers, timers->count++, timer);
        sift_up(timers, timer);
    } else if (due_ms == UINT64_MAX) {
        struct sl_timer *last = timers->item[--timers->count];
        if (last != timer) {
            put(timers, timer->place, last);
            sift_up(timers, last);
            sift_down(timers, last);
        }
    } else if (due_ms < old) {
        sift_up(timers, timer);
    } else {
        sift_down(timers, timer);
    }
}

struct sl_timer *sl_timers_first(const struct sl_timers *timers)
{
    return timers->count == 0 ? NULL : timers->item[0];
}

bool sl_timers_check(const struct sl_timers *timers)
{
    for (uint32_t i = 0; i < timers->count; i++) {
        const struct sl_timer *timer = timers->item[i];
        if (timer->place != i || timer->due_ms == UINT64_MAX)
            return false;
        if (i > 0 && timers->item[(i - 1) / 2]->due_ms > timer->due_ms)
            return false;
    }
    return true;
}
