/* SPDX-License-Identifier: MIT */
/* The queue is one block: bytes leave at its front, and what is left moves there when that frees at least half of
 * it. */
#include "base/buf.h"

#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SL_BUF_FIRST 1024u

void sl_buf_init(struct sl_buf *buf, size_t max)
{
    *buf = (struct sl_buf){.max = max};
}

void sl_buf_fini(struct sl_buf *buf)
{
    free(buf->mem);
    *buf = (struct sl_buf){.max = buf->max, .keep = buf->keep};
}

size_t sl_buf_room(const struct sl_buf *buf)
{
    return buf->cap - buf->at - buf->len;
}

/* 0 when `len` more bytes fit in one piece behind those held. */
static int make_room(struct sl_buf *buf, size_t len)
{
    if (len > buf->max - buf->len)
        return SL_E_LIMIT;
    if (sl_buf_room(buf) >= len)
        return 0;
    size_t need = buf->len + len;
    /* Moving is only worth it when it frees at least half: otherwise a queue that hovers near its capacity would be
     * moved for every byte. */
    if (need <= buf->cap && buf->at >= buf->cap / 2) {
        memmove(buf->mem, buf->mem + buf->at, buf->len);
        buf->at = 0;
        return 0;
    }
    size_t cap = buf->cap > SL_BUF_FIRST ? buf->cap : SL_BUF_FIRST;
    while (cap < need)
        cap *= 2;
    if (cap > buf->max)
        cap = buf->max;
    uint8_t *mem = buf->at == 0 ? realloc(buf->mem, cap) : malloc(cap);
    if (mem == NULL)
        return SL_E_NOMEM;
    if (buf->at > 0) {
        memcpy(mem, buf->mem + buf->at, buf->len);
        free(buf->mem);
    }
    buf->mem = mem;
    buf->cap = cap;
    buf->at = 0;
    return 0;
}

uint8_t *sl_buf_reserve(struct sl_buf *buf, size_t len)
{
    return make_room(buf, len) == 0 && buf->mem != NULL ? buf->mem + buf->at + buf->len : NULL;
}

void sl_buf_commit(struct sl_buf *buf, size_t len)
{
    assert(len <= sl_buf_room(buf));
    buf->len += len;
}

int sl_buf_put(struct sl_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    int r = make_room(buf, len);
    if (r != 0)
        return r;
    memcpy(buf->mem + buf->at + buf->len, data, len);
    buf->len += len;
    return 0;
}

int sl_buf_put_text(struct sl_buf *buf, const void *data, size_t len)
{
    int r = make_room(buf, len + 1);
    if (r != 0)
        return r;
    if (len > 0)
        memcpy(buf->mem + buf->at + buf->len, data, len);
    buf->len += len;
    buf->mem[buf->at + buf->len] = '\0';
    return 0;
}

void *sl_buf_take(struct sl_buf *buf)
{
    void *mem = buf->mem;
    assert(buf->at == 0);
    buf->mem = NULL;
    sl_buf_fini(buf);
    return mem;
}

const uint8_t *sl_buf_data(const struct sl_buf *buf)
{
    return buf->len > 0 ? buf->mem + buf->at : NULL;
}

void sl_buf_drop(struct sl_buf *buf, size_t len)
{
    assert(len <= buf->len);
    buf->at += len;
    buf->len -= len;
    if (buf->len == 0 && buf->cap > buf->keep)
        sl_buf_fini(buf);
    else if (buf->len == 0)
        buf->at = 0;
}
