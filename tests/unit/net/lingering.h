/* SPDX-License-Identifier: MIT */
/* lingering.h - a descriptor whose last close waits for an hour, and the passing of it. */
#ifndef SSHLEASE_TESTS_LINGERING_H
#define SSHLEASE_TESTS_LINGERING_H

/* One end of a connection that has something to send, which the other end, *ret_peer, never reads. */
int lingering_socket(int *ret_peer);
/* Sends it, and one byte, by a Unix socket. */
void pass_descriptor(int by, int fd);

#endif
