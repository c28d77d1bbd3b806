/* SPDX-License-Identifier: MIT */
/* streams.h - what a lease's holder does with a stream, or with a port of the server's: for front ends and relays. A
 * stream is begun through its lease (daemon/lease/lease.h). As transport.h: all of it belongs to the loop's thread, and
 * no callback runs before the call that caused it has returned. */
#ifndef SSHLEASE_SSH_STREAMS_H
#define SSHLEASE_SSH_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_stream; /* one channel that a lease uses */
struct sl_remote; /* one port of the server's that is listened on for us */

/* --- streams --- */

/* Bytes a stream takes towards the server before the writer has to wait for on_sent. */
#define SL_STREAM_WINDOW 262144u

struct sl_stream_pty {
    const char *term;
    uint32_t cols, rows, width_px, height_px;
    const uint8_t *modes; /* RFC 4254 section 8; NULL: none */
    size_t modes_len;
};
struct sl_stream_env {
    const char *name, *value;
};
/* Everything is copied. */
struct sl_stream_spec {
    /* EXEC to SUBSYSTEM have the numbers of the wire. The rest are forwards: the server connects to `host` and `port`,
     * or to the socket at `path`, within the target's connect_timeout. They have no stderr, signals, pty or
     * environment. */
    enum { SL_SPEC_EXEC = 1, SL_SPEC_SHELL = 2, SL_SPEC_SUBSYSTEM = 3, SL_SPEC_TCP = 16, SL_SPEC_UNIX = 17 } kind;
    const char *command;             /* or the subsystem's name; NULL for a shell */
    const char *host, *path;         /* of a forward */
    uint16_t port;                   /* of a forward */
    const char *origin;              /* a forward's originator, for the server's log; NULL: 127.0.0.1 */
    uint16_t origin_port;            /* 0: none */
    const struct sl_stream_pty *pty; /* NULL: none */
    const struct sl_stream_env *env; /* only what the target's send_env lets pass is sent; refusals are ignored */
    size_t env_count;
    size_t credit; /* bytes of output that may be delivered before the first sl_stream_credit() */
};

struct sl_stream_result {
    /* STATUS to UNKNOWN have the numbers of the wire; CLOSED is the orderly end of a forward, which has no status. */
    enum { SL_RESULT_STATUS = 0, SL_RESULT_SIGNAL = 1, SL_RESULT_UNKNOWN = 2, SL_RESULT_CLOSED = 16 } how;
    uint32_t exit_status;
    const char *signal; /* "TERM"; valid during the callback */
    bool core_dumped;
    const char *text; /* why it is unknown, or ""; valid during the callback */
};

struct sl_stream_handler {
    /* The server said yes (status 0) or no (SL_E_STREAM_REFUSED, SL_E_STREAM_LIMIT …; on_end follows at once). */
    void (*on_open)(void *arg, int status, const char *text);
    /* Output; `fd` 0 is stdout, 1 stderr. Never more than the credit given; `data` is valid during the callback. */
    void (*on_data)(void *arg, int fd, const uint8_t *data, size_t len);
    /* stdout and stderr have both ended. */
    void (*on_eof)(void *arg);
    /* So many bytes given to sl_stream_write() have left our buffer: there is room for as many again. */
    void (*on_sent)(void *arg, size_t len);
    /* How the command ended, while its output may go on: a child of it may have that open. At most once, and not where
     * on_end says it at once. NULL: nobody asks. `result` is valid during the callback, and never UNKNOWN. */
    void (*on_exit)(void *arg, const struct sl_stream_result *result);
    /* The last callback; the stream is freed when it returns. Comes once for every stream that was made. */
    void (*on_end)(void *arg, const struct sl_stream_result *result);
};

/* Forwards of one connection that may be open at once; the policy's `streams` are about the others. */
#define SL_FORWARDS_MAX 64u

/* Copies `data`. 0; SL_E_PROTOCOL beyond SL_STREAM_WINDOW unsent bytes, or after sl_stream_eof(); SL_E_NOMEM. What
 * comes after the remote end closed is dropped silently (and reported as sent), as a pipe without a reader would. */
int sl_stream_write(struct sl_stream *stream, const void *data, size_t len);
void sl_stream_eof(struct sl_stream *stream);
/* So many bytes more may be delivered by on_data. */
void sl_stream_credit(struct sl_stream *stream, size_t len);
/* Nobody reads the output any more: true where the server will be told so (OpenSSH's, once). Then the command gets
 * SIGPIPE at its next write, and the server stops reading its errors, too. What is under way is delivered. */
bool sl_stream_unread(struct sl_stream *stream);
/* Name without SIG. Sent in order with data; no answer exists (RFC 4254 section 6.9). */
void sl_stream_signal(struct sl_stream *stream, const char *name);
void sl_stream_resize(struct sl_stream *stream, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px);
/* The client wants no more of it: a hang-up, then TERM and, after kill_grace, KILL where the command has not ended,
 * then the channel's close; on_end when the server confirmed, or could not in time. Output is dropped from here on.
 * Idempotent. */
void sl_stream_close(struct sl_stream *stream);

/* --- ports of the server's (tcpip-forward) --- */

/* Open at once on one connection, and connections that wait to be accepted on one of them; beyond it the server is told
 * "resource shortage". Accepted ones count as forwards, at most SL_ACCEPTED_MAX of them: each may fill 2 MiB. */
#define SL_REMOTES_MAX  16u
#define SL_REMOTE_QUEUE 16u
#define SL_ACCEPTED_MAX 32u

struct sl_remote_handler {
    /* The server listens (status 0) on `port`; or SL_E_STREAM_REFUSED, on_closed follows at once. */
    void (*on_listening)(void *arg, int status, uint16_t port, const char *text);
    /* A connection waits for sl_remote_accept(). Comes once for each that reaches the head of the queue. */
    void (*on_connection)(void *arg);
    /* The last callback; the object is freed when it returns. */
    void (*on_closed)(void *arg);
};

/* The connection at the head of the queue as a stream; on_open follows. 0; SL_E_AGAIN when none
 * waits; SL_E_STREAM_LIMIT: it goes on waiting; SL_E_NOMEM. */
int sl_remote_accept(struct sl_remote *remote, const struct sl_stream_handler *handler, void *arg, size_t credit,
    struct sl_stream **ret_stream);
/* Cancels; what waits is turned away, what was accepted stays. on_closed follows when the server was told. Idempotent.
 */
void sl_remote_close(struct sl_remote *remote);

#endif
