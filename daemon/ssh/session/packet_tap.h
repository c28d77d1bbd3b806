/* SPDX-License-Identifier: MIT */
/* packet_tap.h - sees what libssh2 does not tell: whether an exit status really came (its answer is 0 when none did),
 * which number a channel got, why one was refused, which of two answers came first, what a server offers, what a login
 * was told, and how much memory a session holds. Watches through libssh2's own allocator hooks. The memory is
 * malloc()'s own: libssh2 gives some of it to OpenSSL to free. */
#ifndef SSHLEASE_SSH_SESSION_PACKET_TAP_H
#define SSHLEASE_SSH_SESSION_PACKET_TAP_H

#include "daemon/ssh/keys/auth_said.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_PACKET_TAP_NO_CHANNEL UINT32_MAX

enum sl_packet_tap_exit { SL_PACKET_TAP_STATUS, SL_PACKET_TAP_SIGNAL, SL_PACKET_TAP_SIGNAL_CORE };

struct sl_packet_tap {
    size_t bytes;    /* held by the session now */
    size_t max;      /* beyond it allocations fail, and with them the session: a hostile server cannot have it all */
    uint32_t opened; /* our number of the channel confirmed last, or SL_PACKET_TAP_NO_CHANNEL */
    /* Memory that is given back is freed as it is. Before the login it is wiped, for keys, passwords and what they
     * are made from lie in it, and libssh2 wipes little of that. */
    bool unwiped;
    struct sl_auth_said said; /* as long as it wipes */
    uint64_t serial;          /* of the last allocation: packets are allocated in the order in which they arrive */
    uint64_t answer;  /* the serial of the last CHANNEL_SUCCESS or CHANNEL_FAILURE that libssh2 took for a request's */
    uint32_t refusal; /* the reason of the last CHANNEL_OPEN_FAILURE */
    char refusal_text[96];
    void (*on_exit)(void *arg, uint32_t channel, enum sl_packet_tap_exit exit);
    /* A KEXINIT, the server's or ours: its payload and what is behind it. NULL: nobody wants to know any more. */
    void (*on_kexinit)(void *arg, const uint8_t *payload, size_t len);
    void *arg;
};

/* As malloc, realloc and free, keeping the books. */
void *sl_packet_tap_alloc(struct sl_packet_tap *tap, size_t len);
void *sl_packet_tap_realloc(struct sl_packet_tap *tap, void *mem, size_t len);
/* What the last refusal of a channel said, for a person: "connect failed: Connection refused". Returns `buf`. */
const char *sl_packet_tap_refusal(const struct sl_packet_tap *tap, char *buf, size_t size);
/* libssh2 frees a packet when it is done with it: the moment to look at it. */
void sl_packet_tap_free(struct sl_packet_tap *tap, void *mem);

#endif
