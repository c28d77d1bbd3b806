/* SPDX-License-Identifier: MIT */
/* log_sink.h - where log lines go without waiting for whoever reads them. One is written at once where that cannot
 * block; else it is kept, up to a limit, for a thread that may. Lines beyond the limit are lost, and their number is
 * written in their place. The descriptor stays as it is: others may share it. */
#ifndef SSHLEASE_BASE_LOG_SINK_H
#define SSHLEASE_BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_LOG_SINK_KEPT (256u << 10) /* bytes */

struct sl_log_sink;

/* Writes the line, newline included, that says that `lost` lines were lost; returns its length. Called in the thread. */
typedef size_t (*sl_log_sink_lost_fn)(bool journal, char *line, size_t size, uint64_t lost);

/* `fd` stays the caller's. `journal` is for `lost`. NULL: no memory. */
struct sl_log_sink *sl_log_sink_new(int fd, bool journal, sl_log_sink_lost_fn lost);
/* A whole line with its newline, of 4096 bytes at most. */
void sl_log_sink_put(struct sl_log_sink *sink, const char *line, size_t len);
/* Waits until everything is written, so long at most, and frees it. A thread that hangs in a write then is left behind. */
void sl_log_sink_free(struct sl_log_sink *sink, unsigned ms);

#endif
