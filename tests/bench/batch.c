/* SPDX-License-Identifier: MIT */
/* Reads work from standard input, does it, and prints how long each piece took. */
#include "tests/bench/batch.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int serve_one(batch_fn fn, void *arg, size_t count)
{
    uint64_t *took = calloc(count + 1, sizeof *took);
    if (took == NULL) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    /* Nothing is written in between: the output would be part of what is measured. */
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = now_ns();
        if (fn(arg) != 0) {
            free(took);
            return 1;
        }
        took[i] = now_ns() - begin;
    }
    for (size_t i = 0; i < count; i++)
        printf("%" PRIu64 "%c", took[i], i + 1 < count ? ' ' : '\n');
    fflush(stdout);
    free(took);
    return 0;
}

int batch_serve(const struct batch_work *works, void *arg)
{
    char line[128], name[32];
    unsigned long count;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        const struct batch_work *work = works;
        if (sscanf(line, "%31s %lu", name, &count) != 2 || count == 0 || count > 1000000) {
            fprintf(stderr, "not a batch: %s", line);
            return 2;
        }
        while (work->name != NULL && strcmp(work->name, name) != 0)
            work++;
        if (work->name == NULL) {
            fprintf(stderr, "no such work: %s\n", name);
            return 2;
        }
        if (serve_one(work->fn, arg, count) != 0)
            return 1;
    }
    return 0;
}
