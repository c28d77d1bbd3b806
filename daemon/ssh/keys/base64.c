/* SPDX-License-Identifier: MIT */
/* Decodes with or without padding, past blanks and line ends; encodes with padding. */
#include "daemon/ssh/keys/base64.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int sl_base64_decode(const char *text, size_t len, uint8_t **ret_data, size_t *ret_len)
{
    uint8_t *data = malloc(len / 4 * 3 + 3);
    if (data == NULL)
        return SL_E_NOMEM;
    uint32_t bits = 0;
    size_t digits = 0, padding = 0, at = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
            continue;
        if (c == '=') {
            padding++;
            continue;
        }
        int value = value_of(c);
        if (value < 0 || padding > 0)
            goto err_data;
        bits = bits << 6 | (uint32_t)value;
        if (++digits % 4 == 0) {
            data[at++] = (uint8_t)(bits >> 16);
            data[at++] = (uint8_t)(bits >> 8);
            data[at++] = (uint8_t)bits;
        }
    }
    if (padding > 2 || digits % 4 == 1)
        goto err_data;
    if (digits % 4 == 2) {
        data[at++] = (uint8_t)(bits >> 4);
    } else if (digits % 4 == 3) {
        data[at++] = (uint8_t)(bits >> 10);
        data[at++] = (uint8_t)(bits >> 2);
    }
    *ret_data = data;
    *ret_len = at;
    return 0;

err_data:
    free(data);
    return SL_E_INVALID;
}

char *sl_base64_encode(const uint8_t *data, size_t len)
{
    char *text = malloc((len + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    size_t at = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (n > 2 ? data[i + 2] : 0);
        text[at++] = alphabet[bits >> 18 & 63];
        text[at++] = alphabet[bits >> 12 & 63];
        text[at++] = n > 1 ? alphabet[bits >> 6 & 63] : '=';
        text[at++] = n > 2 ? alphabet[bits & 63] : '=';
    }
    text[at] = '\0';
    return text;
}
