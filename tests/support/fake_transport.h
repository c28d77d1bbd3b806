/* SPDX-License-Identifier: MIT */
/* fake_transport.h - stands in for daemon/ssh in unit tests: implements daemon/ssh/transport.h without a network.
 *
 * Dials take and end as sl_fake_dial() says. A stream's command says what it does:
 *   cat        what is written comes back on stdout; ends with status 0 after its EOF
 *   exit N     ends with status N
 *   leave N    exits with status N at once, and its output ends after its EOF
 *   flood N    N bytes on stdout, then status 0
 *   hang       nothing, for ever
 *   sink       takes input and never says so; ends with status 0 after EOF
 *   refuse     the server says no
 *   slow       the server's yes takes 50 ms; then like hang
 * A forward's host or path is its command; what is accepted on a port is a cat. A port 1 is refused. */
#ifndef SSHLEASE_TESTS_FAKE_TRANSPORT_H
#define SSHLEASE_TESTS_FAKE_TRANSPORT_H

#include "daemon/ssh/transport.h"

/* The dials begun from now on take `ms` and end with `status`, `text` being the reason. */
void sl_fake_dial(struct sl_transport *transport, uint64_t ms, int status, const char *text);
/* The next connection that is up is lost in the same turn. */
void sl_fake_stillborn(struct sl_transport *transport);
/* Drains take so long from now on. */
void sl_fake_drain(struct sl_transport *transport, uint64_t ms);
/* A connection's server opens so many sessions at once from now on; 0: as many as are asked for. */
void sl_fake_sessions(struct sl_transport *transport, unsigned count);
/* Every connection that is up is lost now. */
void sl_fake_lose_all(struct sl_transport *transport, const char *text);

/* What logins are made of from now on. Looks end in the loop's next turn, or never. */
void sl_fake_basis(struct sl_transport *transport, const struct sl_basis *basis, bool looks_hang);

/* Somebody connects to every port that is listened on. */
void sl_fake_knock(struct sl_transport *transport);

struct sl_fake_counts {
    unsigned dialed, open, drained, pinged, streams_open, leases;
    unsigned remotes; /* ports listened on now */
    size_t written;   /* bytes given to sl_stream_write() */
    unsigned signals;
    unsigned looks;
    char last_env[64]; /* "NAME=value" of the last stream's first variable */
};
struct sl_fake_counts sl_fake_counts(const struct sl_transport *transport);

#endif
