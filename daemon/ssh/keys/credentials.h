/* SPDX-License-Identifier: MIT */
/* credentials.h - keys, certificates and secrets of a target, read into memory when it is dialed and wiped after use.
 * Blocks: for workers only. */
#ifndef SSHLEASE_SSH_KEYS_CREDENTIALS_H
#define SSHLEASE_SSH_KEYS_CREDENTIALS_H

#include "config/conf.h"
#include "daemon/ssh/keys/file.h"

#include <stdint.h>

/* One identity that may be tried: a key, or a key with its certificate. */
struct sl_credential {
    char *path;
    struct sl_file private_key;
    char *public_line; /* key or certificate as in a .pub file; NULL: only the private key tells */
    uint8_t *blob;     /* the same as bytes, or NULL */
    size_t blob_len;
    bool encrypted;
};

struct sl_credentials {
    struct sl_credential *item;
    size_t count;
    char *passphrase;  /* NULL: none */
    char *password;    /* NULL: none */
    char trouble[400]; /* what could not be used, and why; "" when nothing */
    int shortage;      /* SL_E_LIMIT or SL_E_NOMEM: not all could be looked at just now, so they tell nothing; else 0 */
};

/* What cannot be read or used is left out and named in `trouble`. 0 or SL_E_NOMEM. */
int sl_credentials_load(const struct sl_target_conf *target, struct sl_credentials **ret_credentials);
/* Adds one more thing that could not be used. */
void sl_credentials_note_trouble(struct sl_credentials *credentials, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Wipes and frees. NULL is fine. */
void sl_credentials_free(struct sl_credentials *credentials);

#endif
