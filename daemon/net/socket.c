/* SPDX-License-Identifier: MIT */
/* A client's socket.
 *   In     Bytes are read into one buffer. Frames are handed out where they are. The buffer begins small and grows to
 *          the frame that does not fit, whose length was checked before; while it is empty there is none.
 *          There is always room for as many descriptors as can come: a read without it would close the others, on the
 *          loop; so would one that passes over bytes out of band, which are like all others here. Descriptors wait in
 *          `fds` until they are taken. Many small frames may take so much of a turn of the loop, and their user's
 *          sockets together so much; then what is left waits, and nothing more is read.
 *   Out    Small messages of one turn of the loop go out together at its end. Others go out at once, with what waited
 *          before them. What the kernel does not take stays in `out` until it does.
 *   End    A failed write shuts the socket down, so that the end is always found, and told, from the loop.
 *   Close  The socket is shut down at once. A thread closes it, for it may have descriptors in its queue that nobody
 *          has read. Memory goes with the last close callback. */
#include "daemon/net/socket.h"

#include "base/buf.h"
#include "base/container.h"
#include "base/state.h"
#include "daemon/net/peer.h"
#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_FIRST 4096u
/* Grown to this when reads fill it; beyond only for a frame that needs it. */
#define READ_BUSY 65536u
/* As much as this waits for the end of the turn. */
#define GATHER_BYTES 4096u
/* So much memory of each socket is not counted: what is said and answered one after the other needs no more. */
#define UNCOUNTED_BYTES 8192u
/* One socket's frames, before others of its user have their turn. It is looked at after so many of them. */
#define SLICE_NS     (SL_TURN_NS / 4)
#define SLICE_FRAMES 4u

enum socket_state {
    SOCKET_OPEN,      /* frames are read */
    SOCKET_HELD,      /* no frame is read until the peer has taken what is queued */
    SOCKET_ENDED,     /* on_end was called */
    SOCKET_FINISHING, /* writing what is queued, then closing */
    SOCKET_CLOSING,
};

#define TO(state) SL_TO(SOCKET_##state)

static const struct sl_state states[] = {
    [SOCKET_OPEN] = {"open", TO(HELD) | TO(ENDED) | TO(FINISHING) | TO(CLOSING)},
    [SOCKET_HELD] = {"held", TO(OPEN) | TO(ENDED) | TO(FINISHING) | TO(CLOSING)},
    [SOCKET_ENDED] = {"ended", TO(FINISHING) | TO(CLOSING)},
    [SOCKET_FINISHING] = {"finishing", TO(CLOSING)},
    [SOCKET_CLOSING] = {"closing", 0},
};

struct sl_socket {
    uv_poll_t poll;
    uv_timer_t timer;
    uv_idle_t turn;   /* runs while something waits for the end of the turn */
    unsigned handles; /* not yet closed */
    int polled;       /* the events that `poll` waits for */
    enum socket_state state;
    const struct sl_socket_handler *handler;
    void *arg;

    int fd;
    uid_t uid; /* the client's */
    struct sl_fd_jobs *jobs;
    struct sl_quota *quota; /* NULL: nothing is counted */
    size_t counted;         /* bytes that were taken of it */
    struct sl_buf in;
    size_t read_size; /* what the next read has room for, at least */
    int fds[SL_SOCKET_FDS_MAX];
    unsigned fd_count;
    unsigned fds_expected, fd_bytes_due; /* of sl_socket_expect_fds(): in all, and bytes that have not come yet */
    struct sl_turn share;                /* waits while there is something to do for which its user had no time left */

    struct sl_buf out;
    size_t marked;  /* bytes of it that sl_socket_mark() was about */
    bool awaited;   /* they are to be told of */
    bool blocked;   /* the kernel takes nothing until it says so */
    bool congested; /* from the high-water mark down to the low one */
};

static void move(struct sl_socket *s, enum socket_state to)
{
    SL_MOVE(states, s->state, to);
}

static bool is_over(const struct sl_socket *s)
{
    return s->state == SOCKET_ENDED || s->state == SOCKET_FINISHING || s->state == SOCKET_CLOSING;
}

static void hand_out_frames(struct sl_socket *s);

/* --- what is waited for ------------------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_what_is_needed(struct sl_socket *s)
{
    int events = (s->state == SOCKET_OPEN && s->share.user == NULL ? UV_READABLE : 0) | (s->blocked ? UV_WRITABLE : 0);
    if (events == s->polled || s->state == SOCKET_CLOSING)
        return;
    s->polled = events;
    if (events != 0)
        (void)uv_poll_start(&s->poll, events, on_poll);
    else
        (void)uv_poll_stop(&s->poll);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* What its queues have is its user's. 0, SL_E_LIMIT or SL_E_NOMEM, then there is more than was counted. */
static int count_memory(struct sl_socket *s)
{
    const size_t has = s->in.cap + s->out.cap, held = has > UNCOUNTED_BYTES ? has - UNCOUNTED_BYTES : 0;
    int r = 0;
    if (s->quota == NULL)
        return 0;
    if (held < s->counted)
        sl_quota_give(s->quota, s->uid, SL_QUOTA_BYTES, s->counted - held);
    else if (held > s->counted)
        r = sl_quota_take(s->quota, s->uid, SL_QUOTA_BYTES, held - s->counted);
    if (r == 0)
        s->counted = held;
    return r;
}

void sl_socket_account(struct sl_socket *s, struct sl_quota *quota)
{
    s->quota = quota;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* One write of what waits and what comes behind it; bytes taken, 0 when the kernel takes none now, or -errno. */
static ssize_t write_out(struct sl_socket *s, const void *head, size_t head_len, const void *body, size_t body_len)
{
    struct iovec iov[3];
    struct msghdr msg = {.msg_iov = iov};
    if (s->out.len > 0)
        iov[msg.msg_iovlen++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)sl_buf_data(&s->out), .iov_len = s->out.len};
    if (head_len > 0)
        iov[msg.msg_iovlen++] = (struct iovec){.iov_base = (void *)(uintptr_t)head, .iov_len = head_len};
    if (body_len > 0)
        iov[msg.msg_iovlen++] = (struct iovec){.iov_base = (void *)(uintptr_t)body, .iov_len = body_len};
    for (;;) {
        ssize_t n = msg.msg_iovlen == 1 ? send(s->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                                        : sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return errno == EAGAIN ? 0 : -errno;
    }
}

/* The peer takes nothing any more. Told by the loop, not from within sl_socket_send(). */
static int break_off(struct sl_socket *s, int status)
{
    (void)shutdown(s->fd, SHUT_RDWR);
    return status;
}

static void drop_written(struct sl_socket *s, size_t len)
{
    sl_buf_drop(&s->out, len);
    s->marked -= len < s->marked ? len : s->marked;
}

/* Writes what waits. 0, or -errno. */
static int flush(struct sl_socket *s)
{
    if (s->out.len == 0)
        return 0;
    ssize_t n = write_out(s, NULL, 0, NULL, 0);
    if (n < 0)
        return (int)n;
    drop_written(s, (size_t)n);
    s->blocked = s->out.len > 0;
    return 0;
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_socket *s = handle->data;
    if (--s->handles > 0)
        return;
    sl_buf_fini(&s->in);
    sl_buf_fini(&s->out);
    (void)count_memory(s);
    sl_fd_jobs_unref(s->jobs);
    s->handler->on_closed(s->arg);
    free(s);
}

static void close_fds(struct sl_socket *s)
{
    for (unsigned i = 0; i < s->fd_count; i++)
        sl_fd_jobs_close(s->jobs, s->fds[i]);
    s->fd_count = 0;
}

void sl_socket_close(struct sl_socket *s)
{
    if (s->state == SOCKET_CLOSING)
        return;
    if (!s->blocked)
        (void)flush(s); /* what was sent before in this turn */
    move(s, SOCKET_CLOSING);
    close_fds(s);
    sl_turns_leave(sl_fd_jobs_turns(s->jobs), &s->share);
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->turn, on_handle_closed);
    sl_socket_refuse(s->jobs, s->fd);
}

void sl_socket_refuse(struct sl_fd_jobs *jobs, int fd)
{
    (void)shutdown(fd, SHUT_RDWR); /* what the client sees; the rest takes as long as it takes */
    sl_fd_jobs_close(jobs, fd);
}

static void on_finish_late(uv_timer_t *timer)
{
    sl_socket_close(timer->data);
}

void sl_socket_finish(struct sl_socket *s)
{
    if (s->state == SOCKET_FINISHING || s->state == SOCKET_CLOSING)
        return;
    close_fds(s);
    if ((!s->blocked && flush(s) != 0) || s->out.len == 0) {
        sl_socket_close(s);
        return;
    }
    move(s, SOCKET_FINISHING);
    sl_turns_leave(sl_fd_jobs_turns(s->jobs), &s->share);
    poll_what_is_needed(s);
    (void)uv_timer_start(&s->timer, on_finish_late, SL_SOCKET_FINISH_MS, 0);
}

static void end(struct sl_socket *s, int status, const char *text)
{
    if (is_over(s))
        return;
    move(s, SOCKET_ENDED);
    close_fds(s);
    sl_turns_leave(sl_fd_jobs_turns(s->jobs), &s->share);
    poll_what_is_needed(s);
    (void)uv_timer_stop(&s->timer);
    s->handler->on_end(s->arg, status, text);
}

static void on_deadline(uv_timer_t *timer)
{
    end(timer->data, SL_E_TIMEOUT, "nothing was said in time");
}

void sl_socket_deadline(struct sl_socket *s, uint64_t timeout_ms)
{
    if (is_over(s))
        return;
    if (timeout_ms == 0)
        (void)uv_timer_stop(&s->timer);
    else
        (void)uv_timer_start(&s->timer, on_deadline, timeout_ms, 0);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Room for the rest of the frame that has begun, or for whatever comes. NULL: out of memory. */
static uint8_t *make_room(struct sl_socket *s)
{
    size_t want = s->read_size;
    if (s->in.len >= 4 && s->fd_bytes_due == 0) {
        struct sl_reader r;
        uint32_t length = 0;
        sl_reader_init(&r, sl_buf_data(&s->in), s->in.len);
        (void)sl_get_u32(&r, &length);
        if (want < (size_t)length + 4)
            want = (size_t)length + 4; /* at most SL_FRAME_MAX + 4: sl_frame_parse() has looked at it */
    }
    assert(s->in.len < want);
    return sl_buf_reserve(&s->in, want - s->in.len);
}

static void end_for_quota(struct sl_socket *s, enum sl_quota_kind kind)
{
    char text[SL_QUOTA_TEXT_SIZE];
    sl_buf_fini(&s->in); /* no frame is being looked at */
    end(s, SL_E_LIMIT,
        s->quota != NULL ? sl_quota_refusal(s->quota, s->uid, kind, text, sizeof text) : sl_status_text(SL_E_LIMIT));
}

/* One read. False: there was nothing, or it has ended. */
static bool read_in(struct sl_socket *s)
{
    union {
        struct cmsghdr align;
        char room[SL_FD_RIGHTS_ROOM];
    } control;
    if (sl_fd_jobs_stalled(s->jobs, s->uid)) {
        end(s, SL_E_LIMIT, SL_FD_STALLED_TEXT);
        return false;
    }
    uint8_t *room = make_room(s);
    if (room == NULL) {
        end(s, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
        return false;
    }
    if (count_memory(s) != 0) {
        end_for_quota(s, SL_QUOTA_BYTES);
        return false;
    }
    struct iovec iov = {.iov_base = room, .iov_len = sl_buf_room(&s->in)};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    ssize_t n;
    do
        n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        sl_buf_commit(&s->in, (size_t)n);
        if ((size_t)n == iov.iov_len && s->read_size < READ_BUSY)
            s->read_size *= 2;
        const int r = sl_fd_keep(s->jobs, s->uid, &msg, s->fds, &s->fd_count, SL_SOCKET_FDS_MAX);
        if (r == 0)
            return true;
        if (r == SL_E_BUSY)
            end_for_quota(s, SL_QUOTA_DESCRIPTORS);
        else
            end(s, r, r == SL_E_LIMIT ? "no room for a descriptor is left" : "too many descriptors came");
    } else if (n == 0) {
        end(s, 0, "closed by the client");
    } else if (errno != EAGAIN) {
        end(s, SL_E_IO, strerror(errno));
    }
    sl_buf_drop(&s->in, 0); /* no memory while it is empty */
    (void)count_memory(s);
    return false;
}

/* The bytes that came with descriptors, from `at` on; how many they were. */
static size_t take_fd_bytes(struct sl_socket *s, size_t at)
{
    size_t taken = 0;
    while (s->fd_bytes_due > 0 && at + taken < s->in.len) {
        if (sl_buf_data(&s->in)[at + taken] != 0) {
            end(s, SL_E_PROTOCOL, "a descriptor was due, and something else came");
            return taken;
        }
        taken++;
        s->fd_bytes_due--;
    }
    if (s->fd_bytes_due > 0)
        return taken;
    if (s->fd_count < s->fds_expected) {
        end(s, SL_E_PROTOCOL, "a descriptor was due, and its byte came without it");
        return taken;
    }
    s->fds_expected = 0;
    s->handler->on_fds(s->arg);
    return taken;
}

static void hand_out_more(struct sl_turn *turn)
{
    struct sl_socket *s = SL_CONTAINER(turn, struct sl_socket, share);
    hand_out_frames(s);
    poll_what_is_needed(s);
}

static void hand_out_frames(struct sl_socket *s)
{
    const uint64_t begun = uv_hrtime();
    unsigned count = 0;
    size_t at = 0;
    long taken = 0;
    while (s->state == SOCKET_OPEN && s->out.len <= SL_SOCKET_HOLD_WATER && at < s->in.len) {
        if (s->fds_expected > 0) {
            at += take_fd_bytes(s, at);
            if (s->fds_expected > 0)
                break;
            continue;
        }
        if (++count % SLICE_FRAMES == 0 && uv_hrtime() - begun > SLICE_NS &&
            sl_turns_wait(sl_fd_jobs_turns(s->jobs), &s->share, s->uid, hand_out_more))
            break;
        struct sl_frame frame;
        taken = sl_frame_parse(sl_buf_data(&s->in) + at, s->in.len - at, SL_FRAME_MAX, &frame);
        if (taken <= 0)
            break;
        at += (size_t)taken;
        s->handler->on_frame(s->arg, &frame);
    }
    if (s->state != SOCKET_OPEN)
        return; /* what is left is nobody's business */
    sl_buf_drop(&s->in, at);
    (void)count_memory(s); /* it is less now, or as much */
    if (taken < 0) {
        end(s, SL_E_PROTOCOL, "a frame's length is out of bounds");
    } else if (s->out.len > SL_SOCKET_HOLD_WATER) {
        move(s, SOCKET_HELD); /* after_writing() goes on */
        poll_what_is_needed(s);
    } else if (s->in.len == 0 && s->fds_expected == 0 && s->fd_count > 0) {
        end(s, SL_E_PROTOCOL, "a descriptor came that nobody asked for");
    }
}

static void on_readable(struct sl_turn *turn)
{
    struct sl_socket *s = SL_CONTAINER(turn, struct sl_socket, share);
    /* The kernel ends a read behind each passed descriptor; the next ones are there already, most likely. */
    do {
        if (!read_in(s))
            break;
        hand_out_frames(s);
    } while (s->state == SOCKET_OPEN && s->fds_expected > 0 && s->share.user == NULL);
    poll_what_is_needed(s);
}

void sl_socket_expect_fds(struct sl_socket *s, unsigned count)
{
    assert(count > 0 && count <= SL_SOCKET_FDS_MAX && s->fds_expected == 0 && s->handler->on_fds != NULL);
    s->fds_expected = s->fd_bytes_due = count;
}

int sl_socket_take_fd(struct sl_socket *s)
{
    if (s->fd_count == 0)
        return -1;
    int fd = s->fds[0];
    s->fd_count--;
    memmove(s->fds, s->fds + 1, s->fd_count * sizeof s->fds[0]);
    return fd;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* After flush(), from the loop: what its success or failure means. */
static void after_writing(struct sl_socket *s, int error)
{
    if (error != 0 || (s->state == SOCKET_FINISHING && s->out.len == 0)) {
        if (s->state == SOCKET_FINISHING) {
            sl_socket_close(s);
            return;
        }
        s->blocked = false;
        sl_buf_fini(&s->out);
        end(s, SL_E_IO, strerror(-error));
        return;
    }
    (void)count_memory(s); /* as above */
    poll_what_is_needed(s);
    const bool drained = s->congested && s->out.len <= SL_SOCKET_LOW_WATER;
    if (!drained && !(s->awaited && s->marked == 0))
        return;
    s->congested = s->congested && !drained;
    s->awaited = s->awaited && s->marked > 0;
    if (!is_over(s))
        s->handler->on_drain(s->arg);
    if (s->state == SOCKET_HELD) {
        move(s, SOCKET_OPEN);
        sl_turns_run(sl_fd_jobs_turns(s->jobs), &s->share, s->uid, hand_out_more); /* those that came before */
        poll_what_is_needed(s);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sl_socket *s = poll->data;
    if (status < 0) { /* an error waits at the socket: libuv has stopped, reading or writing finds out which */
        events = s->polled;
        s->polled = 0;
    }
    if ((events & UV_WRITABLE) != 0 && s->blocked)
        after_writing(s, flush(s));
    if ((events & UV_READABLE) != 0 && s->state == SOCKET_OPEN)
        sl_turns_run(sl_fd_jobs_turns(s->jobs), &s->share, s->uid, on_readable);
    poll_what_is_needed(s);
}

static void on_turn(uv_idle_t *turn)
{
    struct sl_socket *s = turn->data;
    (void)uv_idle_stop(turn);
    if (!s->blocked)
        after_writing(s, flush(s));
}

int sl_socket_send(struct sl_socket *s, const void *head, size_t head_len, const void *body, size_t body_len)
{
    const size_t len = head_len + body_len;
    size_t sent = 0;
    int r;
    if (s->state == SOCKET_FINISHING || s->state == SOCKET_CLOSING)
        return SL_E_IO;
    if (!s->blocked && s->out.len + len > GATHER_BYTES) {
        ssize_t n = write_out(s, head, head_len, body, body_len);
        if (n < 0)
            return break_off(s, SL_E_IO);
        size_t before = (size_t)n < s->out.len ? (size_t)n : s->out.len;
        drop_written(s, before);
        sent = (size_t)n - before;
        if (s->awaited && s->marked == 0)
            (void)uv_idle_start(&s->turn, on_turn);
        if (sent == len)
            return 0;
        s->blocked = true;
    }
    if (s->out.len + len - sent > SL_SOCKET_QUEUE_MAX)
        return break_off(s, SL_E_LIMIT);
    size_t head_sent = sent < head_len ? sent : head_len;
    size_t body_sent = sent - head_sent;
    if (sl_buf_put(&s->out, (const uint8_t *)head + head_sent, head_len - head_sent) != 0 ||
        sl_buf_put(&s->out, (const uint8_t *)body + body_sent, body_len - body_sent) != 0)
        return break_off(s, SL_E_NOMEM);
    if (!is_over(s) && (r = count_memory(s)) != 0)
        return break_off(s, r);
    if (s->blocked)
        poll_what_is_needed(s);
    else
        (void)uv_idle_start(&s->turn, on_turn);
    if (s->out.len > SL_SOCKET_HIGH_WATER)
        s->congested = true;
    return 0;
}

bool sl_socket_congested(const struct sl_socket *s)
{
    return s->congested;
}

void sl_socket_mark(struct sl_socket *s)
{
    s->marked = s->out.len;
    s->awaited = s->marked > 0;
}

bool sl_socket_is_written(const struct sl_socket *s)
{
    return s->marked == 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

int sl_socket_open(uv_loop_t *loop, struct sl_fd_jobs *jobs, int fd, const struct sl_socket_handler *handler, void *arg,
    struct sl_socket **ret_socket)
{
    const int inlined = 1;
    /* Else a read drops bytes out of band, and the kernel closes in that call what came with them. */
    if (setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &inlined, sizeof inlined) != 0)
        return SL_E_IO;
    struct sl_socket *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SL_E_NOMEM;
    s->handler = handler;
    s->arg = arg;
    s->fd = fd;
    s->uid = sl_peer_uid(fd);
    s->read_size = READ_FIRST;
    sl_buf_init(&s->in, SL_FRAME_MAX + 4);
    sl_buf_init(&s->out, SL_SOCKET_QUEUE_MAX);
    s->jobs = sl_fd_jobs_ref(jobs);
    if (uv_poll_init(loop, &s->poll, fd) != 0) {
        sl_fd_jobs_unref(s->jobs);
        free(s); /* the descriptor is still the caller's */
        return SL_E_IO;
    }
    (void)uv_timer_init(loop, &s->timer);
    (void)uv_idle_init(loop, &s->turn);
    s->poll.data = s->timer.data = s->turn.data = s;
    s->handles = 3;
    poll_what_is_needed(s);
    *ret_socket = s;
    return 0;
}
