/* SPDX-License-Identifier: MIT */
/* agent_codec.h - the ssh-agent protocol (draft-miller-ssh-agent): the two requests we make, and their answers. Pure.
 */
#ifndef SSHLEASE_SSH_KEYS_AGENT_CODEC_H
#define SSHLEASE_SSH_KEYS_AGENT_CODEC_H

#include "proto/wire.h"

/* An answer, without its length, may be this long. */
#define SL_AGENT_MESSAGE_MAX 262144u
#define SL_AGENT_KEYS_MAX    64u

#define SL_AGENT_RSA_SHA2_256 2u
#define SL_AGENT_RSA_SHA2_512 4u

/* Both write a whole message, length included. */
void sl_agent_put_list(struct sl_writer *w);
void sl_agent_put_sign(struct sl_writer *w, struct sl_bytes blob, struct sl_bytes data, uint32_t flags);

struct sl_agent_key {
    struct sl_bytes blob, comment; /* borrowed from the answer */
};
/* An answer without its length. 0, or SL_E_PROTOCOL. At most SL_AGENT_KEYS_MAX are returned, the first. */
int sl_agent_get_list(struct sl_bytes answer, struct sl_agent_key *ret_key, size_t *ret_count);
/* The signature as libssh2 wants it: apart from the algorithm's name, and for keys in hardware with flags and counter.
 * 0, SL_E_CREDENTIALS when the agent said no, SL_E_PROTOCOL. Borrowed. */
int sl_agent_get_signature(struct sl_bytes answer, struct sl_bytes *ret_algorithm, struct sl_bytes *ret_signature);

/* What SSH_MSG_USERAUTH_REQUEST data (RFC 4252 section 7) says it is to be signed with. 0 or SL_E_PROTOCOL. Borrowed.
 */
int sl_agent_get_algorithm(struct sl_bytes to_sign, struct sl_bytes *ret_algorithm);
/* The flags for it. */
uint32_t sl_agent_sign_flags(struct sl_bytes algorithm);
/* Whether a signature of this name is one with this algorithm, which may be a certificate's. */
bool sl_agent_is_signed_with(struct sl_bytes signature_algorithm, struct sl_bytes algorithm);

#endif
