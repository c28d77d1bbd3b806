/* SPDX-License-Identifier: MIT */
/* Writes the sweep's script with a lease's cookies in it, and reads the numbers it prints. */
#include "daemon/ssh/reclaim/sweep.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK     "SSHLEASE-SWEEP "
#define GREETING "SSHLEASE-SHELL 42 "

/* Plain POSIX sh with grep, sed, tr. /proc/PID/environ is what a process was started with, and only its owner may read
 * it. Not every grep looks behind a zero byte, so that is tried first; where there is none, the script says nothing.
 * The names of very many processes do not fit one command: the shell answers 126. A zombie's environment is empty: it
 * does not count. */
static const char script_head[] = "LC_ALL=C; export LC_ALL\n"
                                  "[ -r /proc/self/environ ] || { echo '" MARK "no-proc'; exit 0; }\n"
                                  "keep=\" $$ \"; p=$$; i=0\n"
                                  "while [ \"$p\" -gt 1 ] && [ $i -lt 32 ]; do\n"
                                  "  p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status 2>/dev/null)\n"
                                  "  [ -n \"$p\" ] || break\n"
                                  "  keep=\"$keep$p \"; i=$((i+1))\n"
                                  "done\n";

/* Processes that carry the connection's value and are not to be touched: those of earlier leases. */
static const char script_spare[] =
    "lines() { tr '\\000' '\\n' 2>/dev/null </proc/$1/environ; }\n"
    "ours() { lines \"$1\" | grep -q -x -F -e \"SSH_CONNECTION=$conn\"; }\n"
    "facts() {\n" /* parent, session, start */
    "  s=$(cat /proc/$1/stat 2>/dev/null) || return 1\n"
    "  s=${s##*') '}; set -- $s; echo \"$2 $4 ${20}\"\n"
    "}\n"
    "note_old() {\n"
    "  for f in $(carriers 2>/dev/null); do\n"
    "    p=${f#/proc/}; p=${p%/environ}\n"
    "    set -- $(facts \"$p\"); [ $# -eq 3 ] && [ \"$3\" -lt \"$since\" ] && ours \"$p\" && old=\"$old$2 \"\n"
    "  done\n"
    "}\n"
    "is_old() {\n"
    "  q=$1; n=0\n"
    "  while [ $n -lt 32 ] && ours \"$q\"; do\n"
    "    set -- $(facts \"$q\"); [ $# -eq 3 ] || return 1\n"
    "    [ \"$3\" -lt \"$since\" ] && return 0\n"
    "    case $old in *\" $2 \"*) return 0 ;; esac\n"
    "    q=$1; n=$((n+1))\n"
    "  done\n"
    "  return 1\n"
    "}\n"
    "spared() {\n"
    "  lines \"$1\" | cookies -q && return 1\n"
    "  ours \"$1\" || return 0\n"
    "  [ \"$since\" -gt 0 ] && is_old \"$1\" || return 1\n"
    "  set -- \"$1\" $(facts \"$1\")\n"
    "  case $told in *\" $1 \"*) ;; *) told=\"$told$1 \"; [ \"$4\" -ge \"$since\" ] && spares=$((spares+1)) ;; esac\n"
    "  return 0\n"
    "}\n";

static const char script_tail[] =
    "one_by_one() {\n"
    "  for f in /proc/[0-9]*/environ; do\n"
    "    [ -r \"$f\" ] && tr '\\000' '\\n' 2>/dev/null <\"$f\" | marked -q && echo \"$f\"\n"
    "  done\n"
    "}\n"
    "if [ \"$(printf 'a\\000b\\n' | look -c -e b 2>/dev/null)\" = 1 ]; then\n"
    "  carriers() { marked -ls /proc/[0-9]*/environ; [ $? -lt 126 ] || one_by_one; }\n"
    "else\n"
    "  [ \"$(echo b | look -c -e b 2>/dev/null)\" = 1 ] || exit 0\n"
    "  carriers() { one_by_one; }\n"
    "fi\n"
    "seen=' '; told=' '; old=' '; swept=0; round=0; spares=0\n"
    "[ \"$since\" -gt 0 ] && note_old\n"
    "while :; do\n"
    "  left=0\n"
    "  for f in $(carriers 2>/dev/null); do\n"
    "    p=${f#/proc/}; p=${p%/environ}\n"
    "    case $keep in *\" $p \"*) continue ;; esac\n"
    "    [ -n \"$conn\" ] && spared \"$p\" && continue\n"
    "    left=$((left+1))\n"
    "    case $seen in *\" $p \"*) ;; *) seen=\"$seen$p \"; swept=$((swept+1)) ;; esac\n"
    "    kill -9 \"$p\" 2>/dev/null\n"
    "  done\n"
    "  [ $left -eq 0 ] && break\n"
    "  round=$((round+1)); [ $round -ge 20 ] && break\n"
    "  [ $round -gt 1 ] && { sleep 0.05 2>/dev/null || sleep 1; }\n"
    "done\n"
    "echo \"" MARK "$((swept-left)) $left $spares\"\n"
    "exit 0\n";

uint64_t sl_sweep_since(uint64_t uptime_cs, uint64_t age_ms)
{
    /* Both ends of the age were rounded down: it may be a millisecond more. */
    const uint64_t up_ms = uptime_cs * 10;
    return up_ms > age_ms + 10 ? (up_ms - age_ms - 1) / 10 : 1;
}

/* Appends; what does not fit is cut, and counted. */
struct writer {
    char *buf;
    size_t size, len;
};

static void put(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(
        w->buf + (w->len < w->size ? w->len : w->size), w->len < w->size ? w->size - w->len : 0, format, args);
    va_end(args);
    w->len += n > 0 ? (size_t)n : 0;
}

static void write_script(struct writer *w, const struct sl_sweep_marks *marks)
{
    put(w, "%sconn='%s'; since=%llu\n", script_head, marks->connection != NULL ? marks->connection : "",
        (unsigned long long)marks->since_cs);
    put(w, "look() { grep -F \"$@\"; }\ncookies() { look");
    for (size_t i = 0; i < marks->count; i++)
        put(w, " -e '%s'", marks->text[i]);
    put(w, " \"$@\"; }\nmarked() { look");
    for (size_t i = 0; i < marks->count; i++)
        put(w, " -e '%s'", marks->text[i]);
    if (marks->connection != NULL)
        put(w, " -e 'SSH_CONNECTION=%s'", marks->connection);
    put(w, " \"$@\"; }\n%s%s", marks->connection != NULL ? script_spare : "", script_tail);
}

char *sl_sweep_script(const struct sl_sweep_marks *marks)
{
    struct writer w = {NULL, 0, 0};
    write_script(&w, marks); /* measures */
    w.size = w.len + 1;
    w.buf = malloc(w.size);
    w.len = 0;
    if (w.buf != NULL)
        write_script(&w, marks);
    return w.buf;
}

/* "192.0.2.1 54321 192.0.2.2 22": names one connection, unless somebody made it up. */
static bool is_connection(const char *text)
{
    char client[64], server[64], more;
    unsigned client_port, server_port;
    return sscanf(text, "%63[0-9a-fA-F.:%] %5u %63[0-9a-fA-F.:%] %5u%c", client, &client_port, server, &server_port,
               &more) == 4 &&
           client_port > 0 && client_port < 65536 && server_port > 0 && server_port < 65536;
}

int sl_sweep_greeted(const char *output, size_t len, struct sl_sweep_shell *ret_shell)
{
    const char *at = memmem(output, len, GREETING, strlen(GREETING));
    const char *end = at != NULL ? memchr(at, '\n', len - (size_t)(at - output)) : NULL;
    if (end == NULL)
        return 0;
    char line[160];
    size_t n = (size_t)(end - at) - strlen(GREETING);
    n = n < sizeof line - 1 ? n : sizeof line - 1;
    memcpy(line, at + strlen(GREETING), n);
    line[n] = '\0';
    line[strcspn(line, "\r")] = '\0';
    memset(ret_shell, 0, sizeof *ret_shell);
    char *value = line;
    if (line[0] != ' ')
        ret_shell->uptime_cs = strtoull(line, &value, 10);
    value += *value == ' ';
    if (is_connection(value))
        snprintf(ret_shell->connection, sizeof ret_shell->connection, "%.95s", value);
    return 1;
}

void sl_sweep_parse(const char *output, size_t len, struct sl_sweep_result *ret_result)
{
    *ret_result = (struct sl_sweep_result){.has_proc = true};
    const char *at = memmem(output, len, MARK, strlen(MARK));
    if (at == NULL)
        return;
    at += strlen(MARK);
    char line[64];
    size_t n = len - (size_t)(at - output);
    n = n < sizeof line - 1 ? n : sizeof line - 1;
    memcpy(line, at, n);
    line[n] = '\0';
    ret_result->has_proc = strncmp(line, "no-proc", 7) != 0;
    unsigned swept, remaining, spared;
    char newline;
    if (sscanf(line, "%u %u %u%c", &swept, &remaining, &spared, &newline) == 4 && (newline == '\n' || newline == '\r'))
        *ret_result = (struct sl_sweep_result){true, true, swept, remaining, spared};
}
