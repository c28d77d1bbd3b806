/* SPDX-License-Identifier: MIT */
/* sshlease_run(): one command from start to end, its output collected. Over the same stream calls as everybody's. */
#include "client/stream.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

/* Keeps what fits below `max` (0: no limit); says in *truncated whether something did not. False: out of memory. */
static bool collect(struct sl_buf *to, struct sl_bytes from, size_t max, bool *truncated)
{
    size_t len = from.len;
    if (max != 0 && len > max - to->len) {
        len = max - to->len;
        *truncated = true;
    }
    return sl_buf_put_text(to, from.data, len) == 0;
}

/* Takes everything that waits in the inbox. `out` and `err` are NULL when nobody wants the output. */
static bool take_output(
    struct sshlease_stream *stream, struct sl_buf *out, struct sl_buf *err, size_t max, bool *truncated)
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
    if (stream->state == SL_LIB_STREAM_ENDED || stream->eof_sent)
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
    int timeout_ms, struct sl_buf *out, struct sl_buf *err, bool *truncated)
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
        if (stream->state == SL_LIB_STREAM_ENDED)
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
    struct sl_buf out = {.max = SIZE_MAX}, err = {.max = SIZE_MAX};
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
    if (wanted) {
        *ret_output = (struct sshlease_output){
            .result = stream->result, .stdout_len = out.len, .stderr_len = err.len, .truncated = truncated};
        ret_output->stdout_data = sl_buf_take(&out);
        ret_output->stderr_data = sl_buf_take(&err);
    }
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
