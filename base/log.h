/* SPDX-License-Identifier: MIT */
/* log.h - one line per fact to standard error, `key=value`, journal-friendly. Never a secret, never a command's text.
 */
#ifndef SSHLEASE_BASE_LOG_H
#define SSHLEASE_BASE_LOG_H

#include "base/log_shares.h"

#include <stdbool.h>
#include <stdint.h>

struct sl_log_sink;

enum sl_log_level { SL_LOG_ERROR = 3, SL_LOG_WARNING = 4, SL_LOG_NOTICE = 5, SL_LOG_INFO = 6, SL_LOG_DEBUG = 7 };

/* Where lines go. Handed to whoever logs; there is no global one. */
struct sl_log {
    enum sl_log_level level; /* nothing above it is written */
    bool journal;            /* lines begin with "<6>" (sd-daemon(3)) and carry no time */
    int fd;
    struct sl_log_sink *sink;     /* NULL: whoever logs waits until the line is written */
    struct sl_log_shares *shares; /* of users; NULL: each has as many lines as it likes */
    void (*on_dropped)(void *arg);
    void *arg;
};

/* Standard error; `journal` is found out from $JOURNAL_STREAM. */
void sl_log_init(struct sl_log *log, enum sl_log_level level);
/* From now on nobody waits for the log, and users have shares of it. Without memory it stays as it is. `on_dropped` is
 * called, from sl_log_of(), when a user's first line was dropped: sl_log_calm() is to be called a while later. */
void sl_log_start(struct sl_log *log, void (*on_dropped)(void *arg), void *arg);
/* Says what was dropped of shares that are calm again. True: there are others, it is to be called once more. */
bool sl_log_calm(const struct sl_log *log);
/* Waits for what is not written yet, a second at most. The log is then as sl_log_init() made it. */
void sl_log_stop(struct sl_log *log);

/* One line. `event` is a fixed word or two ("conn", "lease"), the rest printf-like `key=value` pairs; control
 * characters are escaped, so that nothing from outside can begin a line of its own. NULL `log` is fine: nothing is
 * written. */
void sl_log(const struct sl_log *log, enum sl_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same of a line that user `uid` (SL_LOG_NOBODY: not known) can cause as often as it likes: what is beyond its share
 * of that kind is counted, and the number is logged when it is calm again. So nobody's lines push out another's. */
void sl_log_of(const struct sl_log *log, uint32_t uid, enum sl_log_kind kind, enum sl_log_level level,
    const char *event, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* A text as a value: quoted, with what would break the line escaped. Returns `buf`; cuts what does not fit. */
const char *sl_log_quote(char *buf, uint32_t size, const char *text);
#define SL_LOG_QUOTE_SIZE 512u

#endif
