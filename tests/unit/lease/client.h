/* SPDX-License-Identifier: MIT */
/* client.h - a front end's part in the driver's tests: asks for a lease, runs streams, and keeps what it is told. */
#ifndef SSHLEASE_TESTS_UNIT_LEASE_CLIENT_H
#define SSHLEASE_TESTS_UNIT_LEASE_CLIENT_H

#include "tests/support/lease_world.h"

/* One client: what it was told, as words. */
struct client {
    struct sl_world *world;
    struct sl_lease *lease;
    uint64_t id;
    char said[1024], text[512];
    int status;
    unsigned data, ends;
};

extern const struct sl_stream_handler client_stream_handler;

/* Another word. */
void client_say(struct client *c, const char *word);
void client_acquire_as(struct client *c, struct sl_world *w, const char *target, uid_t uid, uint64_t wait_ms);
void client_acquire(struct client *c, struct sl_world *w, const char *target);
struct sl_stream *client_run(struct client *c, const char *command);

#endif
