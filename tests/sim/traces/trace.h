/* SPDX-License-Identifier: MIT */
/* trace.h - what every file of traces begins with. */
#ifndef SSHLEASE_SIM_TRACE_H
#define SSHLEASE_SIM_TRACE_H

#include "tests/sim/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* void name(struct world *w) as a test with a world of its own. */
#define TRACE(name)                                                                                                    \
    static void name##_in(struct world *w);                                                                            \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        struct world *w = sim_new();                                                                                   \
        name##_in(w);                                                                                                  \
        world_free(w);                                                                                                 \
    }                                                                                                                  \
    static void name##_in(struct world *w)

#endif
