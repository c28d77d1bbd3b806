/* SPDX-License-Identifier: MIT */
/* Walks a text character by character: UTF-8 that is well formed and no control is kept, the rest is replaced. */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* The bytes of the well-formed character that `lead` begins, and the smallest and largest of its second byte: no
 * overlong form, no surrogate, nothing beyond U+10FFFF. */
static size_t form_of(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

static int is_control(uint32_t c)
{
    return (c >= 0x80 && c <= 0x9f) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

size_t sl_text_shown(const void *text, size_t len)
{
    const uint8_t *byte = text;
    uint8_t low, high;
    if (byte[0] < 0x80)
        return byte[0] >= 0x20 && byte[0] != 0x7f;
    size_t count = form_of(byte[0], &low, &high);
    if (count == 0 || count > len || byte[1] < low || byte[1] > high)
        return 0;
    uint32_t c = byte[0] & (0xffu >> (count + 1));
    for (size_t i = 1; i < count; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (byte[i] & 0x3fu);
    }
    return is_control(c) ? 0 : count;
}

char *sl_text_clean(char *out, size_t size, const void *text, size_t len)
{
    const char *from = text;
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        const size_t shown = sl_text_shown(from + i, len - i), count = shown > 0 ? shown : 1;
        if (at + count >= size)
            break;
        if (shown > 0)
            memmove(out + at, from + i, count);
        else
            out[at] = '?';
        at += count;
        i += count;
    }
    out[at] = '\0';
    return out;
}
