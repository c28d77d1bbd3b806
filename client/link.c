/* SPDX-License-Identifier: MIT */
/* What every other file of the library stands on: the clock, the handle's error text, and the link's out-buffer, into
 * which messages are queued. Calls none of them; loop.c moves the bytes. */
#include "client/handle.h"

#include "base/text.h"
#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t sl_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t sl_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? SL_NEVER : sl_now_ms() + timeout_ms;
}

int sl_fail(struct sshlease *lease, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(lease->error, sizeof lease->error, format, args);
    va_end(args);
    lease->error_unsent = false;
    return status;
}

int sl_refuse(struct sshlease *lease, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(lease->error, sizeof lease->error, format, args);
    va_end(args);
    lease->error_unsent = true;
    return status;
}

char *sl_text_dup(struct sl_bytes text, int status)
{
    char *copy;
    if (text.len == 0)
        return strdup(sl_status_text(status));
    copy = malloc(text.len + 1);
    if (copy == NULL)
        return NULL;
    /* Parts of it may come from the server; a terminal must not obey them. Only a configuration has several errors. */
    sl_text_clean(copy, text.len + 1, text.data, text.len);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\n')
            copy[i] = status == SL_E_CONFIG ? '\n' : ' ';
    while (text.len > 0 && (copy[text.len - 1] == '\n' || copy[text.len - 1] == ' '))
        copy[--text.len] = '\0';
    return copy;
}

int sl_status_of(uint32_t code)
{
    return code == 0 || code > 255 ? SL_E_PROTOCOL : -(int)code;
}

int sl_link_check_fork(struct sshlease *lease)
{
    if (lease->owner != getpid())
        return sl_refuse(
            lease, SL_E_FORKED, "the lease belongs to process %ld, which forked this one", (long)lease->owner);
    return 0;
}

int sl_link_check(struct sshlease *lease)
{
    int status = sl_link_check_fork(lease);
    if (status == 0 && lease->link.state == SL_LINK_ENDED)
        status = lease->link.ended_status; /* the error text is still the one that says why */
    return status;
}

uint32_t sl_link_next_rid(struct sshlease *lease)
{
    uint32_t rid = lease->link.next_rid++;
    if (lease->link.next_rid == 0) /* 0 means "no request" */
        lease->link.next_rid = 1;
    return rid;
}

int sl_link_queue(struct sshlease *lease, const struct sl_msg *msg)
{
    struct sl_link *link = &lease->link;
    size_t size = sl_msg_size(msg);
    struct sl_writer w;
    if (link->state == SL_LINK_ENDED)
        return link->ended_status;
    if (link->state == SL_LINK_HANGUP)
        return 0; /* nobody listens; the end will be read soon */
    /* A stream has one CLOSE, and its command would run on without it: there is always room for that. */
    if (msg->type != SL_MSG_CLOSE && link->out.len > SL_LINK_OUT_MAX)
        return sl_fail(lease, SL_E_AGAIN, "sshleased takes nothing more just now");
    uint8_t *room = sl_buf_reserve(&link->out, size);
    if (room == NULL)
        return sl_fail(lease, SL_E_NOMEM, "out of memory");
    sl_writer_init(&w, room, sl_buf_room(&link->out));
    sl_msg_encode(&w, msg);
    if (w.overflow)
        return sl_refuse(lease, SL_E_INVALID, "a request is too long for the protocol");
    sl_buf_commit(&link->out, w.at);
    return 0;
}

size_t sl_link_out_room(const struct sshlease *lease)
{
    size_t queued = lease->link.out.len;
    return queued < SL_LINK_OUT_DATA_MAX ? SL_LINK_OUT_DATA_MAX - queued : 0;
}
