/* SPDX-License-Identifier: MIT */
/* file.h - whole small files into memory. Blocks: for workers only. */
#ifndef SSHLEASE_SSH_KEYS_FILE_H
#define SSHLEASE_SSH_KEYS_FILE_H

#include <stddef.h>

struct sl_file {
    char *data; /* NUL-terminated behind its `len` bytes */
    size_t len;
    unsigned exposed; /* the mode, where others could read a private key in it: sl_conf_exposed_mode() */
};

/* 0 or an errno; EFBIG beyond `max` bytes, EISDIR and the like for what is no file. */
int sl_file_read(const char *path, size_t max, struct sl_file *ret_file);
/* SL_E_LIMIT or SL_E_NOMEM when `error` says that the daemon is short of something, so that nothing is known about the
 * file; else 0. */
int sl_file_shortage(int error);
/* Wipes before it frees: what was in it may have been a secret. */
void sl_file_free(struct sl_file *file);

#endif
