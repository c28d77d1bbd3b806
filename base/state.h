/* SPDX-License-Identifier: MIT */
/* state.h - a state machine: the table of its states, and the one way to change a state. Pure.
 *
 *     static const struct sl_state states[] = {
 *         [DOOR_OPEN] = {"open", SL_TO(DOOR_CLOSED)},
 *         [DOOR_CLOSED] = {"closed", SL_TO(DOOR_OPEN) | SL_TO(DOOR_LOCKED)}, …
 *     };
 *     SL_MOVE(states, door->state, DOOR_LOCKED);
 *
 * A move that the table does not have ends the program like an assertion, in every build, and names both states. The
 * first state of an enum is the one in which objects are made. */
#ifndef SSHLEASE_BASE_STATE_H
#define SSHLEASE_BASE_STATE_H

#include <assert.h>
#include <stdio.h>

struct sl_state {
    const char *name;
    unsigned next; /* SL_TO() of each state that may follow */
};

#define SL_TO(state) (1u << (state))

#define SL_MOVE(states, state, to)                                                                                     \
    do {                                                                                                               \
        if (((states)[state].next & SL_TO(to)) == 0)                                                                   \
            sl_no_move(#state, (states)[state].name, (states)[to].name, __FILE__, __LINE__, __func__);                 \
        (state) = (to);                                                                                                \
    } while (0)

static inline void sl_no_move(
    const char *what, const char *from, const char *to, const char *file, unsigned line, const char *function)
{
    char text[160];
    snprintf(text, sizeof text, "%s: %s -> %s is no move", what, from, to);
    __assert_fail(text, file, line, function);
}

#endif
