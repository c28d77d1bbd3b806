/* SPDX-License-Identifier: MIT */
/* kexinit.h - what a server offers in its SSH_MSG_KEXINIT (RFC 4253 section 7.1), and what of it nobody here takes.
 * Pure.
 */
#ifndef SSHLEASE_SSH_KEYS_KEXINIT_H
#define SSHLEASE_SSH_KEYS_KEXINIT_H

#include "config/conf.h"

#include <stdint.h>

/* The name-lists that matter, in the order of the packet. */
enum {
    SL_KEXINIT_KEX,
    SL_KEXINIT_HOST_KEY,
    SL_KEXINIT_CIPHER_CS, /* from the client to the server, and back */
    SL_KEXINIT_CIPHER_SC,
    SL_KEXINIT_MAC_CS,
    SL_KEXINIT_MAC_SC,
    SL_KEXINIT_COMPRESSION_CS,
    SL_KEXINIT_COMPRESSION_SC,
    SL_KEXINIT_LISTS,
};
struct sl_kexinit {
    char *list[SL_KEXINIT_LISTS];
};

/* Reads a packet's payload, which may be followed by anything. 0; SL_E_INVALID when it is none, or a client's;
 * SL_E_NOMEM.
 */
int sl_kexinit_parse(const uint8_t *payload, size_t len, struct sl_kexinit *ret_kexinit);
void sl_kexinit_fini(struct sl_kexinit *kexinit);

/* What the two ends have nothing in common of. */
struct sl_kexinit_gap {
    enum { SL_GAP_NONE, SL_GAP_ALGORITHM, SL_GAP_COMPRESSION } what;
    enum sl_algorithm_kind kind;
    const char *offered; /* by the server; borrowed from its lists */
    const char
        *cipher;       /* a MAC's: where we offer a cipher that needs none and the server has it, too, its name; NULL */
    size_t cipher_len; /* without which it goes on */
};
/* `ours`: comma-separated, by kind. The first gap of the order in which the two ends agree. */
struct sl_kexinit_gap sl_kexinit_compare(const struct sl_kexinit *server, char *const ours[SL_ALGORITHM_KINDS]);

/* For a person: what the server offers, and the setting that would allow it, or that none would. `has` is what the
 * library has of the gap's kind. Returns `buf`; 640 bytes are enough. */
const char *sl_kexinit_explain(const struct sl_kexinit_gap *gap, const struct sl_strv *has, char *buf, size_t size);

#endif
