/* SPDX-License-Identifier: MIT */
/* log.h - one line per fact to standard error, `key=value`, journal-friendly. Never a secret, never a command's text.
 */
#ifndef SSHLEASE_BASE_LOG_H
#define SSHLEASE_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum sl_log_level { SL_LOG_ERROR = 3, SL_LOG_WARNING = 4, SL_LOG_NOTICE = 5, SL_LOG_INFO = 6, SL_LOG_DEBUG = 7 };

/* Where lines go. Handed to whoever logs; there is no global one. */
struct sl_log {
    enum sl_log_level level; /* nothing above it is written */
    bool journal;            /* lines begin with "<6>" (sd-daemon(3)) and carry no time */
    int fd;
};

/* Standard error; `journal` is found out from $JOURNAL_STREAM. */
void sl_log_init(struct sl_log *log, enum sl_log_level level);

/* One line. `event` is a fixed word or two ("conn", "lease"), the rest printf-like `key=value` pairs; control
 * characters are escaped, so that nothing from outside can begin a line of its own. NULL `log` is fine: nothing is
 * written. */
void sl_log(const struct sl_log *log, enum sl_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A text as a value: quoted, with what would break the line escaped. Returns `buf`; cuts what does not fit. */
const char *sl_log_quote(char *buf, uint32_t size, const char *text);
#define SL_LOG_QUOTE_SIZE 512u

#endif
