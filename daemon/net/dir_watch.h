/* SPDX-License-Identifier: MIT */
/* dir_watch.h - calls somebody who looks after names in a directory: soon after the kernel tells of a change there, and
 * now and then without. Opens nothing in it. */
#ifndef SSHLEASE_NET_DIR_WATCH_H
#define SSHLEASE_NET_DIR_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct sl_dir_watch;

/* How often without a change that is told of: the directory's own name, or one above it, may have gone elsewhere, and
 * the system may have no watches left. */
#define SL_DIR_WATCH_MS 30000u
/* After a look that found something missing, whatever changes meanwhile. */
#define SL_DIR_WATCH_MISSING_MS 1000u

/* Looks; false: something is missing. May free the watch. */
typedef bool (*sl_dir_watch_fn)(void *arg);

/* `directory` is copied; it need not exist. `every_ms`: SL_DIR_WATCH_MS. Does not keep the loop alive. No call to `fn`
 * before the loop runs. 0 or SL_E_NOMEM. */
int sl_dir_watch_new(uv_loop_t *loop, const char *directory, uint64_t every_ms, sl_dir_watch_fn fn, void *arg,
    struct sl_dir_watch **ret_watch);
/* No call to `fn` after it. The memory goes with the handles' close callbacks. NULL is fine. */
void sl_dir_watch_free(struct sl_dir_watch *watch);
const char *sl_dir_watch_directory(const struct sl_dir_watch *watch);

#endif
