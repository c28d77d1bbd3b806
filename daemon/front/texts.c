/* SPDX-License-Identifier: MIT */
/* Copies bytes of a message into the caller's memory and ends them with NUL. */
#include "daemon/front/texts.h"

#include <string.h>

const char *sl_texts_keep(struct sl_texts *texts, struct sl_bytes bytes)
{
    char *text = texts->at;
    if (bytes.len > 0)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    texts->at += bytes.len + 1;
    return text;
}
