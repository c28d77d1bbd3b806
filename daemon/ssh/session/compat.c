/* SPDX-License-Identifier: MIT */
/* Where memory may be wrong it is bounded: a refusal costs a round trip to find out again and is believed for an hour;
 * how many commands a connection serves is believed for ten minutes, after two connections that agree. What would cost
 * a command or a connection to find out again is kept until another server answers or the configuration is reloaded. */
#include "daemon/ssh/session/compat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES  64u
#define REFUSAL_MS      3600000u
#define LIMIT_MS        60000u
#define USES_MS         600000u
#define ENDS_TO_BELIEVE 2u
/* A server that answers as a rule is not believed to mind a variable before this happened so often in a row: networks
 * fail and sessions are killed at that moment, too, and without cookies less can be cleaned up. */
#define DOUBTS_TO_BELIEVE 3u

struct name {
    char name[NAME_MAX_BYTES];
    enum sl_env_verdict verdict;
    uint32_t doubts; /* times in a row that it got no answer, where an answer was to be expected */
    uint64_t seen_ms;
};

struct sl_compat {
    char server[256];
    uint32_t number;
    bool without_mac;
    struct name name[SL_COMPAT_NAMES];
    uint32_t names;
    enum sl_sessions_verdict sessions;
    const char *sessions_why;
    uint32_t session_limit;
    uint64_t session_limit_ms;
    bool goes_on;
    uint32_t end_commands; /* commands after which a connection was over, */
    uint32_t ends;         /* so many times in a row, */
    uint64_t end_ms;       /* and the last time then */
    enum sl_probe probe;
    const char *probe_why;
    enum sl_shell_verdict shell;
};

struct sl_compat *sl_compat_new(void)
{
    struct sl_compat *compat = calloc(1, sizeof *compat);
    if (compat != NULL) {
        compat->number = SL_COMPAT_NONE + 1;
        compat->session_limit = UINT32_MAX;
    }
    return compat;
}

void sl_compat_free(struct sl_compat *compat)
{
    free(compat);
}

void sl_compat_reset(struct sl_compat *compat)
{
    uint32_t number = compat->number + 1;
    memset(compat, 0, sizeof *compat);
    compat->number = number;
    compat->session_limit = UINT32_MAX;
}

/* Names keep their places, which connections know. */
void sl_compat_forgive(struct sl_compat *compat)
{
    for (uint32_t i = 0; i < compat->names; i++) {
        compat->name[i].verdict = compat->name[i].verdict == SL_ENV_TAKEN ? SL_ENV_TAKEN : SL_ENV_UNKNOWN;
        compat->name[i].doubts = 0;
    }
    compat->sessions = compat->sessions == SL_SESSIONS_SEVERAL ? SL_SESSIONS_SEVERAL : SL_SESSIONS_UNKNOWN;
    compat->session_limit = UINT32_MAX;
    compat->ends = 0;
    compat->probe = compat->probe == SL_PROBE_TCP ? SL_PROBE_UNTRIED : compat->probe;
    compat->shell = SL_SHELL_UNKNOWN;
    compat->without_mac = false;
}

uint32_t sl_compat_meet(struct sl_compat *compat, const char *server)
{
    if (strncmp(compat->server, server, sizeof compat->server - 1) != 0) {
        if (compat->server[0] != '\0')
            sl_compat_reset(compat);
        snprintf(compat->server, sizeof compat->server, "%s", server);
        compat->probe = sl_compat_is_well_known(compat) ? SL_PROBE_UNKNOWN_TYPE : SL_PROBE_UNTRIED;
    }
    return compat->number;
}

bool sl_compat_is(const struct sl_compat *compat, uint32_t number)
{
    return compat->number == number;
}

static bool is_openssh(const struct sl_compat *compat)
{
    return strncmp(compat->server, "SSH-2.0-OpenSSH_", 16) == 0;
}

bool sl_compat_is_well_known(const struct sl_compat *compat)
{
    return is_openssh(compat) || strncmp(compat->server, "SSH-2.0-dropbear_", 17) == 0;
}

bool sl_compat_takes_eow(const struct sl_compat *compat)
{
    return is_openssh(compat);
}

/* --- the handshake --- */

bool sl_compat_without_mac(const struct sl_compat *compat)
{
    return compat->without_mac;
}

bool sl_compat_saw_no_mac(struct sl_compat *compat)
{
    bool news = !compat->without_mac;
    compat->without_mac = true;
    return news;
}

/* --- environment variables --- */

uint32_t sl_compat_place(const struct sl_compat *compat, const char *name)
{
    for (uint32_t i = 0; i < compat->names; i++)
        if (strcmp(compat->name[i].name, name) == 0)
            return i;
    return SL_COMPAT_NAMES;
}

enum sl_env_verdict sl_compat_env(const struct sl_compat *compat, const char *name, uint64_t now_ms)
{
    uint32_t place = sl_compat_place(compat, name);
    if (place == SL_COMPAT_NAMES)
        return SL_ENV_UNKNOWN;
    const struct name *known = &compat->name[place];
    bool expired = known->verdict == SL_ENV_REFUSED && now_ms - known->seen_ms > REFUSAL_MS;
    return expired ? SL_ENV_UNKNOWN : known->verdict;
}

bool sl_compat_saw_env(struct sl_compat *compat, const char *name, enum sl_env_verdict verdict, uint64_t now_ms)
{
    uint32_t place = sl_compat_place(compat, name);
    if (place == SL_COMPAT_NAMES) {
        if (compat->names == SL_COMPAT_NAMES || strlen(name) >= NAME_MAX_BYTES)
            return false;
        place = compat->names++;
        compat->name[place] = (struct name){.verdict = SL_ENV_UNKNOWN};
        snprintf(compat->name[place].name, NAME_MAX_BYTES, "%s", name);
    }
    struct name *known = &compat->name[place];
    bool answered = verdict == SL_ENV_TAKEN || verdict == SL_ENV_REFUSED;
    bool answers =
        known->verdict == SL_ENV_TAKEN || known->verdict == SL_ENV_REFUSED || sl_compat_is_well_known(compat);
    known->doubts = answered ? 0 : known->doubts + 1;
    if (!answered && answers && known->doubts < DOUBTS_TO_BELIEVE)
        return false;
    bool news = known->verdict != verdict;
    known->verdict = verdict;
    known->seen_ms = now_ms;
    return news;
}

/* --- sessions --- */

enum sl_sessions_verdict sl_compat_sessions(const struct sl_compat *compat)
{
    return compat->sessions;
}

bool sl_compat_saw_sessions(struct sl_compat *compat, enum sl_sessions_verdict verdict, const char *why)
{
    bool news = compat->sessions != verdict;
    compat->sessions = verdict;
    compat->sessions_why = why;
    return news;
}

uint32_t sl_compat_session_limit(const struct sl_compat *compat, uint64_t now_ms)
{
    return compat->session_limit != UINT32_MAX && now_ms - compat->session_limit_ms <= LIMIT_MS ? compat->session_limit
                                                                                                : UINT32_MAX;
}

bool sl_compat_saw_session_limit(struct sl_compat *compat, uint32_t limit, uint64_t now_ms)
{
    bool news = sl_compat_session_limit(compat, now_ms) != limit;
    compat->session_limit = limit;
    compat->session_limit_ms = now_ms;
    return news;
}

/* --- life after a command --- */

bool sl_compat_goes_on(const struct sl_compat *compat)
{
    return compat->goes_on;
}

bool sl_compat_saw_life(struct sl_compat *compat, uint32_t commands)
{
    bool news = !compat->goes_on;
    compat->goes_on = true;
    if (commands > compat->end_commands)
        compat->ends = 0;
    return news;
}

bool sl_compat_saw_end(struct sl_compat *compat, uint32_t commands, uint64_t now_ms)
{
    bool before = sl_compat_uses(compat, now_ms) != UINT32_MAX;
    if (compat->end_commands == commands && compat->ends > 0) {
        compat->ends++;
    } else {
        compat->end_commands = commands;
        compat->ends = 1;
    }
    compat->end_ms = now_ms;
    if (commands <= 1)
        compat->goes_on = false; /* that the next one does is to be proved again before anything is sent to it */
    return !before && sl_compat_uses(compat, now_ms) != UINT32_MAX;
}

uint32_t sl_compat_uses(const struct sl_compat *compat, uint64_t now_ms)
{
    return compat->ends >= ENDS_TO_BELIEVE && now_ms - compat->end_ms <= USES_MS ? compat->end_commands : UINT32_MAX;
}

/* --- signs of life, the sweep --- */

enum sl_probe sl_compat_probe(const struct sl_compat *compat)
{
    return compat->probe;
}

void sl_compat_saw_probe(struct sl_compat *compat)
{
    compat->probe = SL_PROBE_UNKNOWN_TYPE;
}

bool sl_compat_saw_probe_fail(struct sl_compat *compat, const char *why)
{
    if (compat->probe != SL_PROBE_UNTRIED)
        return false;
    compat->probe = SL_PROBE_TCP;
    compat->probe_why = why;
    return true;
}

enum sl_shell_verdict sl_compat_shell(const struct sl_compat *compat)
{
    return compat->shell;
}

bool sl_compat_saw_shell(struct sl_compat *compat, enum sl_shell_verdict verdict)
{
    bool news = compat->shell != verdict;
    compat->shell = verdict;
    return news;
}

/* --- for a person --- */

struct text {
    char *buf;
    size_t size, len;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *text, const char *format, ...)
{
    va_list args;
    if (text->len > 0 && text->len + 2 < text->size) {
        memcpy(text->buf + text->len, "; ", 3);
        text->len += 2;
    }
    va_start(args, format);
    int n = vsnprintf(text->buf + text->len, text->size - text->len, format, args);
    va_end(args);
    text->len += n > 0 ? (size_t)n : 0;
    text->len = text->len < text->size ? text->len : text->size - 1;
}

static void say_names(struct text *text, const struct sl_compat *compat, uint64_t now_ms)
{
    static const char *const does[] = {
        [SL_ENV_REFUSED] = "refuses", [SL_ENV_UNANSWERED] = "never answers", [SL_ENV_FATAL] = "hangs up on"};
    for (unsigned verdict = SL_ENV_REFUSED; verdict <= SL_ENV_FATAL; verdict++) {
        char names[256] = "";
        for (uint32_t i = 0; i < compat->names; i++) {
            const char *name = compat->name[i].name;
            size_t len = strlen(names);
            if (sl_compat_env(compat, name, now_ms) == verdict && len + strlen(name) + 3 < sizeof names)
                snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "", name);
        }
        if (names[0] != '\0')
            say(text, "environment: the server %s %s", does[verdict], names);
    }
}

const char *sl_compat_describe(const struct sl_compat *compat, uint64_t now_ms, char *buf, size_t size)
{
    struct text text = {buf, size, 0};
    buf[0] = '\0';
    say_names(&text, compat, now_ms);
    if (compat->sessions == SL_SESSIONS_ONE)
        say(&text, "opens ahead: no, the server %s", compat->sessions_why);
    if (sl_compat_session_limit(compat, now_ms) != UINT32_MAX)
        say(&text, "sessions at once: %u", (unsigned)compat->session_limit);
    uint32_t uses = sl_compat_uses(compat, now_ms);
    if (uses != UINT32_MAX)
        say(&text, "uses: %u, the server then ends the connection or opens no more sessions", (unsigned)uses);
    if (compat->probe == SL_PROBE_TCP)
        say(&text, "liveness: by TCP, the server %s", compat->probe_why);
    if (compat->without_mac)
        say(&text, "ciphers: those without a MAC first, the server has no other MAC than what is not offered");
    if (compat->shell == SL_SHELL_OTHER)
        say(&text, "sweep: no, the server runs no POSIX shell");
    return buf;
}
