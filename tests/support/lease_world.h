/* SPDX-License-Identifier: MIT */
/* lease_world.h - a loop, a fake transport and the real driver over the real core, for the tests above them. */
#ifndef SSHLEASE_TESTS_SUPPORT_LEASE_WORLD_H
#define SSHLEASE_TESTS_SUPPORT_LEASE_WORLD_H

#include "daemon/lease/lease.h"
#include "tests/support/fake_transport.h"

struct sl_world {
    uv_loop_t loop;
    struct sl_transport *transport;
    struct sl_driver *driver;
    uv_timer_t tick;   /* turns the loop, so that conditions are looked at */
    uint64_t limit_ms; /* the test fails then */
    bool stopped;
};

/* Credentials for a target; put it under `defaults`. */
#define WORLD_LOGIN "user: u, password: {env: SL_TEST_PASSWORD}, allow: {users: [0, 1, 2]}"

/* A configuration from YAML; fails the test with its errors. */
struct sl_conf *sl_world_conf(const char *yaml, bool one_user);
void sl_world_init(struct sl_world *world, const char *yaml, bool one_user);
/* Shuts the driver down at once if it is not yet; then checks that the loop closes clean. */
void sl_world_fini(struct sl_world *world);
/* The value of a counter, 0 when it has not come up. */
uint64_t sl_world_counter(struct sl_world *world, const char *name, const char *label);
/* For sl_driver_shutdown(); `arg` is the world. */
void sl_world_stopped(void *arg);

/* Runs the loop until the condition holds. */
#define WORLD_UNTIL(world, condition)                                                                                  \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            (void)uv_run(&(world)->loop, UV_RUN_ONCE);                                                                 \
    } while (0)

/* Lets everything happen that needs no time. */
void sl_world_settle(struct sl_world *world);

#endif
