/* In:  bytes are read into one buffer, frames are handed out from its front, what is left of a frame moves to its
 * start. The buffer begins small and grows to the frame that does not fit, whose length was checked before. Out:
 * sending tries the kernel first. What it does not take is copied to `queued`; one uv_write() at a time flies with what
 * was queued before, so that neither buffer moves while the kernel reads from it. End: a failed write shuts the socket
 * down, so that the end is always found, and told, by reading. Close: both handles are closed; memory goes with the
 * second close callback. */
#include "daemon/net/socket.h"

#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_FIRST 4096u
/* Grown to this when reads fill it; beyond only for a frame that needs it. */
#define BUFFER_BUSY 65536u
/* The length field does not count itself. */
#define FRAME_TOTAL_MAX (SL_FRAME_MAX + 4u)
/* Send buffers above this size are given back when they are empty. */
#define KEEP_BYTES 65536u

enum socket_state {
    SOCKET_OPEN,      /* frames are read */
    SOCKET_HELD,      /* no frame is read until the peer has taken what is queued */
    SOCKET_ENDED,     /* on_end was called */
    SOCKET_FINISHING, /* writing what is queued, then closing */
    SOCKET_CLOSING,
};

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

struct sl_socket {
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned handles; /* not yet closed */
    enum socket_state state;
    const struct sl_socket_handler *handler;
    void *arg;

    int fd; /* the pipe's; for shutdown(2) only */
    struct bytes in;

    uv_write_t write;
    struct bytes flying; /* being written; empty: no write is under way */
    struct bytes queued; /* to be written next */
    bool congested;      /* from the high-water mark down to the low one */
};

static void hand_out_frames(struct sl_socket *s);
static void fly(struct sl_socket *s);

static int bytes_reserve(struct bytes *b, size_t cap)
{
    if (cap <= b->cap)
        return SL_OK;
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL)
        return SL_E_NOMEM;
    b->data = data;
    b->cap = cap;
    return SL_OK;
}

static void bytes_fini(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){.data = NULL};
}

static size_t queued_bytes(const struct sl_socket *s)
{
    return s->flying.len + s->queued.len;
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_socket *s = handle->data;

    if (--s->handles > 0)
        return;
    bytes_fini(&s->in);
    bytes_fini(&s->flying);
    bytes_fini(&s->queued);
    s->handler->on_closed(s->arg);
    free(s);
}

void sl_socket_close(struct sl_socket *s)
{
    if (s->state == SOCKET_CLOSING)
        return;
    s->state = SOCKET_CLOSING;
    uv_close((uv_handle_t *)&s->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}

static void on_finish_late(uv_timer_t *timer)
{
    sl_socket_close(timer->data);
}

void sl_socket_finish(struct sl_socket *s)
{
    if (s->state >= SOCKET_FINISHING)
        return;
    (void)uv_read_stop((uv_stream_t *)&s->pipe);
    if (s->flying.len == 0) {
        sl_socket_close(s);
        return;
    }
    s->state = SOCKET_FINISHING;
    (void)uv_timer_start(&s->timer, on_finish_late, SL_SOCKET_FINISH_MS, 0);
}

static void end(struct sl_socket *s, int status, const char *text)
{
    if (s->state >= SOCKET_ENDED)
        return;
    s->state = SOCKET_ENDED;
    (void)uv_read_stop((uv_stream_t *)&s->pipe);
    (void)uv_timer_stop(&s->timer);
    s->handler->on_end(s->arg, status, text);
}

static void on_deadline(uv_timer_t *timer)
{
    end(timer->data, SL_E_TIMEOUT, "nothing was said in time");
}

void sl_socket_deadline(struct sl_socket *s, uint64_t timeout_ms)
{
    if (s->state >= SOCKET_ENDED)
        return;
    if (timeout_ms == 0)
        (void)uv_timer_stop(&s->timer);
    else
        (void)uv_timer_start(&s->timer, on_deadline, timeout_ms, 0);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct sl_socket *s = handle->data;

    (void)suggested;
    if (s->in.cap == 0)
        (void)bytes_reserve(&s->in, BUFFER_FIRST);
    assert(s->in.cap == 0 || s->in.len < s->in.cap); /* make_room() saw to it */
    /* No room makes libuv say UV_ENOBUFS to on_read(). */
    ret_buf->base = (char *)s->in.data + s->in.len;
    ret_buf->len = s->in.cap - s->in.len;
}

/* After the frames were handed out: there must be room for the rest of the one that has begun. */
static int make_room(struct sl_socket *s, bool was_full)
{
    size_t want = s->in.cap;

    if (s->in.len == 0 && s->in.cap > BUFFER_BUSY) {
        bytes_fini(&s->in);
        return SL_OK;
    }
    if (was_full && want < BUFFER_BUSY)
        want *= 2;
    if (s->in.len >= 4) {
        struct sl_reader r;
        uint32_t length = 0;
        sl_reader_init(&r, s->in.data, s->in.len);
        (void)sl_get_u32(&r, &length);
        if (want < (size_t)length + 4)
            want = (size_t)length + 4; /* at most FRAME_TOTAL_MAX: sl_frame_parse() has looked at it */
    }
    return bytes_reserve(&s->in, want);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct sl_socket *s = stream->data;

    (void)buf;
    if (n > 0) {
        s->in.len += (size_t)n;
        hand_out_frames(s);
    } else if (n == UV_EOF) {
        end(s, SL_OK, "closed by the client");
    } else if (n == UV_ENOBUFS) {
        end(s, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
    } else if (n < 0) {
        end(s, SL_E_IO, uv_strerror((int)n));
    }
}

static void hand_out_frames(struct sl_socket *s)
{
    const bool was_full = s->in.len == s->in.cap;
    size_t at = 0;
    long taken = 0;

    while (s->state == SOCKET_OPEN && queued_bytes(s) <= SL_SOCKET_HOLD_WATER) {
        struct sl_frame frame;
        taken = sl_frame_parse(s->in.data + at, s->in.len - at, SL_FRAME_MAX, &frame);
        if (taken <= 0)
            break;
        at += (size_t)taken;
        s->handler->on_frame(s->arg, &frame);
    }
    if (s->state != SOCKET_OPEN)
        return; /* what is left is nobody's business */
    s->in.len -= at;
    if (at > 0 && s->in.len > 0)
        memmove(s->in.data, s->in.data + at, s->in.len);
    if (taken < 0) {
        end(s, SL_E_PROTOCOL, "a frame's length is out of bounds");
    } else if (queued_bytes(s) > SL_SOCKET_HOLD_WATER) {
        s->state = SOCKET_HELD; /* on_written() goes on */
        (void)uv_read_stop((uv_stream_t *)&s->pipe);
    } else if (make_room(s, was_full) != SL_OK) {
        end(s, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* The peer takes nothing any more. Told by reading or by the write under way, not from within sl_socket_send(). */
static int break_off(struct sl_socket *s, int status)
{
    (void)shutdown(s->fd, SHUT_RDWR);
    return status;
}

static void on_written(uv_write_t *write, int status)
{
    struct sl_socket *s = write->data;

    s->flying.len = 0;
    if (s->state == SOCKET_CLOSING)
        return;
    if (status != 0) {
        end(s, SL_E_IO, uv_strerror(status));
        if (s->state == SOCKET_FINISHING)
            sl_socket_close(s);
        return;
    }
    if (s->flying.cap > KEEP_BYTES)
        bytes_fini(&s->flying);
    if (s->queued.len > 0)
        fly(s);
    else if (s->state == SOCKET_FINISHING)
        sl_socket_close(s);
    if (!s->congested || queued_bytes(s) > SL_SOCKET_LOW_WATER)
        return;
    s->congested = false;
    if (s->state < SOCKET_ENDED)
        s->handler->on_drain(s->arg);
    if (s->state == SOCKET_HELD) {
        s->state = SOCKET_OPEN;
        hand_out_frames(s); /* those that came before reading stopped */
        if (s->state == SOCKET_OPEN)
            (void)uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
    }
}

static void fly(struct sl_socket *s)
{
    struct bytes empty = s->flying;

    assert(empty.len == 0);
    s->flying = s->queued;
    s->queued = empty;
    uv_buf_t buf = uv_buf_init((char *)s->flying.data, (unsigned)s->flying.len);
    /* Fails only for a handle that is closed or was never open. */
    int r = uv_write(&s->write, (uv_stream_t *)&s->pipe, &buf, 1, on_written);
    assert(r == 0);
    (void)r;
}

static int enqueue(struct sl_socket *s, const uint8_t *data, size_t len)
{
    if (len == 0)
        return SL_OK;
    if (s->queued.len + len > s->queued.cap) {
        size_t cap = s->queued.cap < BUFFER_FIRST ? BUFFER_FIRST : s->queued.cap;
        while (cap < s->queued.len + len)
            cap *= 2;
        if (bytes_reserve(&s->queued, cap) != SL_OK)
            return SL_E_NOMEM;
    }
    memcpy(s->queued.data + s->queued.len, data, len);
    s->queued.len += len;
    return SL_OK;
}

int sl_socket_send(struct sl_socket *s, const void *head, size_t head_len, const void *body, size_t body_len)
{
    size_t sent = 0;

    if (s->state >= SOCKET_FINISHING)
        return SL_E_IO;
    if (s->flying.len == 0) {
        uv_buf_t buf[2] = {
            {.base = (char *)(uintptr_t)head, .len = head_len},
            {.base = (char *)(uintptr_t)body, .len = body_len},
        };
        int r = uv_try_write((uv_stream_t *)&s->pipe, buf, body_len > 0 ? 2 : 1);
        if (r < 0 && r != UV_EAGAIN)
            return break_off(s, SL_E_IO);
        sent = r > 0 ? (size_t)r : 0;
        if (sent == head_len + body_len)
            return SL_OK;
    }
    if (queued_bytes(s) + head_len + body_len - sent > SL_SOCKET_QUEUE_MAX)
        return break_off(s, SL_E_LIMIT);
    size_t head_sent = sent < head_len ? sent : head_len;
    size_t body_sent = sent - head_sent;
    if (enqueue(s, (const uint8_t *)head + head_sent, head_len - head_sent) != SL_OK ||
        enqueue(s, (const uint8_t *)body + body_sent, body_len - body_sent) != SL_OK)
        return break_off(s, SL_E_NOMEM);
    if (s->flying.len == 0)
        fly(s);
    if (queued_bytes(s) > SL_SOCKET_HIGH_WATER)
        s->congested = true;
    return SL_OK;
}

bool sl_socket_congested(const struct sl_socket *s)
{
    return s->congested;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void on_closed_unopened(void *arg)
{
    (void)arg;
}

static const struct sl_socket_handler nobody = {.on_closed = on_closed_unopened};

int sl_socket_open(
    uv_loop_t *loop, int fd, const struct sl_socket_handler *handler, void *arg, struct sl_socket **ret_socket)
{
    struct sl_socket *s = calloc(1, sizeof *s);

    if (s == NULL)
        return SL_E_NOMEM;
    s->handler = handler;
    s->arg = arg;
    s->fd = fd;
    s->pipe.data = s;
    s->timer.data = s;
    s->write.data = s;
    (void)uv_pipe_init(loop, &s->pipe, 0);
    (void)uv_timer_init(loop, &s->timer);
    s->handles = 2;
    if (uv_pipe_open(&s->pipe, fd) != 0)
        goto err_handles; /* the descriptor is still the caller's */
    int r = uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
    assert(r == 0); /* refuses only a stream that is not open */
    (void)r;
    *ret_socket = s;
    return SL_OK;

err_handles:
    s->handler = &nobody;
    sl_socket_close(s);
    return SL_E_IO;
}
