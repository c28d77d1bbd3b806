/* SPDX-License-Identifier: MIT */
/* Looks a code's name, text and retryability up in the table. */
#include "proto/status.h"

#include <stddef.h>

struct row {
    const char *name;
    const char *text;
    int status;
    bool retryable;
};

static const struct row rows[] = {
#define SL_STATUS_ROW(name, number, id, text, retryable) {id, text, SL_E_##name, retryable},
    SL_STATUS_TABLE(SL_STATUS_ROW)
#undef SL_STATUS_ROW
};

static const struct row *row_of(int status)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return &rows[i];
    return NULL;
}

const char *sl_status_name(int status)
{
    const struct row *row = row_of(status);
    return status == 0 ? "ok" : row != NULL ? row->name : "unknown";
}

const char *sl_status_text(int status)
{
    const struct row *row = row_of(status);
    return status == 0 ? "success" : row != NULL ? row->text : "unknown status";
}

bool sl_status_retryable(int status)
{
    const struct row *row = row_of(status);
    return row != NULL && row->retryable;
}
