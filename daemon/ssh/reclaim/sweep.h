/* SPDX-License-Identifier: MIT */
/* sweep.h - the shell script that ends what a lease has left behind on a host, and what it says. Pure. */
#ifndef SSHLEASE_SSH_RECLAIM_SWEEP_H
#define SSHLEASE_SSH_RECLAIM_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is asked to run. Every login shell that has single quotes hands it on unchanged. It says a line, and only who
 * has read that feeds it a script: what else may answer to a command (another kind of shell, a device, a forced
 * command) is told nothing. The script comes on standard input, so that no shell's quoting matters and no cookie shows
 * in ps. The sweep's own processes carry none of the marks that it looks for. */
#define SL_SWEEP_COMMAND                                                                                               \
    "/bin/sh -c 'read u x </proc/uptime; LC_SSHLEASE=sweep; export LC_SSHLEASE; "                                      \
    "echo SSHLEASE-SHELL $((40+2)) ${u%.*}${u#*.} \"$SSH_CONNECTION\"; "                                               \
    "unset SSH_CONNECTION SSH_CLIENT SSH_TTY; exec /bin/sh'"

/* That line. */
struct sl_sweep_shell {
    uint64_t uptime_cs; /* of the machine, in hundredths of a second, as it counts the start of processes; 0: unknown */
    char connection[96]; /* what marks the processes of this connection; "" where it marks none, or not uniquely */
};
/* 1 when the line is in `output`, which other output may surround; 0 when it may still come. */
int sl_sweep_greeted(const char *output, size_t len, struct sl_sweep_shell *ret_shell);

/* Of a lease that is `age_ms` old when the machine has been up for so long (uptime_cs as above, and so rounded down): the
 * earliest start that a process of the lease can have, as the machine counts it. At least 1. */
uint64_t sl_sweep_since(uint64_t uptime_cs, uint64_t age_ms);

/* What a lease's processes are known by: any of these texts in their environment, of hexadecimal digits, '-', '.', '=',
 * '_' and capitals only. */
struct sl_sweep_marks {
    const char *const *text;
    size_t count;
    /* And this variable's value, NULL: none. Of the processes that have it, those of earlier leases are spared: what
     * was started before `since_cs`, its children, and its sessions. 0: none is. */
    const char *connection;
    uint64_t since_cs;
};
/* A script that kills every process of ours that carries one of them. Never itself and what it descends from. It
 * repeats until none is left, a second or two at most. The caller frees it; NULL when out of memory. */
char *sl_sweep_script(const struct sl_sweep_marks *marks);

struct sl_sweep_result {
    bool ran;      /* to its end: the numbers are exact */
    bool has_proc; /* false: the script says that there is none */
    uint32_t swept, remaining;
    uint32_t spared; /* started since, but among what an earlier lease has left */
};
/* Reads the script's output, which other output may surround. */
void sl_sweep_parse(const char *output, size_t len, struct sl_sweep_result *ret_result);

#endif
