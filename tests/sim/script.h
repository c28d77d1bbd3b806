/* SPDX-License-Identifier: MIT */
/* script.h - a world in a few words, for readable traces. Ends the program on words it does not know.
 *
 *   sim_targets(w, "limits: connections=2; a: max=1 lease=30000 dial=40; b: max=2");
 *       is the configuration, or the next one. Policy: max sharing min_idle handshakes waiters acquire notice idle
 * lifetime alive count validate validate_timeout lease max_lease grace retry retry_max auth_retry shared id; its
 * defaults are the daemon's, but alive=0. Server: dial fail=STATUS|ok hangup stall pong deaf drain drain_stall close.
 * Limits: connections handshakes clients. Times in ms. sim_do(w, "c1 acquire a owner=7 timeout=500 lease=100; c1 renew;
 * c2 acquire a patient; c1 release; c1 release unclean; c1 gone; c1 crowded; c1 displaced lost; c1 release spent;
 * c1 revoke; c1 disallow (by the next configuration); c1 unname (likewise: no-target); server a fail=connect; a.1 lost; a.1 alive; a.1 gone; a.1 deaf; reset a owner=7; shutdown drain=1000;
 * shutdown now"); sim_run_until(w, 1000); sim_expect(w, "[    0] dial a.1\n" ...);
 */
#ifndef SSHLEASE_SIM_SCRIPT_H
#define SSHLEASE_SIM_SCRIPT_H

#include "tests/sim/world.h"

struct world *sim_new(void);
void sim_targets(struct world *w, const char *text);
void sim_do(struct world *w, const char *text);
/* The credentials of every target have worked; nothing is left of the connections that showed it. Before anything else,
 * and not with min_idle. */
void sim_warm(struct world *w);

static inline void sim_run_until(struct world *w, uint64_t until_ms)
{
    world_run_until(w, until_ms);
}

/* The trace since the last look, exactly. */
#define sim_expect(w, text)                                                                                            \
    do {                                                                                                               \
        assert_string_equal((w)->trace != NULL ? (w)->trace : "", (text));                                             \
        world_trace_clear(w);                                                                                          \
    } while (0)

/* The settings a target has where nothing else is said. */
struct sl_policy sim_default_policy(void);
struct sl_limits sim_default_limits(void);

#endif
