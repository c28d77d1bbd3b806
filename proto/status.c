#include "proto/status.h"

const char *sl_status_name(int status)
{
    switch (status) {
    case SL_OK:
        return "ok";
#define SL_STATUS_NAME(name, number, id, text, retryable)                                                              \
    case SL_E_##name:                                                                                                  \
        return id;
        SL_STATUS_TABLE(SL_STATUS_NAME)
#undef SL_STATUS_NAME
    default:
        return "unknown";
    }
}

const char *sl_status_text(int status)
{
    switch (status) {
    case SL_OK:
        return "success";
#define SL_STATUS_TEXT(name, number, id, text, retryable)                                                              \
    case SL_E_##name:                                                                                                  \
        return text;
        SL_STATUS_TABLE(SL_STATUS_TEXT)
#undef SL_STATUS_TEXT
    default:
        return "unknown status";
    }
}

bool sl_status_retryable(int status)
{
    switch (status) {
#define SL_STATUS_RETRYABLE(name, number, id, text, retryable)                                                         \
    case SL_E_##name:                                                                                                  \
        return retryable;
        SL_STATUS_TABLE(SL_STATUS_RETRYABLE)
#undef SL_STATUS_RETRYABLE
    default:
        return false;
    }
}
