/* SPDX-License-Identifier: MIT */
/* status.h - every status code of sshlease, in one table. Pure: includes nothing of ours, any room may include it. */
#ifndef SSHLEASE_PROTO_STATUS_H
#define SSHLEASE_PROTO_STATUS_H

#include <stdbool.h>

/* X(name, number, wire and log name, text, retryable)
 * `retryable`: trying the same again later may work without anybody changing anything. Numbers travel in ERROR messages
 * (as positive uint32) and stand in the client library's header: never renumber, only add. */
#define SL_STATUS_TABLE(X)                                                                                             \
    /* general */                                                                                                      \
    X(NOMEM, 1, "out-of-memory", "out of memory", true)                                                                \
    X(INVALID, 2, "invalid", "invalid argument", false)                                                                \
    X(PROTOCOL, 3, "protocol", "protocol violation", false)                                                            \
    X(VERSION, 4, "version", "protocol version not spoken here", false)                                                \
    X(NOT_ALLOWED, 5, "not-allowed", "not allowed", false)                                                             \
    X(LIMIT, 6, "limit", "a limit of the daemon is reached", true)                                                     \
    X(IO, 7, "io", "input/output error", false)                                                                        \
    X(INTERNAL, 8, "internal", "internal error", false)                                                                \
    X(AGAIN, 9, "again", "not ready yet", true)                                                                        \
    X(CONFIG, 10, "config", "the configuration is not valid", false)                                                   \
    X(CANCELLED, 11, "cancelled", "cancelled", true)                                                                   \
    X(UNSUPPORTED, 12, "unsupported", "not offered here", false)                                                       \
    /* acquiring */                                                                                                    \
    X(NO_TARGET, 20, "no-target", "no such target", false)                                                             \
    X(TIMEOUT, 21, "timeout", "timed out", true)                                                                       \
    X(QUEUE_FULL, 22, "queue-full", "too many are waiting already", true)                                              \
    X(TARGET_DOWN, 23, "target-down", "the target is down", true)                                                      \
    X(SHUTDOWN, 24, "shutdown", "the daemon is shutting down", true)                                                   \
    /* the end of a lease */                                                                                           \
    X(NO_LEASE, 30, "no-lease", "no such lease", false)                                                                \
    X(EXPIRED, 31, "expired", "the lease ran out", true)                                                               \
    X(REVOKED, 32, "revoked", "an operator took the lease back", true)                                                 \
    X(CONNECTION_LOST, 33, "connection-lost", "the SSH connection was lost", true)                                     \
    X(CLIENT_GONE, 34, "client-gone", "the client went away", true)                                                    \
    /* streams */                                                                                                      \
    X(STREAM_LIMIT, 40, "stream-limit", "too many streams on this connection", true)                                   \
    X(STREAM_REFUSED, 41, "stream-refused", "the server refused the stream", false)                                    \
    X(NO_STREAM, 42, "no-stream", "no such stream", false)                                                             \
    /* connecting */                                                                                                   \
    X(RESOLVE, 50, "resolve", "the host name does not resolve", true)                                                  \
    X(CONNECT, 51, "connect", "cannot connect", true)                                                                  \
    X(CONNECT_TIMEOUT, 52, "connect-timeout", "connecting timed out", true)                                            \
    X(LOGIN_TIMEOUT, 53, "login-timeout", "logging in timed out", true)                                                \
    X(HANDSHAKE, 54, "handshake", "the SSH handshake failed", true)                                                    \
    X(HOST_KEY_UNKNOWN, 55, "host-key-unknown", "the host key is not known", false)                                    \
    X(HOST_KEY_CHANGED, 56, "host-key-changed", "the host key has CHANGED", false)                                     \
    X(HOST_KEY_REVOKED, 57, "host-key-revoked", "the host key is revoked", false)                                      \
    X(AUTH_FAILED, 58, "auth-failed", "the server rejects the credentials", false)                                     \
    X(CREDENTIALS, 59, "credentials", "the credentials cannot be used", false)                                         \
    X(PEER_DEAD, 60, "peer-dead", "the server does not answer", true)                                                  \
    X(NO_ALGORITHM, 61, "no-algorithm", "no algorithm in common with the server", false)                               \
    /* the client's side; BUSY answers a second ACQUIRE on one socket, too */                                          \
    X(NO_DAEMON, 70, "no-daemon", "no sshleased is listening", true)                                                   \
    X(DAEMON_GONE, 71, "daemon-gone", "sshleased closed the connection", true)                                         \
    X(BUSY, 72, "busy", "the handle is busy with another request", true)                                               \
    X(FORKED, 73, "forked", "the handle belongs to the process that forked", false)

#define SL_STATUS_ENUM(name, number, id, text, retryable) SL_E_##name = -(number),
enum sl_status { SL_STATUS_TABLE(SL_STATUS_ENUM) }; /* 0: success */
#undef SL_STATUS_ENUM

/* "connection-lost" for SL_E_CONNECTION_LOST, "ok" for 0, "unknown" for what the table does not hold. Static. */
const char *sl_status_name(int status);

/* One line for a person, without a full stop. Static. */
const char *sl_status_text(int status);

/* Whether the same request may succeed later by itself. */
bool sl_status_retryable(int status);

#endif
