/* agent_codec.h - the ssh-agent protocol (draft-miller-ssh-agent): the two requests we make, and their answers. Pure.
 */
#ifndef SSHLEASE_SSH_AGENT_CODEC_H
#define SSHLEASE_SSH_AGENT_CODEC_H

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
/* The signature as libssh2 wants it: without the algorithm's name, and for keys in hardware with flags and counter.
 * 0, SL_E_CREDENTIALS when the agent said no, SL_E_PROTOCOL. Borrowed. */
int sl_agent_get_signature(struct sl_bytes answer, struct sl_bytes *ret_signature);

/* The flags for what SSH_MSG_USERAUTH_REQUEST data (RFC 4252 section 7) says is to be signed. */
uint32_t sl_agent_sign_flags(struct sl_bytes to_sign);

#endif
