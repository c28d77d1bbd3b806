/* algorithms.h - which algorithms are offered to a server, in which order. Pure. */
#ifndef SSHLEASE_SSH_ALGORITHMS_H
#define SSHLEASE_SSH_ALGORITHMS_H

#include "daemon/ssh/known_hosts.h"

/* Comma-separated, best first. aes128-ctr with an encrypt-then-MAC HMAC leads: it is clear of every advisory against
 * libssh2 that is open, and the fastest here; chacha20-poly1305 stands last, for a server that has nothing else. */
#define SL_ALGORITHMS_CIPHER                                                                                           \
    "aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"
#define SL_ALGORITHMS_MAC "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"
#define SL_ALGORITHMS_KEX                                                                                              \
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"         \
    "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha256,"                \
    "diffie-hellman-group14-sha256"

/* The host-key algorithms: those whose keys are known for the host first, the rest behind them, so that a server
 * without the known key is told so by name instead of failing the handshake. Writes at most `size` bytes; 256 are
 * enough. */
void sl_algorithms_host_key(const struct sl_known_keys *keys, char *out, size_t size);

#endif
