/* SPDX-License-Identifier: MIT */
/* auth_said.h - what the server's packets say while one logs in and libssh2 keeps to itself: what may be tried next,
 * and whether the last try was good and another is wanted (RFC 4252 section 5.1); which signatures it takes (RFC 8308
 * section 3.1). Pure. */
#ifndef SSHLEASE_SSH_KEYS_AUTH_SAID_H
#define SSHLEASE_SSH_KEYS_AUTH_SAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_auth_said {
    uint32_t failures; /* answers "no" or "not yet" so far */
    bool partial;      /* the last was "not yet" */
    char methods[128]; /* it named */
    bool names_sig_algs;
    char sig_algs[512]; /* "rsa-sha2-512,…" */
};

/* Takes note of a packet, or of any other memory: what does not look like one of these two is left alone. */
void sl_auth_said_look(struct sl_auth_said *said, const uint8_t *mem, size_t len);

#endif
