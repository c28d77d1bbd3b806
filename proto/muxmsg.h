/* SPDX-License-Identifier: MIT */
/* muxmsg.h - the messages of OpenSSH's multiplexing protocol, version 4, as a master needs them: a client's are
 * decoded, a master's encoded. Pure. Where OpenSSH's own PROTOCOL.mux and its programs differ, this is what the
 * programs do: MUX.md. */
#ifndef SSHLEASE_PROTO_MUXMSG_H
#define SSHLEASE_PROTO_MUXMSG_H

#include "proto/frame.h"

#define SL_MUX_VERSION 4u
/* The bytes of a text for a person; a longer one is cut. */
#define SL_MUX_TEXT_MAX 4096u
/* A port that says: the host beside it is the path of a Unix socket. */
#define SL_MUX_PORT_PATH 0xfffffffeu

enum sl_mux_type {
    /* both ways, unasked, first */
    SL_MUX_HELLO = 0x00000001,
    /* from a client */
    SL_MUX_NEW_SESSION = 0x10000002, /* SL_MUX_SESSION_FDS descriptors follow, one NUL byte each */
    SL_MUX_ALIVE_CHECK = 0x10000004,
    SL_MUX_TERMINATE = 0x10000005,
    SL_MUX_OPEN_FWD = 0x10000006,
    SL_MUX_CLOSE_FWD = 0x10000007,
    SL_MUX_NEW_STDIO_FWD = 0x10000008, /* SL_MUX_STDIO_FWD_FDS descriptors follow */
    SL_MUX_STOP_LISTENING = 0x10000009,
    SL_MUX_PROXY = 0x1000000f,
    SL_MUX_EXT_INFO = 0x20000001, /* from 10.3 on, and only to a master whose HELLO offers it */
    /* from a master */
    SL_MUX_OK = 0x80000001, /* never after SESSION_OPENED: the client dies of it */
    SL_MUX_PERMISSION_DENIED = 0x80000002,
    SL_MUX_FAILURE = 0x80000003,
    SL_MUX_EXIT_MESSAGE = 0x80000004,
    SL_MUX_ALIVE = 0x80000005,
    SL_MUX_SESSION_OPENED = 0x80000006,
    SL_MUX_REMOTE_PORT = 0x80000007,
    SL_MUX_TTY_ALLOC_FAIL = 0x80000008,
    SL_MUX_EXT_INFO_REPLY = 0x90000001,
};

#define SL_MUX_SESSION_FDS   3u /* stdin, stdout, stderr */
#define SL_MUX_STDIO_FWD_FDS 2u /* stdin, stdout */

/* "NEW_SESSION" and so on; "unknown" for other numbers. Static. */
const char *sl_mux_type_name(uint32_t type);

enum sl_mux_fwd_kind { SL_MUX_FWD_LOCAL = 1, SL_MUX_FWD_REMOTE = 2, SL_MUX_FWD_DYNAMIC = 3 };

/* All sl_bytes below borrow from the decoded frame; they hold no NUL. */
struct sl_mux_new_session {
    bool tty, x11, agent, subsystem;
    uint32_t escape; /* a character; above 255: none */
    struct sl_bytes term;
    struct sl_bytes command; /* or the subsystem's name; empty for a shell */
    uint32_t env_count;
    struct sl_reader env; /* env_count strings "NAME=VALUE", for sl_mux_env_next(); checked by the decoder */
};
struct sl_mux_fwd {
    uint32_t kind; /* enum sl_mux_fwd_kind, checked */
    struct sl_bytes listen_host;
    uint32_t listen_port;
    struct sl_bytes connect_host;
    uint32_t connect_port;
};
struct sl_mux_stdio_fwd {
    struct sl_bytes host;
    uint32_t port;
};

/* What a client says. */
struct sl_mux_msg {
    enum sl_mux_type type;
    uint32_t rid; /* the request's id, from 0; HELLO has none */
    union {
        uint32_t version; /* HELLO; its extensions are checked and ignored */
        struct sl_mux_new_session new_session;
        struct sl_mux_fwd fwd; /* OPEN_FWD, CLOSE_FWD */
        struct sl_mux_stdio_fwd stdio_fwd;
        struct sl_bytes ext_info; /* what it wants to know: "connection", "channels" */
    };
};

/* Decodes a client's frame. 0, or SL_E_PROTOCOL: a type that no client sends, truncated, trailing bytes, NUL in a
 * string, an unknown kind of forward. */
int sl_mux_decode(const struct sl_frame *frame, struct sl_mux_msg *ret_msg);

/* Takes the next variable from an env list; one without "=" is left out, as OpenSSH does. False at the end. */
bool sl_mux_env_next(struct sl_reader *env, struct sl_bytes *ret_name, struct sl_bytes *ret_value);

/* Each appends one frame of a master's to `w`; what does not fit marks it as overflowed. */
/* Offers EXT_INFO; clients that do not know it pass over that. */
void sl_mux_put_hello(struct sl_writer *w);
/* OK. */
void sl_mux_put_ok(struct sl_writer *w, uint32_t rid);
/* PERMISSION_DENIED or FAILURE. */
void sl_mux_put_refusal(struct sl_writer *w, enum sl_mux_type type, uint32_t rid, const char *text);
/* The answer to ALIVE_CHECK that makes a client print `text` and give up, where a well-formed refusal would make it
 * open a connection of its own: FAILURE without a request id. */
void sl_mux_put_fatal(struct sl_writer *w, const char *text);
/* The pid is not 0: a client takes that for a failure. */
void sl_mux_put_alive(struct sl_writer *w, uint32_t rid, uint32_t pid);
void sl_mux_put_session_opened(struct sl_writer *w, uint32_t rid, uint32_t session);
void sl_mux_put_exit(struct sl_writer *w, uint32_t session, uint32_t status);
void sl_mux_put_tty_alloc_fail(struct sl_writer *w, uint32_t session);
/* The answer to EXT_INFO: `text`, cut to SL_MUX_TEXT_MAX, is printed as it is; not `known`: what was asked for is not.
 */
void sl_mux_put_ext_info(struct sl_writer *w, uint32_t rid, bool known, const char *text);
void sl_mux_put_remote_port(struct sl_writer *w, uint32_t rid, uint32_t port);
/* An answer of a type that no client knows, which makes it give up loudly; for requests whose refusal it would pass
 * over in silence. `text` may or may not be shown. */
void sl_mux_put_unknown(struct sl_writer *w, uint32_t rid, const char *text);

#define SL_MUX_HELLO_SIZE (SL_FRAME_HEADER + 17u)
/* No frame of a master's is longer. */
#define SL_MUX_REPLY_MAX (SL_FRAME_HEADER + 12u + SL_MUX_TEXT_MAX)

#endif
