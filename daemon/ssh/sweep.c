#include "daemon/ssh/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "SSHLEASE-SWEEP "

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
    "seen=' '; swept=0; round=0\n"
    "while :; do\n"
    "  left=0\n"
    "  for f in $(carriers 2>/dev/null); do\n"
    "    p=${f#/proc/}; p=${p%/environ}\n"
    "    case $keep in *\" $p \"*) continue ;; esac\n"
    "    left=$((left+1))\n"
    "    case $seen in *\" $p \"*) ;; *) seen=\"$seen$p \"; swept=$((swept+1)) ;; esac\n"
    "    kill -9 \"$p\" 2>/dev/null\n"
    "  done\n"
    "  [ $left -eq 0 ] && break\n"
    "  round=$((round+1)); [ $round -ge 20 ] && break\n"
    "  [ $round -gt 1 ] && { sleep 0.05 2>/dev/null || sleep 1; }\n"
    "done\n"
    "echo \"" MARK "$((swept-left)) $left\"\n"
    "exit 0\n";

char *sl_sweep_script(const char *const *text, size_t count)
{
    static const char functions[] = "look() { grep -F \"$@\"; }\nmarked() { look";
    size_t size = sizeof script_head + sizeof functions + sizeof script_tail + sizeof " \"$@\"; }\n";
    for (size_t i = 0; i < count; i++) {
        size += strlen(text[i]) + sizeof " -e ''";
    }
    char *script = malloc(size);
    if (script == NULL) {
        return NULL;
    }
    size_t at = (size_t)snprintf(script, size, "%s%s", script_head, functions);
    for (size_t i = 0; i < count; i++) {
        at += (size_t)snprintf(script + at, size - at, " -e '%s'", text[i]);
    }
    snprintf(script + at, size - at, " \"$@\"; }\n%s", script_tail);
    return script;
}

void sl_sweep_parse(const char *output, size_t len, struct sl_sweep_result *ret_result)
{
    *ret_result = (struct sl_sweep_result){.has_proc = true};
    const char *at = memmem(output, len, MARK, strlen(MARK));
    if (at == NULL) {
        return;
    }
    at += strlen(MARK);
    char line[64];
    size_t n = len - (size_t)(at - output);
    n = n < sizeof line - 1 ? n : sizeof line - 1;
    memcpy(line, at, n);
    line[n] = '\0';
    ret_result->has_proc = strncmp(line, "no-proc", 7) != 0;
    unsigned swept, remaining;
    char newline;
    if (sscanf(line, "%u %u%c", &swept, &remaining, &newline) == 3 && (newline == '\n' || newline == '\r')) {
        *ret_result = (struct sl_sweep_result){true, true, swept, remaining};
    }
}
