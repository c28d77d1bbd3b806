/* SPDX-License-Identifier: MIT */
/* key_file.h - what can be told of a private key file without its passphrase: its public half, and whether it is
 * encrypted. Pure. */
#ifndef SSHLEASE_SSH_KEYS_KEY_FILE_H
#define SSHLEASE_SSH_KEYS_KEY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_key_file {
    bool is_key; /* it looks like a private key at all */
    bool encrypted;
    uint8_t *blob; /* the public key's, where the format shows it (OpenSSH's own does); else NULL */
    size_t blob_len;
};

/* 0 or SL_E_NOMEM; sl_key_file_fini() frees the result. */
int sl_key_file_look(const char *text, size_t len, struct sl_key_file *ret_file);
void sl_key_file_fini(struct sl_key_file *file);

/* "ssh-ed25519 AAAA…", the form of a .pub file; the caller frees it. NULL when out of memory or when it is no key. */
char *sl_key_public_line(const uint8_t *blob, size_t len);
/* The blob of a .pub file's (or certificate's) first line. 0, SL_E_INVALID or SL_E_NOMEM; the caller frees it. */
int sl_key_public_blob(const char *text, size_t len, uint8_t **ret_blob, size_t *ret_len);

#endif
