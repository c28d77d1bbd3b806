/* SPDX-License-Identifier: MIT */
/* sshlease_run(): one command from start to end, its output collected. Over the same stream calls as everybody's. */
#include "client/stream.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

struct collected {
    char *data;
    size_t len, cap;
};

/* Keeps what fits below `max` (0: no limit); says in *truncated whether something did not. False: out of memory. */
static bool collect(struct collected *to, struct sl_bytes from, size_t max, bool *truncated)
{
    size_t len = from.len;
    if (max != 0 && len > max - to->len) {
        len = max - to->len;
        *truncated = true;
    }
    if (len + 1 > to->cap - to->len) { /* the NUL included */
        size_t cap = to->cap == 0 ? 512 : to->cap;
        while (cap - to->len < len + 1)
            cap *= 2;
        char *grown = realloc(to->data, cap);
        if (grown == NULL)
            return false;
        to->data = grown;
        to->cap = cap;
    }
    if (len > 0)
        memcpy(to->data + to->len, from.data, len);
    to->len += len;
    to->data[to->len] = '\0';
    return true;
}

/* Takes everything that waits in the inbox. `out` and `err` are NULL when nobody wants the output. */
static bool take_output(
    struct sshlease_stream *stream, struct collected *out, struct collected *err, size_t max, bool *truncated)
{
    struct sl_bytes run;
    int fd;
    while ((run = sl_stream_peek(stream, &fd)).len > 0) {
        if (out != NULL && !collect(fd == 2 ? err : out, run, max, truncated))
            return false;
        sl_stream_consume(stream, run.len);
    }
    return true;
}

/* Sends what input there is credit and room for, and EOF behind the last of it. */
static int give_input(struct sshlease_stream *stream, const uint8_t *input, size_t len, size_t *done)
{
    if (stream->state == SL_STREAM_ENDED || stream->eof_sent)
        return 0;
    while (*done < len && sl_stream_can_send(stream)) {
        long taken = sl_stream_queue_data(stream, input + *done, len - *done);
        if (taken < 0)
            return taken == SL_E_AGAIN ? 0 : (int)taken;
        *done += (size_t)taken;
        sl_loop_flush(stream->lease);
    }
    return *done == len ? sl_stream_queue_eof(stream) : 0;
}

static int run(struct sshlease_stream *stream, const uint8_t *input, size_t input_len, size_t max_output,
    int timeout_ms, struct collected *out, struct collected *err, bool *truncated)
{
    struct sshlease *lease = stream->lease;
    int64_t deadline_ms = sl_deadline(timeout_ms);
    size_t done = 0;
    int status;
    for (;;) {
        if ((status = give_input(stream, input, input_len, &done)) != 0)
            return status;
        if (!take_output(stream, out, err, max_output, truncated))
            return sl_fail(lease, SL_E_NOMEM, "out of memory for the command's output");
        if (stream->state == SL_STREAM_ENDED)
            break;
        if (sl_loop_turn(lease, deadline_ms) == SL_E_AGAIN)
            return sl_fail(lease, SL_E_TIMEOUT, "the command was still running after %d ms", timeout_ms);
    }
    if (stream->status == 0)
        return 0;
    return (stream->unsent ? sl_refuse : sl_fail)(lease, stream->status, "%s", stream->result.text);
}

int sshlease_run(struct sshlease *lease, const struct sshlease_command *command, const void *input, size_t input_len,
    size_t max_output, int timeout_ms, struct sshlease_output *ret_output)
{
    struct collected out = {0}, err = {0};
    struct sshlease_stream *stream;
    bool wanted = ret_output != NULL, truncated = false;
    int status;
    if (wanted)
        *ret_output = (struct sshlease_output){.result = {.how = SSHLEASE_UNKNOWN, .exit_status = -1}};
    if ((status = sshlease_stream_start(lease, command, &stream)) != 0)
        return status;
    if (wanted &&
        !(collect(&out, (struct sl_bytes){0}, 0, &truncated) && collect(&err, (struct sl_bytes){0}, 0, &truncated)))
        status = sl_fail(lease, SL_E_NOMEM, "out of memory for the command's output");
    if (status == 0)
        status = run(
            stream, input, input_len, max_output, timeout_ms, wanted ? &out : NULL, wanted ? &err : NULL, &truncated);
    if (wanted)
        *ret_output = (struct sshlease_output){.result = stream->result,
            .stdout_data = out.data,
            .stdout_len = out.len,
            .stderr_data = err.data,
            .stderr_len = err.len,
            .truncated = truncated};
    sshlease_stream_free(stream);
    return status;
}

void sshlease_output_fini(struct sshlease_output *output)
{
    if (output == NULL)
        return;
    free(output->stdout_data);
    free(output->stderr_data);
    *output = (struct sshlease_output){.result = {.how = SSHLEASE_UNKNOWN, .exit_status = -1}};
}
