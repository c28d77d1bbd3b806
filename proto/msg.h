/* SPDX-License-Identifier: MIT */
/* msg.h - the messages of the native protocol: one struct each, encode and decode. Pure. PROTOCOL.md is its text. */
#ifndef SSHLEASE_PROTO_MSG_H
#define SSHLEASE_PROTO_MSG_H

#include "proto/frame.h"

/* The first string of a HELLO; whatever else speaks to the socket by mistake does not say it. */
#define SL_MSG_MAGIC "sshlease"
/* The newest and oldest version this code speaks. */
#define SL_MSG_VERSION     4u
#define SL_MSG_VERSION_MIN 1u

/* The name of an empty file beside the socket NAME: when it was last written, a daemon has ended there. */
#define SL_MSG_LEFT_FILE ".sl-%s.left"

/* Maxima, in bytes where not said otherwise; a message over one is a protocol violation. */
#define SL_MSG_NAME_MAX       255u    /* target, label, subsystem, TERM, a signal's name */
#define SL_MSG_TEXT_MAX       4096u   /* an error's text */
#define SL_MSG_COMMAND_MAX    262000u /* a command line */
#define SL_MSG_COMMAND_MAX_V2 131072u /* before version 3 */
#define SL_MSG_ENV_MAX        128u    /* environment variables of one stream, counted */
#define SL_MSG_ENV_VALUE_MAX  32768u
#define SL_MSG_MODES_MAX      1024u     /* encoded terminal modes, RFC 4254 section 8 */
#define SL_MSG_DATA_MAX       32768u    /* payload of one DATA message */
#define SL_MSG_PART_MAX       131072u   /* one part of a STATUS_REPLY */
#define SL_MSG_WINDOW_MAX     16777216u /* the credit one side may hold on one stream */
#define SL_MSG_CODE_MAX       255u      /* a status code, those of later versions included */
#define SL_MSG_STREAMS_MAX    64u       /* streams of one lease the protocol has room for, counted */

/* Types. Client to daemon: 1 to 99; daemon to client: 100 and up; both ways: 40 to 49. */
#define SL_MSG_DAEMONS 100u
enum sl_msg_type {
    SL_MSG_HELLO = 1,            /* first message of the client */
    SL_MSG_ACQUIRE = 10,         /* -> WAITING* then GRANTED or ERROR */
    SL_MSG_RENEW = 11,           /* -> RENEWED or ERROR */
    SL_MSG_RELEASE = 12,         /* -> OK or ERROR; ends a wait, too */
    SL_MSG_STREAM_OPEN = 20,     /* -> STREAM_OPENED or ERROR */
    SL_MSG_SIGNAL = 21,          /* no answer */
    SL_MSG_WINDOW_CHANGE = 22,   /* no answer */
    SL_MSG_CLOSE = 23,           /* no answer but the STREAM_END that follows */
    SL_MSG_STREAM_OPEN_FDS = 24, /* -> STREAM_OPENED or ERROR; version 2 */
    SL_MSG_STATUS = 30,          /* -> STATUS_REPLY+ or ERROR */
    SL_MSG_END = 31,             /* -> OK or ERROR */
    SL_MSG_RELOAD = 32,          /* -> OK or ERROR */
    SL_MSG_MUX = 33,             /* -> MUX_PATH or ERROR; version 2 */
    SL_MSG_RECONNECT = 34,       /* -> OK or ERROR; version 4 */
    SL_MSG_DATA = 40,            /* both ways */
    SL_MSG_WINDOW = 41,          /* both ways */
    SL_MSG_EOF = 42,             /* both ways */
    SL_MSG_WELCOME = 100,        /* the daemon's answer to HELLO */
    SL_MSG_OK = 101,
    SL_MSG_ERROR = 102,
    SL_MSG_WAITING = 110,
    SL_MSG_GRANTED = 111,
    SL_MSG_RENEWED = 112,
    SL_MSG_LEASE_ENDED = 113, /* unasked: the lease is over */
    SL_MSG_STREAM_OPENED = 120,
    SL_MSG_OUTPUT_LOST = 121, /* version 2 */
    SL_MSG_EXITED = 122,      /* version 3 */
    SL_MSG_STREAM_END = 123,  /* the last message about a stream */
    SL_MSG_STATUS_REPLY = 130,
    SL_MSG_MUX_PATH = 131, /* version 2 */
};

/* "ACQUIRE" and so on; "unknown" for other numbers. Static. */
const char *sl_msg_type_name(uint32_t type);

/* Whether a client may send it; false for numbers of no message. The decoder takes both sides' messages, so the daemon
 * asks this of each. */
bool sl_msg_from_client(uint32_t type);

/* The version that brought the message; 0 for numbers of no message. The decoder takes those of every version, so
 * whoever reads asks this, too. */
uint32_t sl_msg_since(uint32_t type);

enum sl_stream_kind { SL_KIND_EXEC = 1, SL_KIND_SHELL = 2, SL_KIND_SUBSYSTEM = 3 };

/* Which of a stream's outputs: 0, or SSH_EXTENDED_DATA_STDERR (RFC 4254 section 5.2). Client to daemon always 0. */
enum sl_stream_fd { SL_DATA_STDOUT = 0, SL_DATA_STDERR = 1 };

/* How a stream ended. UNKNOWN: no orderly end was seen; never to be read as success. */
enum sl_stream_end_how { SL_END_STATUS = 0, SL_END_SIGNAL = 1, SL_END_UNKNOWN = 2 };

/* All sl_bytes below borrow: from the decoded frame, or from whoever encodes. */
struct sl_msg_hello {
    uint32_t version_min, version_max;
    struct sl_bytes program; /* name and version of the client, for the daemon's log */
};
struct sl_msg_welcome {
    uint32_t version;
    struct sl_bytes daemon; /* name and version */
};
struct sl_msg_request { /* RELEASE, STATUS, RELOAD, OK: a request id and nothing else */
    uint32_t rid;
};
struct sl_msg_error {
    uint32_t rid;  /* 0: about no request; the socket is closed next */
    uint32_t code; /* a number of status.h, or of a later one's: 1 to SL_MSG_CODE_MAX */
    bool unsent;   /* nothing was sent to the target: the request may be repeated without harm */
    struct sl_bytes text;
};
struct sl_msg_acquire {
    uint32_t rid;
    struct sl_bytes target;
    uint32_t acquire_timeout_ms; /* 0: the target's setting */
    uint32_t lease_timeout_ms;   /* 0: the target's setting */
    struct sl_bytes label;       /* shown in status; may be empty */
};
struct sl_msg_waiting {
    uint32_t rid, position, waited_ms; /* position 1 is next */
    struct sl_bytes reason;            /* why nothing was granted yet; for a person */
};
struct sl_msg_granted {
    uint32_t rid;
    uint64_t lease;
    uint32_t lease_timeout_ms; /* time left unless renewed */
    uint32_t max_lease_ms;     /* renewing cannot extend the lease beyond this, counted from the grant */
    uint32_t streams;          /* streams that may be open at once */
};
struct sl_msg_renew {
    uint32_t rid, lease_timeout_ms; /* 0: the length given at ACQUIRE */
};
struct sl_msg_renewed {
    uint32_t rid, lease_timeout_ms; /* time left now */
};
struct sl_msg_lease_ended {
    uint64_t lease;
    uint32_t code;
    struct sl_bytes text;
};
struct sl_msg_pty {
    struct sl_bytes term;
    uint32_t cols, rows, width_px, height_px;
    struct sl_bytes modes; /* as RFC 4254 section 8 encodes them; empty: the server's defaults */
};
struct sl_msg_stream_open {
    uint32_t rid;
    uint32_t stream;         /* chosen by the client; free again after STREAM_END, or after ERROR to the request */
    uint32_t kind;           /* enum sl_stream_kind */
    struct sl_bytes command; /* the command, or the subsystem's name; empty for a shell */
    uint32_t window;         /* STREAM_OPEN: bytes the daemon may send before the client's first WINDOW */
    uint32_t fds;            /* STREAM_OPEN_FDS: enum sl_msg_fds, which descriptors come along */
    bool pty;
    struct sl_msg_pty pty_req;
    uint32_t env_count;
    struct sl_reader env; /* env_count pairs (string name, string value) and no more, as a sl_writer makes them and
                           * sl_msg_env_next() takes them apart; checked by the decoder */
};
/* Bits; the descriptors come in this order. */
enum sl_msg_fds { SL_MSG_FD_STDIN = 1, SL_MSG_FD_STDOUT = 2, SL_MSG_FD_STDERR = 4, SL_MSG_FDS_ALL = 7 };
struct sl_msg_stream_opened {
    uint32_t rid, stream;
    uint32_t window; /* bytes the client may send before the daemon's first WINDOW */
};
struct sl_msg_data {
    uint32_t stream, fd;
    struct sl_bytes data;
};
struct sl_msg_window {
    uint32_t stream, bytes;
};
struct sl_msg_stream { /* EOF, CLOSE. EOF from the daemon: stdout and stderr have both ended */
    uint32_t stream;
};
struct sl_msg_signal {
    uint32_t stream;
    struct sl_bytes name; /* "TERM", without SIG (RFC 4254 section 6.10) */
};
struct sl_msg_window_change {
    uint32_t stream, cols, rows, width_px, height_px;
};
struct sl_msg_exited { /* as in STREAM_END, which says it again; the outputs are still open */
    uint32_t stream;
    uint32_t how; /* enum sl_stream_end_how, but never UNKNOWN */
    uint32_t exit_status;
    struct sl_bytes signal;
    bool core_dumped;
};
struct sl_msg_stream_end {
    uint32_t stream;
    uint32_t how;           /* enum sl_stream_end_how */
    uint32_t exit_status;   /* how == STATUS */
    struct sl_bytes signal; /* how == SIGNAL: the name without SIG */
    bool core_dumped;
    struct sl_bytes text; /* how == UNKNOWN: why; else what the server said, often empty */
};
struct sl_msg_output_lost { /* a passed descriptor takes nothing any more: the stream is being closed */
    uint32_t stream, fd;    /* fd: enum sl_stream_fd */
    uint32_t code;          /* as of ERROR; client-gone: nobody reads it */
    struct sl_bytes text;
};
struct sl_msg_end {
    uint32_t rid;
    uint64_t lease;
};
struct sl_msg_status_reply {
    uint32_t rid;
    bool more;            /* another part follows */
    struct sl_bytes json; /* a part of one JSON text */
};
struct sl_msg_mux {
    uint32_t rid;
    struct sl_bytes target;
};
struct sl_msg_mux_path {
    uint32_t rid;
    struct sl_bytes path; /* of a Unix socket that speaks OpenSSH's multiplexing protocol */
};

struct sl_msg {
    enum sl_msg_type type;
    union {
        struct sl_msg_hello hello;
        struct sl_msg_welcome welcome;
        struct sl_msg_request request;
        struct sl_msg_error error;
        struct sl_msg_acquire acquire;
        struct sl_msg_waiting waiting;
        struct sl_msg_granted granted;
        struct sl_msg_renew renew;
        struct sl_msg_renewed renewed;
        struct sl_msg_lease_ended lease_ended;
        struct sl_msg_stream_open stream_open;
        struct sl_msg_stream_opened stream_opened;
        struct sl_msg_data data;
        struct sl_msg_window window;
        struct sl_msg_stream stream;
        struct sl_msg_signal signal;
        struct sl_msg_window_change window_change;
        struct sl_msg_output_lost output_lost;
        struct sl_msg_exited exited;
        struct sl_msg_stream_end stream_end;
        struct sl_msg_end end;
        struct sl_msg_status_reply status_reply;
        struct sl_msg_mux mux;
        struct sl_msg_mux_path mux_path;
    };
};

/* Decodes one frame's body. 0 or SL_E_PROTOCOL: unknown type, truncated, trailing bytes, over a maximum, a number out
 * of its range (a request id of 0, an unknown kind, fd or how, a code of 0), NUL in a name or text, a wrong magic, a
 * command for a shell. HELLO and WELCOME alone may carry trailing bytes, which later versions use; they are ignored. */
int sl_msg_decode(const struct sl_frame *frame, struct sl_msg *ret_msg);

/* Appends the whole frame to `w`. When it does not fit, or is one that sl_msg_decode() would refuse, w->overflow is set
 * and nothing of it is left in `w`. The texts of ERROR, LEASE_ENDED, STREAM_END and WAITING are never the reason: they
 * are cut to their maximum, and NULs in them replaced. */
void sl_msg_encode(struct sl_writer *w, const struct sl_msg *msg);

/* As sl_msg_encode(), without the bytes of the last field, which `msg` names: they follow from where they are. For
 * messages that end in bytes, DATA and STATUS_REPLY. */
void sl_msg_encode_head(struct sl_writer *w, const struct sl_msg *msg);
#define SL_MSG_HEAD_MAX (SL_FRAME_HEADER + 12u)

/* An upper bound of what sl_msg_encode() writes, header included. */
size_t sl_msg_size(const struct sl_msg *msg);

/* Takes the next pair from an env list. False at the end. */
bool sl_msg_env_next(struct sl_reader *env, struct sl_bytes *ret_name, struct sl_bytes *ret_value);

/* A text as borrowed bytes. */
struct sl_bytes sl_bytes_of(const char *text);

#endif
