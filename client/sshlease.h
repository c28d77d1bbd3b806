/* SPDX-License-Identifier: MIT */
/* sshlease.h - lease a pooled SSH connection from sshleased and run commands on it. The public library, libsshlease.
 *
 * One `struct sshlease` is one socket to the daemon, and the socket is the lease: when the process ends, however it
 * ends, the kernel closes it and the daemon takes the connection back and ends what was started on the far side.
 *
 * Threads: no globals, no threads, no signal handlers, no SIGPIPE. Different handles may be used by different threads
 * at the same time; one handle by one thread at a time, which the caller sees to.
 *
 * Fork: after fork() the lease belongs to the parent. A handle remembers the process that made it: in a child every
 * call answers SSHLEASE_E_FORKED, and sshlease_free() then only frees the child's copy and closes the child's
 * descriptor. The descriptor is close-on-exec; a child that neither frees the handle nor calls exec keeps the lease's
 * socket open.
 */
#ifndef SSHLEASE_H
#define SSHLEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct sshlease;
struct sshlease_stream;

/* Every int below that is called a status is 0 or one of these. The numbers are those of PROTOCOL.md, negative. */
enum sshlease_status {
    SSHLEASE_OK = 0,
    SSHLEASE_E_NOMEM = -1,
    SSHLEASE_E_INVALID = -2,
    SSHLEASE_E_PROTOCOL = -3,
    SSHLEASE_E_VERSION = -4,
    SSHLEASE_E_NOT_ALLOWED = -5,
    SSHLEASE_E_LIMIT = -6,
    SSHLEASE_E_IO = -7,
    SSHLEASE_E_INTERNAL = -8,
    SSHLEASE_E_AGAIN = -9,
    SSHLEASE_E_CONFIG = -10,
    SSHLEASE_E_CANCELLED = -11,
    SSHLEASE_E_UNSUPPORTED = -12,
    SSHLEASE_E_NO_TARGET = -20,
    SSHLEASE_E_TIMEOUT = -21,
    SSHLEASE_E_QUEUE_FULL = -22,
    SSHLEASE_E_TARGET_DOWN = -23,
    SSHLEASE_E_SHUTDOWN = -24,
    SSHLEASE_E_NO_LEASE = -30,
    SSHLEASE_E_EXPIRED = -31,
    SSHLEASE_E_REVOKED = -32,
    SSHLEASE_E_CONNECTION_LOST = -33,
    SSHLEASE_E_CLIENT_GONE = -34,
    SSHLEASE_E_STREAM_LIMIT = -40,
    SSHLEASE_E_STREAM_REFUSED = -41,
    SSHLEASE_E_NO_STREAM = -42,
    SSHLEASE_E_RESOLVE = -50,
    SSHLEASE_E_CONNECT = -51,
    SSHLEASE_E_CONNECT_TIMEOUT = -52,
    SSHLEASE_E_LOGIN_TIMEOUT = -53,
    SSHLEASE_E_HANDSHAKE = -54,
    SSHLEASE_E_HOST_KEY_UNKNOWN = -55,
    SSHLEASE_E_HOST_KEY_CHANGED = -56,
    SSHLEASE_E_HOST_KEY_REVOKED = -57,
    SSHLEASE_E_AUTH_FAILED = -58,
    SSHLEASE_E_CREDENTIALS = -59,
    SSHLEASE_E_PEER_DEAD = -60,
    SSHLEASE_E_NO_ALGORITHM = -61,
    SSHLEASE_E_NO_DAEMON = -70,
    SSHLEASE_E_DAEMON_GONE = -71,
    SSHLEASE_E_BUSY = -72,
    SSHLEASE_E_FORKED = -73
};

/* "connection-lost"; "ok"; "unknown". Static. */
const char *sshlease_status_name(int status);
/* One line for a person. Static. */
const char *sshlease_status_text(int status);
/* Whether the same call may succeed later by itself. */
bool sshlease_status_retryable(int status);
/* Whether status says that the host key, rather than anything else, is at fault. */
bool sshlease_status_is_host_key(int status);

/* "0.1.0". Static. */
const char *sshlease_version(void);

/* Waits for ever, where a call takes a timeout in milliseconds. */
#define SSHLEASE_FOREVER (-1)

/* --- the handle --- */

/* The socket that would be used: $SSHLEASE_SOCKET, else $XDG_RUNTIME_DIR/sshleased.sock where that exists (without that
 * variable the directory is /run/user/UID), else /run/sshleased/sshleased.sock. Writes at most `size` bytes, NUL included. Status: 0, or INVALID when it does not fit.
 */
int sshlease_default_socket(char *path, size_t size);

/* Connects to the daemon at `path` (NULL: the default) and greets it. Blocks for `timeout_ms` at most; with 0 it does
 * not wait for the daemon's greeting, and what is wrong with that shows in the calls after. The caller frees the
 * handle. Status: NO_DAEMON (nothing listens), NOT_ALLOWED (the socket's permissions), VERSION, TIMEOUT, LIMIT,
 * PROTOCOL, INVALID (the path), IO, NOMEM. On a failure *ret_lease is a handle too (NULL only for NOMEM), good for
 * sshlease_error() and sshlease_free(). */
int sshlease_open(const char *path, int timeout_ms, struct sshlease **ret_lease);

/* Closes the socket: a lease that was not released is reclaimed by the daemon. Frees the handle's streams too: do not
 * use or free them afterwards. NULL is fine. */
void sshlease_free(struct sshlease *lease);

/* What went wrong last on this handle, for a person: names target and reason; no newline but between the errors of a
 * configuration. "" when nothing did. Valid until the next call on the handle that fails. */
const char *sshlease_error(const struct sshlease *lease);

/* Whether the request that failed last had sent nothing to the target, so that repeating it does no harm. */
bool sshlease_error_unsent(const struct sshlease *lease);

/* --- leasing, blocking --- */

struct sshlease_acquire_options {
    uint32_t acquire_timeout_ms; /* how long the daemon may let us wait; 0: the target's setting */
    uint32_t lease_timeout_ms;   /* 0: the target's setting */
    const char *label;           /* shown by `sshlease status`; NULL: none */
    bool auto_renew; /* renew at a third of the lease's time, whenever a call on this handle runs the loop */
    /* Told when the wait gets long, perhaps again later (NULL: nobody is): place in the queue from 1, or 0 while the
     * daemon is being restarted, and why. Runs inside the call that turns the loop, and must not call into the handle. */
    void (*on_waiting)(void *arg, uint32_t position, uint32_t waited_ms, const char *reason);
    void *arg;
};

/* Leases a connection to `target`. `options` may be NULL; what it points to is not kept, but for `arg`. Blocks until
 * granted or refused; the daemon's own acquire_timeout bounds it. A daemon that is being restarted is waited for, and the
 * next one asked, by another socket of the same number: within acquire_timeout_ms, or, when that is 0, as long as the
 * old one takes to end. Status: BUSY (this handle has a lease or asks for one), NO_TARGET, NOT_ALLOWED, TIMEOUT,
 * QUEUE_FULL, SHUTDOWN (and no other daemon came), CONFIG, any of RESOLVE … NO_ALGORITHM, DAEMON_GONE. */
int sshlease_acquire(struct sshlease *lease, const char *target, const struct sshlease_acquire_options *options);

/* Extends the lease to `lease_timeout_ms` from now (0: as acquired). *ret_left_ms (may be NULL) is the time left then.
 * The daemon answers at once; one that has not after 30 s: TIMEOUT. */
int sshlease_renew(struct sshlease *lease, uint32_t lease_timeout_ms, uint32_t *ret_left_ms);

/* Gives the connection back, clean if every stream has ended; the handle may acquire again. Ends a wait, too. Streams
 * of the lease are freed. Status: NO_LEASE, EXPIRED, REVOKED, NOT_ALLOWED (not any more), DAEMON_GONE …; TIMEOUT after
 * 30 s, which ends the handle. */
int sshlease_release(struct sshlease *lease);

/* The lease's id, as `sshlease status` shows it; 0 without a lease. */
uint64_t sshlease_id(const struct sshlease *lease);
/* Milliseconds until the lease runs out; 0 without one. */
uint32_t sshlease_left_ms(const struct sshlease *lease);

/* --- running commands --- */

struct sshlease_env {
    const char *name, *value;
};

struct sshlease_pty {
    const char *term; /* NULL: "vt100" */
    uint32_t cols, rows, width_px, height_px;
    const void *modes; /* as RFC 4254 section 8 encodes them; NULL: the server's defaults */
    size_t modes_len;
};

enum sshlease_kind { SSHLEASE_EXEC = 1, SSHLEASE_SHELL = 2, SSHLEASE_SUBSYSTEM = 3 };

struct sshlease_command {
    enum sshlease_kind kind;
    const char *command;            /* the command line, or the subsystem's name; NULL for a shell */
    const struct sshlease_env *env; /* the server and the target's send_env decide what of it arrives */
    size_t env_count;
    const struct sshlease_pty *pty; /* NULL: none */
};

enum sshlease_how { SSHLEASE_EXITED = 0, SSHLEASE_SIGNALLED = 1, SSHLEASE_UNKNOWN = 2 };

struct sshlease_result {
    enum sshlease_how how;
    int exit_status; /* how == EXITED; else -1 */
    char signal[32]; /* how == SIGNALLED: "TERM"; else "" */
    bool core_dumped;
    char text[256]; /* how == UNKNOWN: why; never to be taken for success. Else what the server said, often "" */
};

/* What a command wrote and how it ended; for sshlease_output_fini(). */
struct sshlease_output {
    struct sshlease_result result;
    char *stdout_data; /* with a NUL beyond its length */
    size_t stdout_len;
    char *stderr_data;
    size_t stderr_len;
    bool truncated; /* more came than max_output */
};

/* Runs one command and collects what it writes. `input` is its stdin (NULL: none). At most `max_output` bytes of each
 * output are kept (0: no limit), the rest is dropped. `ret_output` may be NULL; it is filled whatever the status, with
 * what came until then. Status: as sshlease_stream_open() and sshlease_stream_read(). On TIMEOUT the command is ended
 * on the far side; `timeout_ms` 0 would leave it no time at all. */
int sshlease_run(struct sshlease *lease, const struct sshlease_command *command, const void *input, size_t input_len,
    size_t max_output, int timeout_ms, struct sshlease_output *ret_output);
void sshlease_output_fini(struct sshlease_output *output);

/* Opens a stream and waits until the server has accepted it. Several may be open at once. `command` is not kept. The
 * caller frees the stream. Status: NO_LEASE, STREAM_LIMIT, STREAM_REFUSED, INVALID (the command), TIMEOUT, EXPIRED … */
int sshlease_stream_open(struct sshlease *lease, const struct sshlease_command *command, int timeout_ms,
    struct sshlease_stream **ret_stream);

/* Reads what has come, at most `size` bytes; waits for at least one. `*ret_fd` says which output: 1 or 2. Returns the
 * bytes read, 0 when the stream has ended (see sshlease_stream_result()), or a status (TIMEOUT, EXPIRED, DAEMON_GONE
 * …). What came before the end of a lease can be read after it. While one stream is read, others' output waits in their
 * own buffers, at most 256 KiB each; the far side of a stream that nobody reads waits. */
long sshlease_stream_read(struct sshlease_stream *stream, void *data, size_t size, int *ret_fd, int timeout_ms);

/* Writes to its stdin: returns the bytes taken (all of them unless the time ran out or the stream ended: then perhaps
 * fewer), or a status: NO_STREAM once it has ended, INVALID after sshlease_stream_eof(). */
long sshlease_stream_write(struct sshlease_stream *stream, const void *data, size_t len, int timeout_ms);
/* Ends its stdin. */
int sshlease_stream_eof(struct sshlease_stream *stream);
/* "TERM", "INT", "HUP" … without SIG. The server may ignore it, and does not say so. */
int sshlease_stream_signal(struct sshlease_stream *stream, const char *name);
int sshlease_stream_resize(
    struct sshlease_stream *stream, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px);

/* Waits until it has ended, dropping output that nobody read. Status 0 and *ret_result, or TIMEOUT … */
int sshlease_stream_wait(struct sshlease_stream *stream, int timeout_ms, struct sshlease_result *ret_result);
/* Whether it has ended; fills *ret_result then. Does no input or output. */
bool sshlease_stream_result(const struct sshlease_stream *stream, struct sshlease_result *ret_result);
/* Whether the command has exited, while its output may go on: a child of it may have that open. Fills *ret_result then;
 * an end that follows may say something else (the connection was lost). False until the stream's end where the daemon
 * is an old one. Does no input or output. */
bool sshlease_stream_exited(const struct sshlease_stream *stream, struct sshlease_result *ret_result);
/* Ends it on the far side if it still runs (TERM, then KILL), and frees it. Does not wait. NULL is fine. */
void sshlease_stream_free(struct sshlease_stream *stream);

/* --- with an event loop of your own --- */

/* The calls above run this core. Poll the descriptor for what sshlease_want() says, at most sshlease_timeout_ms() long,
 * then call sshlease_process(), then look at whatever you wait for. Calls that take a timeout do not block when it is
 * 0: they do what can be done, answer AGAIN, and go on when called again. Those without (acquire, renew, release)
 * block; so do not call them from a loop but their _start and _result. What _start calls queue is sent by the next
 * sshlease_process(). */
#define SSHLEASE_WANT_READ  1
#define SSHLEASE_WANT_WRITE 2
int sshlease_fd(const struct sshlease *lease);
int sshlease_want(const struct sshlease *lease);
/* Milliseconds until sshlease_process() has something to do by itself (an automatic renewal), or -1. */
int sshlease_timeout_ms(const struct sshlease *lease);
/* Reads and writes what can be without waiting. Status 0 (also when there was nothing to do), or what ended the handle
 * (DAEMON_GONE, PROTOCOL …). */
int sshlease_process(struct sshlease *lease);

/* Starts an acquire without waiting; then sshlease_acquire_result() answers AGAIN until it is decided. A daemon that is
 * being restarted refuses with SHUTDOWN: poll the old handle until it has ended, and open another. */
int sshlease_acquire_start(struct sshlease *lease, const char *target, const struct sshlease_acquire_options *options);
int sshlease_acquire_result(struct sshlease *lease);
/* Starts a release without waiting, and frees the streams; then sshlease_release_result() answers AGAIN until it is
 * done. */
int sshlease_release_start(struct sshlease *lease);
int sshlease_release_result(struct sshlease *lease);
/* Opens a stream without waiting; reading and writing it may begin at once. sshlease_stream_opened() answers AGAIN
 * until the server has accepted or refused it. */
int sshlease_stream_start(
    struct sshlease *lease, const struct sshlease_command *command, struct sshlease_stream **ret_stream);
int sshlease_stream_opened(struct sshlease_stream *stream);

/* --- ssh and what runs it --- */

/* The path of the socket at which OpenSSH's client (ControlPath) leases connections to `target`, made if there is none
 * yet; malloc'd, the caller's to free. Leases nothing. Status: NO_TARGET, NOT_ALLOWED, UNSUPPORTED (the daemon's
 * configuration has no `mux`), VERSION (an older daemon), INVALID, LIMIT, TIMEOUT … */
int sshlease_mux_path(struct sshlease *lease, const char *target, int timeout_ms, char **ret_path);

/* Opens a stream without waiting, of which no byte goes through this process: the daemon reads the command's input from
 * fd[0], and writes its output to fd[1] and its error output to fd[2], any kind of descriptors; -1: no input, output
 * that is dropped. They are passed before this returns, and the caller's as before: close them soon where somebody
 * waits for their end. Flags of theirs are never changed. The daemon may read 256 KiB more than the command takes. For
 * terminals, and where the caller may be stopped by job control, use sshlease_stream_start(): the daemon would read on.
 * sshlease_stream_read() and sshlease_stream_wait() then wait for the end, before which all output is written;
 * sshlease_stream_write() is refused. Status: VERSION (a daemon that cannot), AGAIN (the daemon takes nothing more just
 * now), INVALID (one is closed), and nothing was sent; as sshlease_stream_start(). */
int sshlease_stream_start_passed(struct sshlease *lease, const struct sshlease_command *command, const int fd[3],
    struct sshlease_stream **ret_stream);
/* 0, or why output of such a stream could not be written: CLIENT_GONE (nobody reads it), IO; sshlease_error() says it
 * for a person. The daemon ends the command then. */
int sshlease_stream_output_status(struct sshlease_stream *stream);

/* --- administration --- */

/* The daemon's state as one JSON text (PROTOCOL.md says what is in it), malloc'd, the caller's to free. */
int sshlease_admin_status(struct sshlease *lease, int timeout_ms, char **ret_json);
/* Takes a lease back. Status: NO_LEASE, NOT_ALLOWED. */
int sshlease_admin_end(struct sshlease *lease, uint64_t id, int timeout_ms);
/* Drops the connections of a target: idle ones at once, those in use when they are given back. The caller's, or, for an
 * administrator, everybody's. Status: NO_TARGET, NOT_ALLOWED, VERSION (an older daemon). */
int sshlease_admin_reconnect(struct sshlease *lease, const char *target, int timeout_ms);
/* Makes the daemon read its configuration again. Status: CONFIG, with all the errors in sshlease_error(). */
int sshlease_admin_reload(struct sshlease *lease, int timeout_ms);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
