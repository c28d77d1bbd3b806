/* sweep.h - the shell script that ends what a lease has left behind on a host, and what it says. Pure. */
#ifndef SSHLEASE_SSH_SWEEP_H
#define SSHLEASE_SSH_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the script is run: it comes on standard input, so that no shell's quoting matters and no cookie shows in ps. The
 * sweep's own processes carry another mark than those it looks for. */
#define SL_SWEEP_COMMAND "env LC_SSHLEASE=sweep /bin/sh"

/* A script that kills every process of ours whose environment holds one of the `count` texts: hexadecimal digits,
 * '-', '.', '=', '_' and capitals only. Never itself and what it descends from. It repeats until none is left, a second
 * or two at most. The caller frees it; NULL when out of memory. */
char *sl_sweep_script(const char *const *text, size_t count);

struct sl_sweep_result {
    bool ran;      /* to its end: the numbers are exact */
    bool has_proc; /* false: the script says that there is none */
    uint32_t swept, remaining;
};
/* Reads the script's output, which other output may surround. */
void sl_sweep_parse(const char *output, size_t len, struct sl_sweep_result *ret_result);

#endif
