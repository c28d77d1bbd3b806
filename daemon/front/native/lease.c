/* SPDX-License-Identifier: MIT */
/* ACQUIRE, RENEW and RELEASE from a client to the lease, and the lease's callbacks back as messages. */
#include "daemon/front/native/handlers.h"

#include "proto/status.h"

/* --- what the driver says ----------------------------------------------------------------------------------------- */

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct sl_client *c = arg;
    sl_client_send(c, &(struct sl_msg){
                          .type = SL_MSG_WAITING,
                          .waiting = {.rid = c->acquire_rid,
                              .position = position,
                              .waited_ms = waited_ms,
                              .reason = sl_bytes_of(reason)},
                      });
}

static void on_granted(void *arg, const struct sl_lease_grant *grant)
{
    struct sl_client *c = arg;
    c->lease_id = grant->id;
    sl_client_send(c, &(struct sl_msg){
                          .type = SL_MSG_GRANTED,
                          .granted = {.rid = c->acquire_rid,
                              .lease = grant->id,
                              .lease_timeout_ms = grant->lease_timeout_ms,
                              .max_lease_ms = grant->max_lease_ms,
                              .streams = grant->streams},
                      });
    c->acquire_rid = 0;
}

static void on_renewed(void *arg, uint32_t left_ms)
{
    struct sl_client *c = arg;
    sl_client_send(
        c, &(struct sl_msg){.type = SL_MSG_RENEWED, .renewed = {.rid = c->renew_rid, .lease_timeout_ms = left_ms}});
    c->renew_rid = 0;
}

/* The lease's last callback: what is open about it is answered, then it is forgotten. `status` says why. */
static void let_go(struct sl_client *c, int status, const char *text)
{
    if (c->acquire_rid != 0)
        sl_client_error(c, c->acquire_rid, status, true, text);
    if (c->renew_rid != 0)
        sl_client_error(c, c->renew_rid, status, true, text);
    sl_client_end_streams(c, status, text, true);
    c->acquire_rid = c->renew_rid = 0;
    c->lease = NULL;
}

static void answer_release(struct sl_client *c)
{
    if (c->release_rid != 0)
        sl_client_ok(c, c->release_rid);
    c->release_rid = 0;
}

static void on_refused(void *arg, int status, const char *text)
{
    struct sl_client *c = arg;
    let_go(c, status, text);
    answer_release(c);
}

static void on_released(void *arg)
{
    struct sl_client *c = arg;
    let_go(c, SL_E_CANCELLED, "released by the client");
    answer_release(c);
}

static void on_ended(void *arg, int status, const char *text)
{
    struct sl_client *c = arg;
    let_go(c, status, text);
    if (c->release_rid != 0)
        sl_client_error(c, c->release_rid, status, true, text);
    c->release_rid = 0;
    sl_client_send(c, &(struct sl_msg){
                          .type = SL_MSG_LEASE_ENDED,
                          .lease_ended = {.lease = c->lease_id, .code = (uint32_t)-status, .text = sl_bytes_of(text)},
                      });
}

static const struct sl_lease_handler lease_handler = {
    .on_waiting = on_waiting,
    .on_granted = on_granted,
    .on_refused = on_refused,
    .on_renewed = on_renewed,
    .on_released = on_released,
    .on_ended = on_ended,
};

/* --- what the client says ----------------------------------------------------------------------------------------- */

void sl_client_on_acquire(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_msg_acquire *acquire = &msg->acquire;
    char target[SL_MSG_NAME_MAX + 1], label[SL_MSG_NAME_MAX + 1];
    if (c->lease != NULL) {
        sl_client_error(c, acquire->rid, SL_E_BUSY, true, "this socket has a lease already, or waits for one");
        return;
    }
    const struct sl_lease_wish wish = {
        .target = sl_client_text(acquire->target, target, sizeof target),
        .who = &c->who,
        .label = sl_client_text(acquire->label, label, sizeof label),
        .acquire_timeout_ms = acquire->acquire_timeout_ms,
        .lease_timeout_ms = acquire->lease_timeout_ms,
    };
    int r = sl_lease_acquire(c->native->driver, &wish, &lease_handler, c, &c->lease);
    if (r != 0) {
        sl_client_error(c, acquire->rid, r, true, sl_status_text(r));
        return;
    }
    c->acquire_rid = acquire->rid;
}

void sl_client_on_renew(struct sl_client *c, const struct sl_msg *msg)
{
    if (!sl_lease_is_held(c->lease)) {
        sl_client_error(c, msg->renew.rid, SL_E_NO_LEASE, true, "there is no lease to renew");
        return;
    }
    c->renew_rid = msg->renew.rid;
    sl_lease_renew(c->lease, msg->renew.lease_timeout_ms);
}

void sl_client_on_release(struct sl_client *c, const struct sl_msg *msg)
{
    if (c->lease == NULL || c->release_rid != 0) {
        sl_client_error(c, msg->request.rid, SL_E_NO_LEASE, true, "there is no lease to release");
        return;
    }
    c->release_rid = msg->request.rid;
    sl_lease_release(c->lease);
}
