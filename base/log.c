/* SPDX-License-Identifier: MIT */
/* Builds each line in a buffer of fixed size, escapes what comes from outside, and hands it to the sink in one piece. */
#include "base/log.h"

#include "base/log_sink.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SL_LOG_LINE 2048u
/* At the end, for what is not written yet. */
#define FLUSH_MS 1000u

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
    *log = (struct sl_log){.level = level};
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

/* What a line begins with; returns its length. */
static size_t put_head(char *line, size_t size, bool journal, enum sl_log_level level, const char *event)
{
    if (journal)
        return (size_t)snprintf(line, size, "<%d>%s ", (int)level, event);
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t at = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    at += (size_t)snprintf(line + at, size - at, ".%03ldZ %s %s ", now.tv_nsec / 1000000, level_name(level), event);
    return at;
}

static void vlog(const struct sl_log *log, enum sl_log_level level, const char *event, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
static void vlog(const struct sl_log *log, enum sl_log_level level, const char *event, const char *format, va_list args)
{
    char line[SL_LOG_LINE], body[SL_LOG_LINE];
    vsnprintf(body, sizeof body, format, args);
    size_t len = put_head(line, sizeof line, log->journal, level, event);
    len = put_escaped(line, len, sizeof line - 1, body);
    line[len++] = '\n';
    if (log->sink != NULL) {
        sl_log_sink_put(log->sink, line, len);
    } else {
        /* A log that cannot be written must not stop the daemon. */
        ssize_t written = write(log->fd, line, len);
        (void)written;
    }
}

void sl_log(const struct sl_log *log, enum sl_log_level level, const char *event, const char *format, ...)
{
    if (log == NULL || level > log->level)
        return;
    va_list args;
    va_start(args, format);
    vlog(log, level, event, format, args);
    va_end(args);
}

/* --- that nobody's lines push out another's ----------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void tell_dropped(const struct sl_log *log, const struct sl_log_share *share)
{
    char who[32] = "others";
    if (share->uid != SL_LOG_NOBODY)
        snprintf(who, sizeof who, "uid=%lu", (unsigned long)share->uid);
    sl_log(log, SL_LOG_WARNING, "log", "%s kind=\"%s\": %lu more like these were not logged", who,
        sl_log_kind_name(share->kind), (unsigned long)share->dropped);
}

static bool may_log(const struct sl_log *log, uint32_t uid, enum sl_log_kind kind)
{
    struct sl_log_share calm;
    if (log->shares == NULL)
        return true;
    const bool first = !sl_log_shares_owes(log->shares);
    const bool may = sl_log_shares_take(log->shares, uid, kind, now_ms(), &calm);
    if (calm.dropped > 0)
        tell_dropped(log, &calm);
    if (!may && first)
        log->on_dropped(log->arg);
    return may;
}

void sl_log_of(const struct sl_log *log, uint32_t uid, enum sl_log_kind kind, enum sl_log_level level,
    const char *event, const char *format, ...)
{
    if (log == NULL || level > log->level || (kind != SL_LOG_UNSHARED && !may_log(log, uid, kind)))
        return;
    va_list args;
    va_start(args, format);
    vlog(log, level, event, format, args);
    va_end(args);
}

bool sl_log_calm(const struct sl_log *log)
{
    struct sl_log_share calm;
    if (log->shares == NULL)
        return false;
    while (sl_log_shares_calm(log->shares, now_ms(), &calm))
        tell_dropped(log, &calm);
    return sl_log_shares_owes(log->shares);
}

/* In the sink's thread. */
static size_t on_lost(bool journal, char *line, size_t size, uint64_t lost)
{
    size_t len = put_head(line, size, journal, SL_LOG_ERROR, "log");
    len += (size_t)snprintf(
        line + len, size - len, "%llu lines were lost here: nobody read them in time\n", (unsigned long long)lost);
    return len;
}

void sl_log_start(struct sl_log *log, void (*on_dropped)(void *arg), void *arg)
{
    log->sink = sl_log_sink_new(log->fd, log->journal, on_lost);
    log->shares = calloc(1, sizeof *log->shares);
    log->on_dropped = on_dropped;
    log->arg = arg;
}

void sl_log_stop(struct sl_log *log)
{
    sl_log_sink_free(log->sink, FLUSH_MS);
    log->sink = NULL;
    free(log->shares);
    log->shares = NULL;
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
