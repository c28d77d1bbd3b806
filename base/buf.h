/* SPDX-License-Identifier: MIT */
/* buf.h - a byte queue that grows up to a limit and, unless told otherwise, owns no memory while it is empty. Pure. */
#ifndef SSHLEASE_BASE_BUF_H
#define SSHLEASE_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

/* All zero but for `max` and `keep` is an empty queue; in caller's memory. */
struct sl_buf {
    uint8_t *mem;
    size_t at;  /* where the oldest byte is */
    size_t len; /* bytes held */
    size_t cap;
    size_t max;  /* never holds more; 0 holds nothing */
    size_t keep; /* so much memory stays when the last byte goes */
};

void sl_buf_init(struct sl_buf *buf, size_t max);
/* Frees what it holds; it is then empty and usable. */
void sl_buf_fini(struct sl_buf *buf);

/* Copies bytes to the end. 0; SL_E_LIMIT beyond `max`; SL_E_NOMEM. On an error nothing was added. */
int sl_buf_put(struct sl_buf *buf, const void *data, size_t len);
/* The same, and a NUL behind them that is not counted; the next bytes take its place. There must be room for it too. */
int sl_buf_put_text(struct sl_buf *buf, const void *data, size_t len);
/* Makes room for `len` more bytes at the end and returns it; sl_buf_commit() then adds what was written there. NULL
 * where sl_buf_put() would fail. Valid until the next call. */
uint8_t *sl_buf_reserve(struct sl_buf *buf, size_t len);
void sl_buf_commit(struct sl_buf *buf, size_t len);
/* How much there is room for as it is. */
size_t sl_buf_room(const struct sl_buf *buf);

/* The oldest byte; `buf->len` follow one another from there. NULL when empty. Valid until the next call. */
const uint8_t *sl_buf_data(const struct sl_buf *buf);
/* Drops the `len` oldest bytes; memory goes with the last. */
void sl_buf_drop(struct sl_buf *buf, size_t len);
/* Gives away what it holds, malloc'd, of which nothing may have been dropped. It is then empty and usable. */
void *sl_buf_take(struct sl_buf *buf);

#endif
