/* SPDX-License-Identifier: MIT */
/* Reads and writes numbers and strings, and remembers when something did not fit. */
#include "proto/wire.h"

#include "proto/status.h"

#include <string.h>

void sl_reader_init(struct sl_reader *r, const void *data, size_t len)
{
    *r = (struct sl_reader){.data = data, .len = len};
}

size_t sl_reader_left(const struct sl_reader *r)
{
    return r->len - r->at;
}

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

int sl_get_u8(struct sl_reader *r, uint8_t *ret_value)
{
    if (sl_reader_left(r) < 1)
        return SL_E_PROTOCOL;
    *ret_value = r->data[r->at];
    r->at += 1;
    return 0;
}

int sl_get_bool(struct sl_reader *r, bool *ret_value)
{
    uint8_t value;
    int status = sl_get_u8(r, &value);
    if (status == 0)
        *ret_value = value != 0;
    return status;
}

int sl_get_u32(struct sl_reader *r, uint32_t *ret_value)
{
    if (sl_reader_left(r) < 4)
        return SL_E_PROTOCOL;
    *ret_value = load_u32(r->data + r->at);
    r->at += 4;
    return 0;
}

int sl_get_u64(struct sl_reader *r, uint64_t *ret_value)
{
    if (sl_reader_left(r) < 8)
        return SL_E_PROTOCOL;
    *ret_value = (uint64_t)load_u32(r->data + r->at) << 32 | load_u32(r->data + r->at + 4);
    r->at += 8;
    return 0;
}

int sl_get_string(struct sl_reader *r, struct sl_bytes *ret_bytes)
{
    if (sl_reader_left(r) < 4)
        return SL_E_PROTOCOL;
    size_t len = load_u32(r->data + r->at);
    if (len > sl_reader_left(r) - 4)
        return SL_E_PROTOCOL;
    *ret_bytes = (struct sl_bytes){.data = r->data + r->at + 4, .len = len};
    r->at += 4 + len;
    return 0;
}

int sl_get_text(struct sl_reader *r, size_t max, struct sl_bytes *ret_bytes)
{
    struct sl_reader ahead = *r; /* so that a refused text leaves the cursor where it was */
    struct sl_bytes text;
    int status = sl_get_string(&ahead, &text);
    if (status != 0)
        return status;
    if (text.len > max || memchr(text.data, '\0', text.len) != NULL)
        return SL_E_PROTOCOL;
    *r = ahead;
    *ret_bytes = text;
    return 0;
}

int sl_get_end(const struct sl_reader *r)
{
    return sl_reader_left(r) == 0 ? 0 : SL_E_PROTOCOL;
}

void sl_writer_init(struct sl_writer *w, void *data, size_t cap)
{
    *w = (struct sl_writer){.data = data, .cap = cap};
}

/* The place for `len` bytes more, or NULL once they do not fit. */
static uint8_t *reserve(struct sl_writer *w, size_t len)
{
    if (w->overflow || len > w->cap - w->at) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *place = w->data + w->at;
    w->at += len;
    return place;
}

static void store_u32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

void sl_put_u8(struct sl_writer *w, uint8_t value)
{
    uint8_t *place = reserve(w, 1);
    if (place != NULL)
        *place = value;
}

void sl_put_bool(struct sl_writer *w, bool value)
{
    sl_put_u8(w, value ? 1 : 0);
}

void sl_put_u32(struct sl_writer *w, uint32_t value)
{
    uint8_t *place = reserve(w, 4);
    if (place != NULL)
        store_u32(place, value);
}

void sl_put_u64(struct sl_writer *w, uint64_t value)
{
    uint8_t *place = reserve(w, 8);
    if (place != NULL) {
        store_u32(place, (uint32_t)(value >> 32));
        store_u32(place + 4, (uint32_t)value);
    }
}

void sl_put_string(struct sl_writer *w, const void *data, size_t len)
{
    if (len > UINT32_MAX) {
        w->overflow = true;
        return;
    }
    sl_put_u32(w, (uint32_t)len);
    sl_put_bytes(w, data, len);
}

void sl_put_text(struct sl_writer *w, const char *text)
{
    sl_put_string(w, text, strlen(text));
}

void sl_put_bytes(struct sl_writer *w, const void *data, size_t len)
{
    if (len == 0)
        return; /* `data` may be NULL then */
    uint8_t *place = reserve(w, len);
    if (place != NULL)
        memcpy(place, data, len);
}
