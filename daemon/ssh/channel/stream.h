/* SPDX-License-Identifier: MIT */
/* stream.h - what a stream of a lease is, and what is asked of it. Never moves it on: stream_run.c does. The public
 * verbs are in transport.h and streams.h; what is here is for the room's own modules. */
#ifndef SSHLEASE_SSH_CHANNEL_STREAM_H
#define SSHLEASE_SSH_CHANNEL_STREAM_H

#include "daemon/ssh/channel/channel.h"

enum sl_stream_state {
    SL_STREAM_WAITING,  /* for a session channel */
    SL_STREAM_DIALING,  /* a forward: for a channel of its own */
    SL_STREAM_SETUP,    /* cookie, environment, pty */
    SL_STREAM_STARTING, /* exec, shell or subsystem was asked for */
    SL_STREAM_RUNNING,
    SL_STREAM_FINISHING, /* our CLOSE is sent, theirs awaited */
    SL_STREAM_ENDED,
};

/* How far an end that was asked for has come; the next stage begins when the deadline passes. */
enum sl_stream_ending { SL_ENDING_NO, SL_ENDING_ASKED, SL_ENDING_HANGUP, SL_ENDING_TERM, SL_ENDING_KILL };

enum sl_item_kind { SL_ITEM_DATA, SL_ITEM_EOF, SL_ITEM_SIGNAL, SL_ITEM_RESIZE };

/* What goes to the server, in order. */
struct sl_item {
    TAILQ_ENTRY(sl_item) link;
    enum sl_item_kind kind;
    uint32_t cols, rows, width_px, height_px;
    size_t len, at; /* of the data, or of the signal's name */
    size_t room;    /* `len` grows no further */
    char data[];
};
TAILQ_HEAD(sl_item_list, sl_item);

/* A spec of our own; freed when the server has answered. */
struct sl_stream_plan {
    char *command;
    size_t command_len;
    char *term; /* NULL: no pty */
    uint32_t cols, rows, width_px, height_px;
    uint8_t *modes;
    size_t modes_len;
    char **env;       /* name, value, name, value … */
    size_t env_count; /* pairs */
    size_t env_at;
    enum { SL_STEP_ENV, SL_STEP_PTY, SL_STEP_DONE } step;
};

struct sl_stream {
    TAILQ_ENTRY(sl_stream) link;
    struct sl_conn *conn; /* NULL: its tenant is parked */
    struct sl_tenant *tenant;
    struct sl_chan *chan;
    struct sl_stream_handler handler;
    void *arg;
    enum sl_stream_state state;
    enum sl_stream_ending ending;
    int kind; /* of the spec */
    bool has_pty;
    struct sl_stream_plan *plan; /* NULL for a forward */
    char *where;                 /* a forward's: where it leads, for messages */
    struct sl_item_list items;
    size_t unsent;          /* bytes of data in `items` */
    size_t sent_unreported; /* bytes that on_sent has to be told of */
    unsigned commands;      /* signals and resizes in `items` */
    size_t credit;
    const char *urgent; /* a signal of ours on its way, ahead of all items; NULL: none */
    enum { SL_INPUT_OPEN, SL_INPUT_EOF_ASKED, SL_INPUT_ENDED } input;
    enum { SL_UNREAD_NO, SL_UNREAD_ASKED, SL_UNREAD_SAID } unread; /* output has lost its reader */
    bool eof_told;
    bool exit_told;
    uint64_t deadline_ms; /* of the state, or of the ending's stage; UINT64_MAX: none */
};

uint64_t sl_stream_deadline(const struct sl_conn *conn);
/* No session: the server connected it, or somebody connected to the server. */
bool sl_stream_is_forward(const struct sl_stream *stream);
/* A stream on a channel that the server has opened: its on_open comes in the next turn. 0, SL_E_STREAM_LIMIT or
 * SL_E_NOMEM. */
int sl_stream_adopt(struct sl_chan *chan, const struct sl_stream_handler *handler, void *arg, size_t credit,
    struct sl_stream **ret_stream);
/* Waiting for a channel. */
uint32_t sl_stream_waiting(const struct sl_conn *conn);
/* The one way into another state. */
void sl_stream_move(struct sl_stream *stream, enum sl_stream_state to);
/* One of which nothing was sent waits for a session again; the channel that it had is given up. */
void sl_stream_start_over(struct sl_stream *stream);
/* One that waits for a session leaves its connection, for its tenant to be parked; or joins another. */
void sl_stream_leave(struct sl_stream *stream);
void sl_stream_join(struct sl_stream *stream, struct sl_conn *conn);
/* Those of the list that are the tenant's call nobody any more. */
void sl_stream_mute(struct sl_stream_list *list, const struct sl_tenant *tenant);
/* on_end for one that is on no connection, then it is gone. */
void sl_stream_abandon(struct sl_stream *stream);
/* Ends the streams of one tenant without waiting for the server any more: each gets its on_end. */
void sl_stream_cut(struct sl_tenant *tenant);
/* Every stream gets its on_end, with `text`. The session may be gone already. Or every one but those of tenants that
 * are to go on elsewhere. */
void sl_stream_end_all(struct sl_conn *conn, const char *text);
void sl_stream_end_lost(struct sl_conn *conn, const char *text);

/* --- for stream_run.c --- */

void sl_stream_plan_free(struct sl_stream_plan *plan);
/* on_end, then the stream is gone. */
void sl_stream_finish(struct sl_stream *stream, const struct sl_stream_result *result);
void sl_stream_drop_item(struct sl_stream *stream);

#endif
