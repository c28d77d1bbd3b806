/* SPDX-License-Identifier: MIT */
/* fake_state.h - what the fake transport is made of; for fake_*.c only. */
#ifndef SSHLEASE_TESTS_FAKE_STATE_H
#define SSHLEASE_TESTS_FAKE_STATE_H

#include "tests/support/fake_transport.h"

#include <sys/queue.h>

struct sl_stream {
    TAILQ_ENTRY(sl_stream) link;
    struct sl_conn *conn; /* NULL: its tenant is parked */
    struct sl_tenant *tenant;
    const struct sl_stream_handler *handler;
    void *arg;
    char *command;
    enum { STREAM_ASKED, STREAM_OPEN, STREAM_ENDED } state;
    uv_timer_t timer; /* until the server's answer */
    size_t credit;
    size_t unsent; /* written by us, not yet taken */
    char *echo;
    size_t echo_len;
    size_t flood;
    bool eof, closing, left;
};
TAILQ_HEAD(stream_list, sl_stream);

enum { DUE_READY = 1, DUE_LOST = 2, DUE_PONG = 4 };

struct sl_tenant {
    TAILQ_ENTRY(sl_tenant) link;
    struct sl_conn *conn;
    enum { TENANT_LIVE, TENANT_CROWDED, TENANT_LEAVING, TENANT_PARKED, TENANT_DRAINING, TENANT_DUE } state;
    unsigned opened;
    struct sl_quota *quota;
    uid_t uid;
    struct stream_list parked;
    uv_timer_t drain;
    unsigned drained_streams;
};

struct sl_remote {
    TAILQ_ENTRY(sl_remote) link;
    struct sl_tenant *tenant;
    struct sl_conn *conn;
    const struct sl_remote_handler *handler;
    void *arg;
    uint16_t port;
    enum { REMOTE_ASKED, REMOTE_LISTENING, REMOTE_CLOSING } state;
    unsigned knocks, waiting; /* not told of yet; not accepted yet */
};

struct sl_conn {
    struct sl_basis basis;
    TAILQ_ENTRY(sl_conn) link;
    struct sl_transport *transport;
    struct sl_target_conf *target;
    const struct sl_conn_handler *handler;
    void *arg;
    uv_timer_t dial, pump;
    uv_timer_cb on_pump;
    unsigned handles;
    unsigned due;
    enum { CONN_DIALING, CONN_UP, CONN_LOST, CONN_CLOSING } state;
    int status;
    char text[128];
    uint64_t received_ms;
    bool answered;
    struct stream_list streams;
    TAILQ_HEAD(, sl_tenant) tenants;
    TAILQ_HEAD(, sl_remote) remotes;
};

struct sl_transport {
    uv_loop_t *loop;
    TAILQ_HEAD(, sl_conn) conns;
    uint64_t dial_ms, drain_ms;
    unsigned sessions; /* a connection opens at once; 0: any number */
    int dial_status;
    char dial_text[128];
    struct sl_basis basis;
    bool looks_hang;
    bool stillborn; /* the next connection that is up is lost as well */
    struct sl_fake_counts counts;
};

/* Has its connection go on in the loop's next turn. NULL: a parked stream's, later. */
static inline void sl_fake_pump(struct sl_conn *c)
{
    if (c != NULL && c->state != CONN_CLOSING)
        (void)uv_timer_start(&c->pump, c->on_pump, 0, 0);
}

/* fake_stream.c */
void sl_fake_drop_handle(struct sl_conn *c);
/* Those of `tenant`; of all when NULL. */
void sl_fake_end_streams(struct sl_conn *c, const struct sl_tenant *tenant, const char *text);
void sl_fake_run_streams(struct sl_conn *c);
void sl_fake_end_stream(struct sl_stream *s, const struct sl_stream_result *result);

void sl_fake_mute(struct stream_list *list, const struct sl_tenant *tenant);

/* fake_tenant.c */
void sl_fake_free_tenant(struct sl_tenant *p);

#endif
