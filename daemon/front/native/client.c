/* SPDX-License-Identifier: MIT */
/* Encodes and sends messages, answers and errors to one client. */
#include "daemon/front/native/client.h"

#include <assert.h>
#include <string.h>

/* Every message but those of sl_client_send_bytes() fits. */
#define SMALL_MESSAGE 8192u

void sl_client_send(struct sl_client *c, const struct sl_msg *msg)
{
    uint8_t room[SMALL_MESSAGE];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode(&w, msg);
    assert(!w.overflow);
    /* A failure ends the socket, which is found out by on_end(). */
    (void)sl_socket_send(c->socket, w.data, w.at, NULL, 0);
}

void sl_client_send_bytes(struct sl_client *c, const struct sl_msg *msg, struct sl_bytes bytes)
{
    uint8_t room[SL_MSG_HEAD_MAX];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode_head(&w, msg);
    assert(!w.overflow);
    (void)sl_socket_send(c->socket, w.data, w.at, bytes.data, bytes.len);
}

void sl_client_ok(struct sl_client *c, uint32_t rid)
{
    sl_client_send(c, &(struct sl_msg){.type = SL_MSG_OK, .request.rid = rid});
}

void sl_client_error(struct sl_client *c, uint32_t rid, int status, bool unsent, const char *text)
{
    sl_client_send(c, &(struct sl_msg){
                          .type = SL_MSG_ERROR,
                          .error = {.rid = rid, .code = (uint32_t)-status, .unsent = unsent, .text = sl_bytes_of(text)},
                      });
}

const char *sl_client_unconfigured_text(const struct sl_client *c)
{
    if (c->native->unconfigured != NULL && sl_conf_is_admin(sl_driver_conf(c->native->driver), &c->who))
        return c->native->unconfigured;
    return "sshleased is not configured: its configuration has errors, which its operator is told";
}

char *sl_client_text(struct sl_bytes bytes, char *buf, size_t size)
{
    size_t len = bytes.len < size ? bytes.len : size - 1;
    if (len > 0)
        memcpy(buf, bytes.data, len);
    buf[len] = '\0';
    return buf;
}

void sl_client_fault(struct sl_client *c, int status, const char *text)
{
    c->fault = status;
    c->fault_text = text;
}
