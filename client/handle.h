/* SPDX-License-Identifier: MIT */
/* handle.h - what is inside a `struct sshlease`: the link (the socket to the daemon and its two buffers), the lease,
 * the streams and one administrative request. Never seen outside the library.
 *
 *   public calls (open.c lease_calls.c stream_calls.c run.c admin.c)
 *        │ queue messages, then turn the loop until what they wait for has happened
 *   connect.c patience.c   the beginning of a link, and whether it is worth another one
 *   loop.c    bytes <-> messages; hands each message to the module that waits for it
 *        │
 *   lease.c asked.c   what the daemon says about them; the end of a lease is the end of its streams:
 *        │
 *   stream.c
 *        │
 *   link.c    the clock, errors, the out-buffer
 *
 * Each calls only what is below it. Blocking and non-blocking calls differ only in the deadline they give to
 * sl_loop_turn().
 */
#ifndef SSHLEASE_CLIENT_HANDLE_H
#define SSHLEASE_CLIENT_HANDLE_H

#include "base/buf.h"
#include "client/sshlease.h"
#include "proto/msg.h"

#include <sys/queue.h>
#include <sys/types.h>
#include <sys/un.h>

/* Data waits for the daemon in the out-buffer up to the first; other messages up to the second. */
#define SL_LINK_OUT_DATA_MAX 131072u
#define SL_LINK_OUT_MAX      1048576u
/* What the in-buffer begins with. */
#define SL_LINK_IN_FIRST 65536u
/* What the daemon answers at once, whatever the target does, is waited for this long. */
#define SL_LINK_ANSWER_MS 30000

/* Descriptors that are passed at once. */
#define SL_PASSED_MAX 3

/* Where a daemon has ended that is succeeded by another, that one is waited for so long. */
#define SL_LEFT_MS 5000

/* A deadline that never comes. Deadlines are milliseconds of CLOCK_MONOTONIC. */
#define SL_NEVER INT64_MAX

enum sl_link_state {
    SL_LINK_GREETING, /* HELLO is sent, WELCOME not here yet; messages may follow HELLO already */
    SL_LINK_READY,
    SL_LINK_HANGUP, /* the daemon takes nothing more; what it said last is still to be read */
    SL_LINK_ENDED,
};

struct sl_link {
    enum sl_link_state state;
    int fd;
    int ended_status;      /* ENDED: why */
    struct sl_buf in, out; /* both keep their memory: a message that was handled is still there, and CLOSE finds room */
    bool in_full;          /* the last recv() filled all it was given, so that more is there probably */
    uint32_t next_rid;
    uint32_t version; /* that WELCOME chose; 0: not here yet */
};

enum sl_held_state {
    SL_HELD_NONE,
    SL_HELD_ASKING, /* ACQUIRE is sent */
    SL_HELD_GRANTED,
    SL_HELD_RELEASING, /* RELEASE is sent: ends a lease or a wait */
};

struct sl_held {
    enum sl_held_state state;
    uint64_t id;
    uint32_t acquire_rid, release_rid, renew_rid, auto_rid; /* 0: none outstanding */
    int acquire_status, release_status, renew_status;       /* AGAIN while outstanding */
    uint32_t renewed_ms;
    /* How the lease ended if not by our release: what calls on its streams answer. 0: it did not. */
    int ended_status;
    char *why; /* text to the last failure of acquire, or to ended_status; NULL: none */
    bool auto_renew;
    void (*on_waiting)(void *arg, uint32_t position, uint32_t waited_ms, const char *reason);
    void *arg;
    int64_t deadline_ms, max_deadline_ms;
    int64_t renew_at_ms; /* SL_NEVER: no automatic renewal is due */
};

/* No daemon has more to say to STATUS; one that does is mad. */
#define SL_ASKED_MAX (64u << 20)

struct sl_asked {
    uint32_t rid;                     /* 0: nothing is asked */
    uint32_t type;                    /* SL_MSG_STATUS, SL_MSG_END, SL_MSG_RELOAD, SL_MSG_MUX or SL_MSG_RECONNECT */
    uint64_t id;                      /* END: which lease */
    char target[SL_MSG_NAME_MAX + 1]; /* MUX, RECONNECT: of which */
    int status;                       /* AGAIN until answered */
    struct sl_buf json;               /* STATUS: so far */
    char *text;                       /* STATUS: the JSON; MUX: the path; else the error's text */
};

TAILQ_HEAD(sl_stream_list, sshlease_stream);

struct sshlease {
    pid_t owner; /* the process that made the handle: see "Fork" in sshlease.h */
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path]; /* of the daemon's socket */
    struct sl_link link;
    struct sl_held held;
    struct sl_asked asked;
    struct sl_stream_list streams;
    uint32_t next_stream;
    bool error_unsent;
    char error[SL_MSG_TEXT_MAX + 1];
};

int64_t sl_now_ms(void);
/* timeout_ms as the public calls take it, as a deadline. */
int64_t sl_deadline(int timeout_ms);

/* --- errors: both set the handle's error text and return `status` --- */
/* The request may have reached the target. */
int sl_fail(struct sshlease *lease, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* It has not. */
int sl_refuse(struct sshlease *lease, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A text from the daemon as a malloc'd C string without control characters (line ends become newlines); when it is
 * empty, the status' own text. NULL: out of memory. */
char *sl_text_dup(struct sl_bytes text, int status);
/* The status to answer for a number of the protocol: its negative, or PROTOCOL for one that is no error. */
int sl_status_of(uint32_t code);

/* --- link --- */
/* What every public call begins with: FORKED in a child, the reason once the link has ended, else 0. */
int sl_link_check(struct sshlease *lease);
/* Only the first of it. */
int sl_link_check_fork(struct sshlease *lease);
uint32_t sl_link_next_rid(struct sshlease *lease);
/* Encodes a message into the out-buffer; sends nothing. 0, NOMEM, or AGAIN when the daemon does not take what waits
 * there. */
int sl_link_queue(struct sshlease *lease, const struct sl_msg *msg);
/* Bytes of data that may be queued now. */
size_t sl_link_out_room(const struct sshlease *lease);

/* --- connect --- */
/* Connects to lease->path, a handle whose link has ended too, and queues HELLO. 0, or why the link has ended. */
int sl_link_connect(struct sshlease *lease, int64_t deadline_ms);
/* Waits for the daemon's WELCOME. 0, or why the link has ended: TIMEOUT when the deadline has passed. */
int sl_link_greet(struct sshlease *lease, int64_t deadline_ms);

/* --- patience: with a daemon that ends, for the sake of the one that comes after it --- */
struct sl_patience {
    int64_t deadline_ms; /* the caller's own */
    int64_t until_ms;    /* with daemons that say they are shutting down; 0: none has */
    int64_t gone_ms;     /* with daemons that close without a word; 0: none has */
    int pause_ms;        /* the last one */
    int first_status;    /* what began it; 0: nothing has failed yet */
    char first[512];
};
/* What sent nothing has failed with *status. True, after a pause: it is worth another try, with a new link. False: *status
 * and the handle's error text are what to tell. */
bool sl_patience_lasts(struct sl_patience *patience, struct sshlease *lease, int *status);
/* How long ago a daemon that is succeeded by another has ended at `path`, in milliseconds; SL_NEVER: none has. */
int64_t sl_left_ms(const char *path);

/* --- loop --- */
/* Sends what it can without waiting. 0, or why the link has ended. */
int sl_loop_flush(struct sshlease *lease);
/* Sends what waits, a whole message, with descriptors along with its first byte. 0; AGAIN, and nothing of it was sent;
 * INVALID, the same, when one of them is none; or why the link has ended. */
int sl_loop_pass(struct sshlease *lease, const int *fd, size_t count);
/* One turn of the loop: sends, waits until something comes or a timer is due, handles what came. 0: look again whether
 * what you wait for has happened. AGAIN: the deadline has passed and nothing came. Else why the link has ended. */
int sl_loop_turn(struct sshlease *lease, int64_t deadline_ms);
/* Whether the daemon speaks `version`, which a message needs; waits for its WELCOME. 0, VERSION, AGAIN when the
 * deadline has passed, or why the link has ended. */
int sl_loop_need(struct sshlease *lease, uint32_t version, int64_t deadline_ms);
/* A new link, or another one in the place of one that has ended: nothing is sent yet. */
void sl_loop_begin(struct sl_link *link);
/* Ends the link: everything outstanding is answered with `status`. The descriptor stays open (but dead) until the
 * handle is freed, so that a caller's event loop never polls a reused number. Returns status. */
int sl_loop_end(struct sshlease *lease, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for who has no permission to connect to `path`: says which group has. */
int sl_link_denied(struct sshlease *lease, const char *path);

/* --- the modules' handlers; 0, or a status that ends the link (PROTOCOL, NOMEM) --- */
int sl_held_on_message(struct sshlease *lease, const struct sl_msg *msg);
int sl_streams_on_message(struct sshlease *lease, const struct sl_msg *msg);
int sl_asked_on_message(struct sshlease *lease, const struct sl_msg *msg);
int sl_asked_on_mux_path(struct sshlease *lease, const struct sl_msg *msg);
/* OK or ERROR to a request; true when it was this module's. */
bool sl_held_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error);
bool sl_streams_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error);
bool sl_asked_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error);
/* The link has ended. */
void sl_held_on_link_end(struct sshlease *lease, int status, const char *text);
void sl_asked_on_link_end(struct sshlease *lease, int status);
/* The lease is over, by its end or the link's: no stream of it will say anything more. */
void sl_streams_on_lease_end(struct sshlease *lease, int status, const char *text);

/* Queues an automatic renewal if one is due. */
void sl_held_tick(struct sshlease *lease, int64_t now_ms);
/* The status that ended the lease if it ended by itself (sets the error text), NO_LEASE without one, else 0. */
int sl_held_check(struct sshlease *lease);
void sl_held_fini(struct sshlease *lease);
void sl_asked_fini(struct sshlease *lease);
/* The callers' streams are freed for them; what the daemon still says about those that run is dropped. */
void sl_streams_disown(struct sshlease *lease);
/* Frees all, the callers' included. */
void sl_streams_fini(struct sshlease *lease);
/* Tells the daemon how much more it may send, where enough was read. */
void sl_streams_give_credit(struct sshlease *lease);

#endif
