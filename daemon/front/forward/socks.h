/* SPDX-License-Identifier: MIT */
/* socks.h - SOCKS 4, 4a and 5, as a server that only connects and asks for no password. Pure: bytes in, bytes and
 * a destination out; no I/O. */
#ifndef SSHLEASE_FRONT_FORWARD_SOCKS_H
#define SSHLEASE_FRONT_FORWARD_SOCKS_H

#include <stddef.h>
#include <stdint.h>

/* More no request is; RFC 1928 section 4, and a user name of SOCKS 4 that has an end. */
#define SL_SOCKS_REQUEST_MAX 1024u
/* No answer is longer. */
#define SL_SOCKS_REPLY_MAX 22u
#define SL_SOCKS_HOST_MAX  256u

enum sl_socks_phase {
    SL_SOCKS_GREETING, /* nothing is known yet */
    SL_SOCKS_REQUEST,  /* SOCKS 5: the method is agreed on */
    SL_SOCKS_ASKED,    /* `host` and `port` are what it wants; answered by sl_socks_answer() */
    SL_SOCKS_FAILED,   /* no SOCKS, or nothing we do; what is to be said was said */
};

struct sl_socks {
    enum sl_socks_phase phase;
    uint8_t version; /* 4 or 5 */
    char host[SL_SOCKS_HOST_MAX];
    uint16_t port;
    const char *why; /* FAILED: for the log; static */
};

/* Zeroes it. */
void sl_socks_init(struct sl_socks *socks);

/* Takes bytes from the client: returns how many were used; 0 with phase GREETING or REQUEST: more are needed, from the
 * same place on. It uses one message at a time, so call it again while it uses any. What is to be sent back is put
 * into `reply`. `len` of SL_SOCKS_REQUEST_MAX and more is never too little. */
size_t sl_socks_feed(
    struct sl_socks *socks, const uint8_t *data, size_t len, uint8_t reply[SL_SOCKS_REPLY_MAX], size_t *ret_reply_len);

/* The answer to a request: whether it is connected. Returns its length. */
enum sl_socks_verdict { SL_SOCKS_CONNECTED, SL_SOCKS_REFUSED };
size_t sl_socks_answer(const struct sl_socks *socks, enum sl_socks_verdict verdict, uint8_t reply[SL_SOCKS_REPLY_MAX]);

#endif
