/* SPDX-License-Identifier: MIT */
/* algorithms.h - which algorithms are offered to a server, in which order, and which keys a target lets be used. Pure:
 * what the SSH library has is said by supported.h. */
#ifndef SSHLEASE_SSH_KEYS_ALGORITHMS_H
#define SSHLEASE_SSH_KEYS_ALGORITHMS_H

#include "config/conf.h"
#include "daemon/ssh/keys/known_hosts.h"

/* What is offered where a target names nothing, comma-separated, best first; as ssh does but for what the library lacks
 * or does not do safely. Static. */
const char *sl_algorithms_default(enum sl_algorithm_kind kind);
/* Whether a target may name what the library claims to have. */
bool sl_algorithms_usable(enum sl_algorithm_kind kind, const char *name);

/* Whether it is left out of the defaults because this library does not do it safely. */
bool sl_algorithms_risky(const char *name, size_t name_len);

/* What is offered to the target's server, comma-separated, best first. Of the host-key algorithms those whose keys are
 * known for the host come first unless the target says in which order, the rest behind them, so that a server without
 * the known key is told so by name instead of failing the handshake. From malloc(); NULL: no memory. */
char *sl_algorithms_offer(
    const struct sl_target_conf *target, enum sl_algorithm_kind kind, const struct sl_known_keys *known);

/* Whether a cipher authenticates by itself, so that no MAC is agreed upon. */
bool sl_algorithms_needs_no_mac(const char *cipher, size_t len);
/* Puts such ciphers of an offer first. False: no memory. */
bool sl_algorithms_put_first_without_mac(char *ciphers);

/* Of pubkey_accepted_algorithms what RSA keys may sign with, their certificates too; "" where the target names nothing
 * or none of them. From malloc(); NULL: no memory. */
char *sl_algorithms_rsa_signatures(const struct sl_target_conf *target);
/* Whether the target lets a key, or a certificate, of that type ("ssh-rsa") be offered. */
bool sl_algorithms_accept_key(const struct sl_target_conf *target, const char *type, size_t type_len);

/* Lists of names, as they travel (RFC 4251 section 5). */
bool sl_name_list_has(const char *list, const char *name, size_t name_len);
/* The next name; false when there is none left. */
bool sl_name_list_next(const char **list, const char **ret_name, size_t *ret_len);

#endif
