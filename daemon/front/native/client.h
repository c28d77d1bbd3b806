/* SPDX-License-Identifier: MIT */
/* client.h - one client of the native front end: its state and what is sent to it. Calls no handler. For
 * daemon/front/native/ only. */
#ifndef SSHLEASE_FRONT_NATIVE_CLIENT_H
#define SSHLEASE_FRONT_NATIVE_CLIENT_H

#include "base/log.h"
#include "daemon/front/native/hooks.h"
#include "daemon/lease/lease.h"
#include "daemon/net/peer.h"
#include "daemon/net/socket.h"
#include "daemon/net/watch.h"
#include "proto/msg.h"

#include <sys/queue.h>
#include <uv.h>

/* Output bytes of one stream that may be on their way from the transport at once, of whatever credit the client gave:
 * with SL_MSG_STREAMS_MAX streams they stay well below SL_SOCKET_QUEUE_MAX. */
#define SL_NATIVE_LEND_MAX 65536u
/* Input bytes that have left our hands before the client is told, so that not every packet costs a WINDOW. */
#define SL_NATIVE_WINDOW_STEP 65536u

enum sl_client_phase {
    SL_CLIENT_GREETING, /* connected, has not said HELLO */
    SL_CLIENT_READY,
    SL_CLIENT_LEAVING, /* has no lease and no stream any more; the socket is finishing or closing */
};

enum sl_native_stream_phase {
    SL_NATIVE_STREAM_ASKED, /* rid is to be answered */
    SL_NATIVE_STREAM_OPENED,
    SL_NATIVE_STREAM_CLOSED,  /* by the client; it wants the end only */
    SL_NATIVE_STREAM_REFUSED, /* rid was answered by ERROR: nothing more is said */
};

struct sl_client_stream {
    TAILQ_ENTRY(sl_client_stream) link;
    struct sl_client *client;
    uint32_t id;
    enum sl_native_stream_phase phase;
    bool close_wanted; /* CLOSE came before the server's answer */
    bool input_ended;
    uint32_t rid;
    struct sl_stream *stream; /* NULL: with descriptors */
    struct sl_relay *relay;   /* not NULL: with descriptors, and not over */
    uint32_t in_credit;       /* bytes the client may still send */
    uint32_t in_taken;        /* bytes that have left, to be told by the next WINDOW */
    uint32_t out_credit;      /* bytes the client takes, beyond those lent to the transport */
    uint32_t out_lent;
};
TAILQ_HEAD(sl_client_stream_list, sl_client_stream);

struct sl_relay;
struct sl_status_job;
struct sl_reload_job;

struct sl_client {
    TAILQ_ENTRY(sl_client) link;
    struct sl_native *native;
    struct sl_socket *socket;
    struct sl_who who;
    enum sl_client_phase phase;
    bool counts;            /* as one of its user's clients */
    uint64_t heard_ms;      /* when it last said something */
    uint32_t version;       /* spoken since WELCOME; 0 before */
    struct sl_lease *lease; /* asked for, held or given back; NULL: none */
    uint64_t lease_id;
    uint32_t acquire_rid, renew_rid, release_rid; /* of the lease, to be answered; 0: none */
    struct sl_client_stream_list streams;
    struct sl_status_job *status; /* the STATUS being answered; NULL: none */
    struct sl_reload_job *reload;
    /* Set by a message's handler: the client is ended when that has returned. 0: it is not. */
    int fault;
    const char *fault_text; /* static */
};

TAILQ_HEAD(sl_client_list, sl_client);

struct sl_native {
    uv_loop_t *loop;
    const struct sl_log *log;
    struct sl_driver *driver;
    struct sl_native_hooks hooks;
    struct sl_quota *quota;        /* the driver's */
    struct sl_client_list clients; /* who has said something last is the last */
    struct sl_watch *watch;        /* of the descriptors that clients pass */
    struct sl_hang_jobs *names;    /* users are looked up */
    uint64_t started_ms;
    bool closed_to_new; /* sl_native_stop() was called */
    bool serves;        /* false: sl_native_unconfigured() was called */
    char *unconfigured; /* for admins; NULL: no memory for it */
};

void sl_client_send(struct sl_client *client, const struct sl_msg *msg);
/* A message whose last field is `bytes`, which go out from where they are. */
void sl_client_send_bytes(struct sl_client *client, const struct sl_msg *msg, struct sl_bytes bytes);
void sl_client_ok(struct sl_client *client, uint32_t rid);
void sl_client_error(struct sl_client *client, uint32_t rid, int status, bool unsent, const char *text);
/* Why nobody is served, as far as this client may know it. */
const char *sl_client_unconfigured_text(const struct sl_client *client);
/* For a message's handler, which does nothing more to the client: ERROR with rid 0 and the end of the socket follow
 * when it has returned. SL_E_PROTOCOL is a violation, which is logged. `text` is static. */
void sl_client_fault(struct sl_client *client, int status, const char *text);
/* A message's bytes as a C string in `buf`, cut to `size`; they hold no NUL. */
char *sl_client_text(struct sl_bytes bytes, char *buf, size_t size);

#endif
