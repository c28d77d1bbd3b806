/* SPDX-License-Identifier: MIT */
/* The public calls on streams. Each is a loop: look whether it is done, else turn the link once more. */
#include "client/stream.h"

#include "proto/status.h"

#include <string.h>
#include <unistd.h>

/* Sets the error text to why the stream has ended without a result. */
static int fail_as_stream(struct sshlease_stream *stream)
{
    return (stream->unsent ? sl_refuse : sl_fail)(stream->lease, stream->status, "%s", stream->result.text);
}

static int timed_out(struct sshlease *lease, int timeout_ms, const char *what)
{
    if (timeout_ms == 0)
        return SL_E_AGAIN;
    return sl_fail(lease, SL_E_TIMEOUT, "%s within %d ms", what, timeout_ms);
}

int sshlease_stream_start(
    struct sshlease *lease, const struct sshlease_command *command, struct sshlease_stream **ret_stream)
{
    int status;
    if ((status = sl_link_check(lease)) != 0 || (status = sl_held_check(lease)) != 0)
        return status;
    return sl_stream_begin(lease, command, NULL, ret_stream);
}

/* The message goes out at once or not at all: the descriptors are the caller's. */
static int pass(struct sshlease *lease, const struct sshlease_command *command, const int fd[SL_PASSED_MAX],
    struct sshlease_stream **ret_stream)
{
    struct sl_link *link = &lease->link;
    struct sshlease_stream *stream;
    int passed[SL_PASSED_MAX], status;
    size_t count = 0;
    if ((status = sl_loop_flush(lease)) != 0)
        return status;
    if (link->out.len > 0)
        return sl_refuse(lease, SL_E_AGAIN, "sshleased takes nothing more just now");
    if ((status = sl_stream_begin(lease, command, fd, &stream)) != 0)
        return status;
    for (int i = 0; i < SL_PASSED_MAX; i++)
        if (fd[i] >= 0)
            passed[count++] = fd[i];
    status = sl_loop_pass(lease, passed, count);
    if (status == SL_E_AGAIN || status == SL_E_INVALID) {
        sl_buf_drop(&link->out, link->out.len);
        sl_stream_destroy(stream);
        return sl_refuse(lease, status, "the descriptors cannot be passed to sshleased: %s",
            status == SL_E_INVALID ? "one of them is closed" : "it takes nothing more just now");
    }
    if (status == 0)
        *ret_stream = stream;
    return status; /* else the link has ended, and the stream goes with the handle */
}

int sshlease_stream_start_passed(struct sshlease *lease, const struct sshlease_command *command, const int fd[3],
    struct sshlease_stream **ret_stream)
{
    int status;
    if ((status = sl_link_check(lease)) != 0 || (status = sl_held_check(lease)) != 0 ||
        (status = sl_loop_need(lease, 2, sl_deadline(0))) != 0)
        return status;
    return pass(lease, command, fd, ret_stream);
}

int sshlease_stream_output_status(struct sshlease_stream *stream)
{
    return stream->lost == 0 ? 0 : sl_fail(stream->lease, stream->lost, "%s", stream->lost_text);
}

int sshlease_stream_opened(struct sshlease_stream *stream)
{
    int status = sl_link_check_fork(stream->lease);
    if (status != 0)
        return status;
    if (stream->state == SL_LIB_STREAM_OPENING)
        return SL_E_AGAIN;
    return stream->state == SL_LIB_STREAM_ENDED && stream->status != 0 ? fail_as_stream(stream) : 0;
}

int sshlease_stream_open(
    struct sshlease *lease, const struct sshlease_command *command, int timeout_ms, struct sshlease_stream **ret_stream)
{
    int64_t deadline_ms = sl_deadline(timeout_ms);
    struct sshlease_stream *stream;
    int status = sshlease_stream_start(lease, command, &stream);
    if (status != 0)
        return status;
    while ((status = sshlease_stream_opened(stream)) == SL_E_AGAIN)
        if (sl_loop_turn(lease, deadline_ms) == SL_E_AGAIN) {
            status = sl_fail(lease, SL_E_TIMEOUT, "the server did not accept the command within %d ms", timeout_ms);
            break;
        }
    if (status != 0)
        sshlease_stream_free(stream);
    else
        *ret_stream = stream;
    return status;
}

long sshlease_stream_read(struct sshlease_stream *stream, void *data, size_t size, int *ret_fd, int timeout_ms)
{
    struct sshlease *lease = stream->lease;
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status = sl_link_check_fork(lease);
    if (status != 0)
        return status;
    if (size == 0)
        return sl_refuse(lease, SL_E_INVALID, "there is no room to read into");
    for (;;) {
        int fd;
        struct sl_bytes run = sl_stream_peek(stream, &fd);
        if (run.len > 0) {
            size_t count = run.len < size ? run.len : size;
            memcpy(data, run.data, count);
            if (ret_fd != NULL)
                *ret_fd = fd;
            sl_stream_consume(stream, count);
            sl_loop_flush(lease);
            return (long)count;
        }
        if (stream->state == SL_LIB_STREAM_ENDED)
            return stream->status != 0 ? fail_as_stream(stream) : 0;
        if (sl_loop_turn(lease, deadline_ms) == SL_E_AGAIN)
            return timed_out(lease, timeout_ms, "the command wrote nothing");
    }
}

/* What a call that sends something on a stream begins with. */
static int check_sending(struct sshlease_stream *stream)
{
    int status = sl_link_check_fork(stream->lease);
    if (status == 0 && stream->state == SL_LIB_STREAM_ENDED)
        return stream->status != 0 ? fail_as_stream(stream)
                                   : sl_refuse(stream->lease, SL_E_NO_STREAM, "the command has ended already");
    return status;
}

long sshlease_stream_write(struct sshlease_stream *stream, const void *data, size_t len, int timeout_ms)
{
    struct sshlease *lease = stream->lease;
    int64_t deadline_ms = sl_deadline(timeout_ms);
    size_t done = 0;
    if (stream->eof_sent || stream->passed)
        return sl_refuse(lease, SL_E_INVALID,
            stream->passed ? "the input is read from a passed descriptor"
                           : "nothing can be written after the end of the input");
    for (;;) {
        int status = check_sending(stream);
        if (status != 0)
            return done > 0 ? (long)done : status;
        long taken = sl_stream_queue_data(stream, (const uint8_t *)data + done, len - done);
        if (taken < 0 && taken != SL_E_AGAIN)
            return done > 0 ? (long)done : taken;
        done += taken > 0 ? (size_t)taken : 0;
        sl_loop_flush(lease);
        if (done == len)
            return (long)done;
        if (!sl_stream_can_send(stream) && sl_loop_turn(lease, deadline_ms) == SL_E_AGAIN)
            return done > 0 ? (long)done : timed_out(lease, timeout_ms, "the command took no input");
    }
}

int sshlease_stream_eof(struct sshlease_stream *stream)
{
    int status = check_sending(stream);
    if (status == 0)
        status = sl_stream_queue_eof(stream);
    return status != 0 ? status : sl_loop_flush(stream->lease);
}

int sshlease_stream_signal(struct sshlease_stream *stream, const char *name)
{
    struct sl_msg msg = {.type = SL_MSG_SIGNAL, .signal = {.stream = stream->id, .name = sl_bytes_of(name)}};
    int status = check_sending(stream);
    if (status == 0 && (name[0] == '\0' || strlen(name) > SL_MSG_NAME_MAX))
        status = sl_refuse(stream->lease, SL_E_INVALID, "a signal's name has 1 to %u bytes", SL_MSG_NAME_MAX);
    if (status == 0)
        status = sl_link_queue(stream->lease, &msg);
    return status != 0 ? status : sl_loop_flush(stream->lease);
}

int sshlease_stream_resize(
    struct sshlease_stream *stream, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px)
{
    struct sl_msg msg = {.type = SL_MSG_WINDOW_CHANGE,
        .window_change = {
            .stream = stream->id, .cols = cols, .rows = rows, .width_px = width_px, .height_px = height_px}};
    int status = check_sending(stream);
    if (status == 0)
        status = sl_link_queue(stream->lease, &msg);
    return status != 0 ? status : sl_loop_flush(stream->lease);
}

bool sshlease_stream_result(const struct sshlease_stream *stream, struct sshlease_result *ret_result)
{
    if (stream->state != SL_LIB_STREAM_ENDED)
        return false;
    *ret_result = stream->result;
    return true;
}

bool sshlease_stream_exited(const struct sshlease_stream *stream, struct sshlease_result *ret_result)
{
    if (stream->state != SL_LIB_STREAM_ENDED && !stream->exited)
        return false;
    *ret_result = stream->result;
    return true;
}

int sshlease_stream_wait(struct sshlease_stream *stream, int timeout_ms, struct sshlease_result *ret_result)
{
    struct sshlease *lease = stream->lease;
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status = sl_link_check_fork(lease);
    if (status != 0)
        return status;
    for (;;) {
        struct sl_bytes run;
        int fd;
        while ((run = sl_stream_peek(stream, &fd)).len > 0)
            sl_stream_consume(stream, run.len);
        if (stream->state == SL_LIB_STREAM_ENDED)
            break;
        if (sl_loop_turn(lease, deadline_ms) == SL_E_AGAIN)
            return timed_out(lease, timeout_ms, "the command did not end");
    }
    if (stream->status != 0)
        return fail_as_stream(stream);
    if (ret_result != NULL)
        *ret_result = stream->result;
    return 0;
}

void sshlease_stream_free(struct sshlease_stream *stream)
{
    if (stream == NULL)
        return;
    struct sshlease *lease = stream->lease;
    struct sl_msg msg = {.type = SL_MSG_CLOSE, .stream = {.stream = stream->id}};

    if (stream->state == SL_LIB_STREAM_ENDED || lease->owner != getpid()) {
        sl_stream_destroy(stream);
        return;
    }
    sl_stream_discard(stream);
    if (sl_link_queue(lease, &msg) == 0)
        sl_loop_flush(lease);
}
