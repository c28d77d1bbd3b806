/* SPDX-License-Identifier: MIT */
/* wire.h - bounded cursors over the data types of RFC 4251 section 5. Pure: no I/O, never past its bounds. */
#ifndef SSHLEASE_PROTO_WIRE_H
#define SSHLEASE_PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of bytes borrowed from somebody else's buffer; not NUL-terminated. */
struct sl_bytes {
    const uint8_t *data;
    size_t len;
};

/* Reading. Each sl_get_* returns 0, or SL_E_PROTOCOL and leaves cursor and result untouched.
 * Results borrow the buffer. */
struct sl_reader {
    const uint8_t *data;
    size_t len;
    size_t at;
};

void sl_reader_init(struct sl_reader *r, const void *data, size_t len);
size_t sl_reader_left(const struct sl_reader *r);
int sl_get_u8(struct sl_reader *r, uint8_t *ret_value);
/* A boolean: one byte, 0 is false and anything else true (RFC 4251 section 5). */
int sl_get_bool(struct sl_reader *r, bool *ret_value);
int sl_get_u32(struct sl_reader *r, uint32_t *ret_value);
int sl_get_u64(struct sl_reader *r, uint64_t *ret_value);
int sl_get_string(struct sl_reader *r, struct sl_bytes *ret_bytes);
/* A string for names and texts: refuses a NUL inside and more than `max` bytes. */
int sl_get_text(struct sl_reader *r, size_t max, struct sl_bytes *ret_bytes);
/* SL_E_PROTOCOL unless everything was read. */
int sl_get_end(const struct sl_reader *r);

/* Writing into a caller's buffer of fixed size. The first put that does not fit marks the writer as overflowed; every
 * later put then does nothing, so that only the end needs checking. */
struct sl_writer {
    uint8_t *data;
    size_t cap;
    size_t at;
    bool overflow;
};

void sl_writer_init(struct sl_writer *w, void *data, size_t cap);
void sl_put_u8(struct sl_writer *w, uint8_t value);
void sl_put_bool(struct sl_writer *w, bool value);
void sl_put_u32(struct sl_writer *w, uint32_t value);
void sl_put_u64(struct sl_writer *w, uint64_t value);
void sl_put_string(struct sl_writer *w, const void *data, size_t len);
void sl_put_text(struct sl_writer *w, const char *text);
void sl_put_bytes(struct sl_writer *w, const void *data, size_t len);

#endif
