/* SPDX-License-Identifier: MIT */
/* far.h - the far ends of forwards, for tests: ports of this machine that the private sshd connects to, or listens on.
 */
#ifndef SSHLEASE_TESTS_UNIT_SSH_FAR_H
#define SSHLEASE_TESTS_UNIT_SSH_FAR_H

#include "tests/unit/ssh/rig.h"

/* A listening socket on a free port of 127.0.0.1. */
int far_listen(uint16_t *ret_port, int backlog);
/* A connected socket; -1 where nobody listens. */
int far_dial(uint16_t port);
/* Reads just these bytes. */
void far_expect(int fd, const char *text, size_t len);
/* Asks `conn` for a forward to that port of 127.0.0.1. */
int far_open_tcp(struct rig_conn *conn, struct rig_stream *stream, uint16_t port);

/* A port whose queue is full: the kernel drops what more comes, and whoever connects waits. */
struct far_hole {
    int listener;
    int filler[8];
    size_t fillers;
    uint16_t port;
};
void far_dig(struct far_hole *hole);
void far_fill(struct far_hole *hole);

#endif
