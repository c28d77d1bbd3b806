/* SPDX-License-Identifier: MIT */
/* policy.h - the numbers the pool decides by, one set per target. Types only; includes nothing of ours.
 * Names and defaults: the table in the man page sshleased.yaml(5), where each number's origin stands too. */
#ifndef SSHLEASE_CONFIG_POLICY_H
#define SSHLEASE_CONFIG_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum sl_open_ahead { SL_OPEN_AHEAD_AUTO, SL_OPEN_AHEAD_YES, SL_OPEN_AHEAD_NO };

struct sl_policy {
    uint32_t max_connections;          /* 4; dialing + idle + leased + draining + closing never exceeds it */
    uint32_t min_idle;                 /* 0 */
    uint32_t streams;                  /* 8 channels at once on one connection */
    uint32_t sharing;                  /* 1; leases of one owner that may share one connection at once */
    uint32_t max_uses;                 /* 0: any number of commands on one connection */
    enum sl_open_ahead open_ahead;     /* auto; session channels opened before a command asks for one */
    uint32_t handshakes;               /* 4 dials at once to this target */
    uint32_t waiters;                  /* 2000: as many as limits.clients; a queue costs nothing */
    uint64_t acquire_timeout_ms;       /* 30 s */
    uint64_t acquire_notice_ms;        /* 5 s until a waiter is told that it waits */
    uint64_t connect_timeout_ms;       /* 10 s to TCP established */
    uint64_t login_timeout_ms;         /* 30 s from TCP to authenticated */
    uint64_t idle_timeout_ms;          /* 300 s; 0: never */
    uint64_t max_lifetime_ms;          /* 3600 s less up to 2.5 % by chance; 0: no limit */
    uint64_t server_alive_interval_ms; /* 30 s; 0: no pings */
    uint32_t server_alive_count_max;   /* 3 */
    uint64_t validate_after_ms;        /* 30 s without a byte received: ping before the grant */
    uint64_t validate_timeout_ms;      /* 5 s for that ping */
    uint64_t lease_timeout_ms;         /* 15 min unless renewed */
    uint64_t max_lease_ms;             /* 4 h, renewed or not */
    uint64_t kill_grace_ms;            /* 2 s from TERM to KILL */
    uint64_t retry_min_ms;             /* 1 s after a failed dial, doubling */
    uint64_t retry_max_ms;             /* 60 s */
    uint64_t auth_retry_ms;            /* 10 min after failed authentication */
    bool owners_shared;                /* owners: shared; else connections are kept apart by the client's uid */
};

/* Daemon-wide. */
struct sl_limits {
    uint32_t clients;           /* 2000 sockets, at whichever door */
    uint32_t descriptors;       /* 11000 that clients passed, or that were opened for them */
    uint32_t leases;            /* 2000 held or asked for */
    uint32_t streams;           /* 16000 */
    uint64_t held_mib;          /* 512 of what clients have sent and have not read */
    uint32_t user_share;        /* 50 percent of what the others leave of these; 100 in the one-user mode */
    uint32_t connections;       /* 1000 SSH connections in all */
    uint32_t handshakes;        /* 32 dials at once in all */
    uint32_t targets;           /* 1000, those of the one-user mode included */
    uint64_t shutdown_drain_ms; /* 60 s for leases to be released at shutdown */
};

#endif
