/* SPDX-License-Identifier: MIT */
/* batch.h - what the bench's contestants share: they keep their connection open, read "WORK COUNT" lines from standard
 * input, do WORK that often, and answer with one line of nanoseconds each. So scripts/bench can take turns among them.
 */
#ifndef SSHLEASE_BENCH_BATCH_H
#define SSHLEASE_BENCH_BATCH_H

/* Does `work` once. 0, or anything else to give up (having said why). */
typedef int (*batch_fn)(void *arg);

struct batch_work {
    const char *name;
    batch_fn fn;
};

/* Prints "ready", then serves batches until standard input ends. `works` ends with a NULL name. The exit code. */
int batch_serve(const struct batch_work *works, void *arg);

#endif
