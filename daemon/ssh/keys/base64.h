/* SPDX-License-Identifier: MIT */
/* base64.h - RFC 4648 base64, as keys are written in files. Pure. */
#ifndef SSHLEASE_SSH_KEYS_BASE64_H
#define SSHLEASE_SSH_KEYS_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Decodes `len` characters; line ends and blanks between them are skipped, padding may be missing. 0 with a result that
 * the caller frees (never NULL), SL_E_INVALID or SL_E_NOMEM. */
int sl_base64_decode(const char *text, size_t len, uint8_t **ret_data, size_t *ret_len);
/* A new string, padded; the caller frees it. NULL when out of memory. */
char *sl_base64_encode(const uint8_t *data, size_t len);

#endif
