/* SPDX-License-Identifier: MIT */
/* The to-do list: what happened to which object, in the order in which it happened. */
#include "daemon/lease/state.h"

void sl_driver_note(struct sl_driver *d, struct sl_work *work, unsigned todo)
{
    if (work->todo == 0)
        TAILQ_INSERT_TAIL(&d->todo, work, entry);
    work->todo |= todo;
}

void sl_driver_forget(struct sl_driver *d, struct sl_work *work)
{
    if (work->todo != 0)
        TAILQ_REMOVE(&d->todo, work, entry);
    work->todo = 0;
}

void sl_driver_note_last(struct sl_driver *d, struct sl_work *work)
{
    if (work->todo != 0) {
        TAILQ_REMOVE(&d->todo, work, entry);
        TAILQ_INSERT_TAIL(&d->todo, work, entry);
    }
}
