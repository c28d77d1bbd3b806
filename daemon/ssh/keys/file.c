/* SPDX-License-Identifier: MIT */
/* Reads a file up to a maximum, into memory that is wiped before it is freed. */
#include "daemon/ssh/keys/file.h"

#include "config/conf.h"
#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What does not say its size (a FIFO, /proc) is read up to this. */
#define UNSIZED_MAX 65536u

int sl_file_read(const char *path, size_t max, struct sl_file *ret_file)
{
    /* Non-blocking, for a FIFO nobody writes to would hold the worker for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return errno;
    struct stat st;
    int error = 0;
    struct sl_file file = {0};
    if (fstat(fd, &st) != 0) {
        error = errno;
        goto out;
    }
    if (S_ISDIR(st.st_mode)) {
        error = EISDIR;
        goto out;
    }
    if (st.st_size > 0 && (size_t)st.st_size > max) {
        error = EFBIG;
        goto out;
    }
    size_t cap = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : (max < UNSIZED_MAX ? max : UNSIZED_MAX);
    file.data = malloc(cap + 1);
    if (file.data == NULL) {
        error = ENOMEM;
        goto out;
    }
    while (file.len < cap) {
        ssize_t n = read(fd, file.data + file.len, cap - file.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error = errno;
            goto out;
        }
        if (n == 0)
            break;
        file.len += (size_t)n;
    }
    file.data[file.len] = '\0';
    file.exposed = sl_conf_exposed_mode(&st);
    *ret_file = file;
    file.data = NULL;
out:
    if (file.data != NULL)
        sl_file_free(&file);
    close(fd);
    return error;
}

int sl_file_shortage(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
        return SL_E_LIMIT;
    case ENOMEM:
        return SL_E_NOMEM;
    default:
        return 0;
    }
}

void sl_file_free(struct sl_file *file)
{
    if (file->data != NULL) {
        explicit_bzero(file->data, file->len);
        free(file->data);
    }
    *file = (struct sl_file){0};
}
