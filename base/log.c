/* SPDX-License-Identifier: MIT */
/* Builds each line in a buffer of fixed size, escapes what comes from outside, and writes it to standard error in one
 * call. */
#include "base/log.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SL_LOG_LINE 2048u

/* systemd names the device and inode of the stream that goes to the journal; only if standard error still is that one
 * may lines carry priorities (systemd.exec(5)). */
static bool goes_to_journal(int fd)
{
    const char *named = getenv("JOURNAL_STREAM");
    unsigned long long device = 0, inode = 0;
    struct stat st;
    return named != NULL && sscanf(named, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
           (unsigned long long)st.st_dev == device && (unsigned long long)st.st_ino == inode;
}

void sl_log_init(struct sl_log *log, enum sl_log_level level)
{
    log->level = level;
    log->fd = STDERR_FILENO;
    log->journal = goes_to_journal(log->fd);
}

static const char *level_name(enum sl_log_level level)
{
    switch (level) {
    case SL_LOG_ERROR:
        return "error";
    case SL_LOG_WARNING:
        return "warning";
    case SL_LOG_NOTICE:
        return "notice";
    case SL_LOG_INFO:
        return "info";
    case SL_LOG_DEBUG:
        return "debug";
    }
    return "?";
}

/* What may not be shown as \xNN; returns the new length, never beyond `cap`. */
static size_t put_escaped(char *out, size_t at, size_t cap, const char *text)
{
    const size_t len = strlen(text);
    for (size_t i = 0; i < len && at + 4 < cap;) {
        const size_t shown = sl_text_shown(text + i, len - i);
        if (shown > 0) {
            memcpy(out + at, text + i, shown);
            at += shown;
            i += shown;
        } else {
            at += (size_t)snprintf(out + at, cap - at, "\\x%02x", (unsigned char)text[i++]);
        }
    }
    return at;
}

void sl_log(const struct sl_log *log, enum sl_log_level level, const char *event, const char *format, ...)
{
    if (log == NULL || level > log->level)
        return;
    char line[SL_LOG_LINE];
    size_t at = 0;
    if (log->journal) {
        at = (size_t)snprintf(line, sizeof line, "<%d>%s ", (int)level, event);
    } else {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        at = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
        at += (size_t)snprintf(
            line + at, sizeof line - at, ".%03ldZ %s %s ", now.tv_nsec / 1000000, level_name(level), event);
    }
    char body[SL_LOG_LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(body, sizeof body, format, args);
    va_end(args);
    at = put_escaped(line, at, sizeof line - 1, body);
    line[at++] = '\n';
    /* One write, so that lines of several processes do not mix. A log that cannot be written must not stop the daemon.
     */
    ssize_t written = write(log->fd, line, at);
    (void)written;
}

const char *sl_log_quote(char *buf, uint32_t size, const char *text)
{
    size_t at = 0;
    if (size < 8) {
        if (size > 0)
            buf[0] = '\0';
        return buf;
    }
    buf[at++] = '"';
    const size_t len = strlen(text);
    /* Room for the longest escape, the closing quote and the NUL. */
    for (size_t i = 0; i < len && at + 6 <= size;) {
        const size_t shown = sl_text_shown(text + i, len - i);
        if (text[i] == '"' || text[i] == '\\') {
            buf[at++] = '\\';
            buf[at++] = text[i++];
        } else if (text[i] == '\n') {
            buf[at++] = '\\';
            buf[at++] = 'n';
            i++;
        } else if (shown == 0) {
            at += (size_t)snprintf(buf + at, size - at, "\\x%02x", (unsigned char)text[i++]);
        } else {
            memcpy(buf + at, text + i, shown);
            at += shown;
            i += shown;
        }
    }
    buf[at++] = '"';
    buf[at] = '\0';
    return buf;
}
