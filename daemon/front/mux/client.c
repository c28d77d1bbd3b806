/* SPDX-License-Identifier: MIT */
/* Answers and refusals to one client, and the steps by which it leaves and is freed. */
#include "daemon/front/mux/client.h"

#include "base/state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sl_mux_client_send(struct sl_mux_client *c, const struct sl_writer *w)
{
    assert(!w->overflow);
    if (c->socket != NULL)
        (void)sl_socket_send(c->socket, w->data, w->at, NULL, 0); /* a failure is told by on_end */
}

void sl_mux_client_ok(struct sl_mux_client *c, uint32_t rid)
{
    uint8_t room[SL_FRAME_HEADER + 4];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_ok(&w, rid);
    sl_mux_client_send(c, &w);
}

const char *sl_mux_client_reason(const struct sl_mux_client *c, const char *text)
{
    const size_t len = strlen(c->target);
    if (strncmp(text, "target ", 7) == 0 && strncmp(text + 7, c->target, len) == 0 &&
        strncmp(text + 7 + len, ": ", 2) == 0)
        return text + 7 + len + 2;
    return text;
}

static const char *sentence(const struct sl_mux_client *c, const char *text, char *buf, size_t size)
{
    snprintf(buf, size, "target %s: %s", c->target, sl_mux_client_reason(c, text));
    return buf;
}

void sl_mux_client_refuse(struct sl_mux_client *c, enum sl_mux_type type, uint32_t rid, const char *text)
{
    uint8_t room[SL_MUX_REPLY_MAX];
    char whole[SL_MUX_TEXT_MAX];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_refusal(&w, type, rid, sentence(c, text, whole, sizeof whole));
    sl_mux_client_send(c, &w);
}

void sl_mux_client_refuse_loudly(struct sl_mux_client *c, uint32_t rid, const char *text)
{
    uint8_t room[SL_MUX_REPLY_MAX];
    char whole[SL_MUX_TEXT_MAX];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_unknown(&w, rid, sentence(c, text, whole, sizeof whole));
    sl_mux_client_send(c, &w);
}

#define TO(phase) SL_TO(SL_MUX_##phase)

static const struct sl_state phases[] = {
    [SL_MUX_GREETING] = {"greeting", TO(READY) | TO(FINISHING) | TO(LEAVING)},
    [SL_MUX_READY] = {"ready", TO(STANDING) | TO(FINISHING) | TO(LEAVING)},
    [SL_MUX_STANDING] = {"standing", TO(FINISHING) | TO(LEAVING)},
    [SL_MUX_FINISHING] = {"finishing", TO(LEAVING)},
    [SL_MUX_LEAVING] = {"leaving", 0},
};

void sl_mux_client_move(struct sl_mux_client *c, enum sl_mux_phase to)
{
    SL_MOVE(phases, c->phase, to);
}

void sl_mux_client_finish(struct sl_mux_client *c)
{
    const bool standing = c->phase == SL_MUX_STANDING; /* its socket is closing, or closed */
    if (c->phase != SL_MUX_FINISHING && c->phase != SL_MUX_LEAVING)
        sl_mux_client_move(c, SL_MUX_FINISHING);
    if (c->phase != SL_MUX_FINISHING || c->lease != NULL)
        return; /* the lease's last callback comes here again */
    sl_mux_client_move(c, SL_MUX_LEAVING);
    if (c->socket == NULL)
        sl_mux_client_forget(c);
    else if (!standing)
        sl_socket_finish(c->socket);
}

void sl_mux_client_stand(struct sl_mux_client *c)
{
    if (c->phase == SL_MUX_READY)
        sl_mux_client_move(c, SL_MUX_STANDING);
    sl_socket_finish(c->socket);
}

void sl_mux_client_uncount(struct sl_mux_client *c)
{
    if (c->counts)
        sl_quota_give(sl_driver_quota(c->mux->driver), c->who.uid, SL_QUOTA_CLIENTS, 1);
    if (c->is_beyond)
        c->mux->beyond--;
    c->counts = c->is_beyond = false;
}

void sl_mux_client_free(struct sl_mux_client *c)
{
    sl_mux_client_uncount(c);
    sl_who_fini(&c->who);
    free(c->target);
    free(c->refusal);
    free(c);
}

static void on_renewal_closed(uv_handle_t *handle)
{
    sl_mux_client_free(handle->data);
}

void sl_mux_client_forget(struct sl_mux_client *c)
{
    if (uv_is_closing((uv_handle_t *)&c->renewal))
        return;
    TAILQ_REMOVE(&c->mux->clients, c, link);
    sl_mux_client_uncount(c); /* while the driver is there */
    uv_close((uv_handle_t *)&c->renewal, on_renewal_closed);
}
