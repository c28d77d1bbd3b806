/* SPDX-License-Identifier: MIT */
/* socket_world.h - what the tests of the client socket share: one socket on a loop, a plain descriptor as its peer. */
#ifndef SSHLEASE_TESTS_SOCKET_WORLD_H
#define SSHLEASE_TESTS_SOCKET_WORLD_H

#include "daemon/net/socket.h"

/* One socket and what it has said; the other end is a plain descriptor. */
struct world {
    uv_loop_t loop;
    struct sl_socket *socket;
    int peer;
    unsigned frames, drains, ends, closes, fds_told;
    uint32_t last_type;
    size_t last_len;
    int end_status;
    /* What on_frame does besides counting. */
    enum { DO_COUNT, DO_ANSWER, DO_CLOSE, DO_EXPECT, DO_TAKE } on_frame;
    unsigned wanted; /* descriptors, by DO_EXPECT (once) or DO_TAKE */
    int taken[3];
    uv_timer_t limit;
};

struct world *start(void);
/* Closes the socket, if it still is; nothing may be left. */
void stop(struct world *w);
void say(struct world *w, const void *data, size_t len);
/* Reads what there is; the bytes read. */
size_t hear(struct world *w);
size_t make_frame(uint8_t *buf, size_t size, uint32_t type, size_t body_len);
extern const struct sl_socket_handler world_handler;

unsigned open_descriptors(void);
/* The group's set-up and tear-down: no descriptor is left. */
int count_descriptors(void **state);

#define RUN_UNTIL(w, condition)                                                                                        \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            (void)uv_run(&(w)->loop, UV_RUN_ONCE);                                                                     \
    } while (0)

#endif
