/* SPDX-License-Identifier: MIT */
/* One poll loop.
 *  - standard input is polled only while its buffer is empty, and read only when poll says that a read does not block
 *  - what the command wrote is taken from the library only while the out-buffer is empty; so a reader that is slow here
 *    slows the far side down, by the stream's credit, and everything else goes on
 *  - signals come through a signalfd: no handler, and they are seen while output is blocked, too
 * With passed descriptors there are only signals and the end to wait for. Otherwise output to a pipe is written
 * PIPE_BUF bytes at a time: that much fits without blocking once poll says POLLOUT. Into a pipe that was found empty
 * all it holds fits.
 */
#include "client/cli/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 32768

/* A command that was told to end (TERM, HUP) and has not by then is left to the daemon: who told us may be gone, and
 * root logins to older servers cannot be told anything. */
#define END_MS 5000

/* A command goes on when nobody reads its output any more, as with ssh, but not for ever: so much output, or any that
 * comes so long after its reader was missed, is the end. As the daemon does it with descriptors that are passed. */
#define UNREAD_MAX (64u << 20)
#define UNREAD_MS  10000

enum input_state {
    INPUT_OPEN,
    INPUT_ENDED, /* read to its end; what is in the buffer, then EOF, is still to be sent */
    INPUT_DONE,
};

enum sink_kind {
    SINK_UNKNOWN,
    SINK_FILE, /* writing never blocks for long */
    SINK_SOCKET,
    SINK_PIPE,   /* or a terminal */
    SINK_BROKEN, /* nobody reads it: what is written there is dropped */
};

struct relay {
    struct sshlease *lease;
    struct sshlease_stream *stream;
    enum input_state input;
    int signal_fd;
    enum sink_kind sinks[3];
    size_t pipe_size[3]; /* SINK_PIPE: what it holds when empty; PIPE_BUF for a terminal */
    int out_fd;          /* 1 or 2: where the out-buffer goes */
    size_t in_at, in_end, out_at, out_end;
    int last_signal;
    int64_t last_signal_ms, deadline_ms;
    int64_t end_ms;          /* when to wait no longer for a command that was told to end */
    int64_t unread_since_ms; /* standard output was found to have no reader */
    size_t unread;           /* bytes of it dropped */
    struct cli_escape escape;
    struct cli_tty *tty;
    bool escaped; /* by whoever types: it is to end */
    char in[BUFFER], out[BUFFER];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- signals --- */

static const struct {
    int number;
    const char *name;
} passed_on[] = {{SIGINT, "INT"}, {SIGTERM, "TERM"}, {SIGHUP, "HUP"}, {SIGQUIT, "QUIT"}};

int cli_relay_signals(bool resizes)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        sigaddset(&set, passed_on[i].number); /* one that is ignored (nohup) stays so: it never becomes pending */
    if (resizes)
        sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void tell_size(struct relay *r)
{
    struct sshlease_pty size;
    cli_tty_size(&size);
    sshlease_stream_resize(r->stream, size.cols, size.rows, size.width_px, size.height_px);
}

/* False: the same signal came twice within a second, the user is in earnest. */
static bool take_signal(struct relay *r)
{
    struct signalfd_siginfo info;
    if (read(r->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return true;
    int number = (int)info.ssi_signo;
    if (number == SIGWINCH) {
        tell_size(r);
        return true;
    }
    int64_t at_ms = now_ms();
    bool again = number == r->last_signal && at_ms - r->last_signal_ms < 1000;
    r->last_signal = number;
    r->last_signal_ms = at_ms;
    if ((number == SIGTERM || number == SIGHUP) && r->end_ms == INT64_MAX)
        r->end_ms = at_ms + END_MS;
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0] && !again; i++)
        if (passed_on[i].number == number)
            sshlease_stream_signal(r->stream, passed_on[i].name);
    return !again;
}

/* --- input --- */

/* As it was for the shell that started us; goes on when that says so, and the window may be another one then. */
static void suspend(struct relay *r)
{
    cli_tty_restore(r->tty);
    (void)raise(SIGTSTP);
    cli_tty_raw(r->tty);
    tell_size(r);
}

static void do_verb(struct relay *r, enum cli_escape_verb verb)
{
    char text[512];
    switch (verb) {
    case CLI_ESCAPE_NOTHING:
        break;
    case CLI_ESCAPE_END:
        r->escaped = true;
        break;
    case CLI_ESCAPE_SUSPEND:
        suspend(r);
        break;
    case CLI_ESCAPE_HELP:
    case CLI_ESCAPE_UNSUPPORTED:
        cli_escape_text(&r->escape, verb, text, sizeof text);
        (void)!write(STDERR_FILENO, text, strlen(text));
        break;
    }
}

/* Takes escape sequences out of what was typed, `len` bytes from in[1] on. */
static void take_typed(struct relay *r, size_t len)
{
    size_t at = 0, used = 0;
    r->in_at = 1;
    r->in_end = 1 + len;
    if (r->escape.character == CLI_ESCAPE_NONE)
        return;
    while (at < len && !r->escaped) {
        enum cli_escape_verb verb;
        size_t more;
        at += cli_escape_feed(&r->escape, r->in + 1 + at, len - at, r->in + used, &more, &verb);
        used += more;
        do_verb(r, verb);
    }
    r->in_at = 0;
    r->in_end = used;
}

static void read_input(struct relay *r)
{
    ssize_t got = read(STDIN_FILENO, r->in + 1, sizeof r->in - 1);
    if (got > 0)
        take_typed(r, (size_t)got);
    else if (got == 0 || (errno != EINTR && errno != EAGAIN))
        r->input = INPUT_ENDED; /* a terminal that hung up reads as an error */
}

/* Hands on what was read. Errors are left to reading the stream, which meets them as well. */
static void send_input(struct relay *r)
{
    if (r->in_at < r->in_end) {
        long taken = sshlease_stream_write(r->stream, r->in + r->in_at, r->in_end - r->in_at, 0);
        if (taken > 0)
            r->in_at += (size_t)taken;
        else if (taken == SSHLEASE_E_NO_STREAM)
            r->input = INPUT_DONE;
    }
    if (r->in_at == r->in_end && r->input == INPUT_ENDED) {
        sshlease_stream_eof(r->stream);
        r->input = INPUT_DONE;
    }
}

/* --- output --- */

static void look_at_sink(struct relay *r, int fd)
{
    struct stat st;
    int size = fcntl(fd, F_GETPIPE_SZ);
    r->sinks[fd] = SINK_PIPE;
    r->pipe_size[fd] = size > PIPE_BUF ? (size_t)size : PIPE_BUF;
    if (size > 0 || fstat(fd, &st) != 0)
        return;
    if (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd)))
        r->sinks[fd] = SINK_FILE;
    else if (S_ISSOCK(st.st_mode))
        r->sinks[fd] = SINK_SOCKET;
}

static bool is_empty_pipe(const struct relay *r, int fd)
{
    int held;
    return r->sinks[fd] == SINK_PIPE && r->pipe_size[fd] > PIPE_BUF && ioctl(fd, FIONREAD, &held) == 0 && held == 0;
}

/* Whether what waits can be written without asking poll first. */
static bool writable_at_once(struct relay *r)
{
    if (r->sinks[r->out_fd] == SINK_UNKNOWN)
        look_at_sink(r, r->out_fd);
    return r->sinks[r->out_fd] == SINK_FILE || r->sinks[r->out_fd] == SINK_BROKEN || is_empty_pipe(r, r->out_fd);
}

/* Output has no reader. 0, or -1 with errno when that is the end. */
static int drop_output(struct relay *r)
{
    if (r->out_fd == STDOUT_FILENO) {
        r->unread += r->out_end - r->out_at;
        if (r->unread > UNREAD_MAX || now_ms() - r->unread_since_ms > UNREAD_MS) {
            errno = EPIPE;
            return -1;
        }
    }
    r->out_at = r->out_end;
    return 0;
}

/* One write of what waits. 0, or -1 with errno when that output is lost for us. */
static int write_output(struct relay *r)
{
    enum sink_kind *sink = &r->sinks[r->out_fd];
    size_t len = r->out_end - r->out_at;
    ssize_t written;
    if (*sink == SINK_UNKNOWN)
        look_at_sink(r, r->out_fd);
    if (*sink == SINK_PIPE && len > PIPE_BUF) {
        size_t room = is_empty_pipe(r, r->out_fd) ? r->pipe_size[r->out_fd] : PIPE_BUF;
        len = len < room ? len : room;
    }
    if (*sink == SINK_BROKEN)
        return drop_output(r);
    if (*sink == SINK_SOCKET)
        written = send(r->out_fd, r->out + r->out_at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        written = write(r->out_fd, r->out + r->out_at, len);
    if (written >= 0) {
        r->out_at += (size_t)written;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno != EPIPE)
        return -1;
    *sink = SINK_BROKEN;
    if (r->out_fd == STDOUT_FILENO)
        r->unread_since_ms = now_ms();
    return 0;
}

/* --- the loop --- */

/* Waits for something to happen. */
static void wait_for_anything(struct relay *r, struct pollfd pfds[4])
{
    int want = sshlease_want(r->lease), wait_ms = sshlease_timeout_ms(r->lease);
    int64_t until_ms = r->deadline_ms < r->end_ms ? r->deadline_ms : r->end_ms;
    int64_t left_ms = until_ms - (until_ms != INT64_MAX ? now_ms() : 0);
    /* What was read has been written already: the library may hold more, of which the socket knows nothing. */
    if (left_ms < 0 || (r->out_end > 0 && r->out_at == r->out_end))
        left_ms = 0;
    if (left_ms < INT_MAX && (wait_ms < 0 || left_ms < wait_ms))
        wait_ms = (int)left_ms;
    pfds[0] = (struct pollfd){.fd = sshlease_fd(r->lease),
        .events = (short)((want & SSHLEASE_WANT_READ ? POLLIN : 0) | (want & SSHLEASE_WANT_WRITE ? POLLOUT : 0))};
    pfds[1] = (struct pollfd){.fd = r->signal_fd, .events = POLLIN};
    pfds[2] =
        (struct pollfd){.fd = r->input == INPUT_OPEN && r->in_at == r->in_end ? STDIN_FILENO : -1, .events = POLLIN};
    pfds[3] = (struct pollfd){.fd = r->out_at < r->out_end ? r->out_fd : -1, .events = POLLOUT};
    if (want == 0)
        pfds[0].fd = -1;
    if (poll(pfds, 4, wait_ms) < 0)
        for (int i = 0; i < 4; i++)
            pfds[i].revents = 0;
}

/* Takes output when there is room for it. False: the stream is over, by *ret_end. */
static bool take_output(struct relay *r, bool socket_ready, enum cli_relay_end *ret_end, int *ret_status)
{
    if (r->out_at < r->out_end) {
        if (socket_ready || sshlease_timeout_ms(r->lease) == 0)
            sshlease_process(r->lease); /* its failure is met when the stream is read next */
        return true;
    }
    long got = sshlease_stream_read(r->stream, r->out, sizeof r->out, &r->out_fd, 0);
    r->out_at = r->out_end = 0;
    if (got > 0)
        r->out_end = (size_t)got;
    if (got > 0 || got == SSHLEASE_E_AGAIN)
        return true;
    *ret_end = got == 0 ? CLI_RELAY_ENDED : CLI_RELAY_FAILED;
    *ret_status = (int)got;
    return false;
}

static enum cli_relay_end output_lost(void)
{
    return errno == EPIPE ? CLI_RELAY_PIPE : CLI_RELAY_OUTPUT;
}

/* Whether the daemon could not write to a descriptor that we passed. */
static bool is_lost_there(struct relay *r, enum cli_relay_end *ret_end, int *ret_status)
{
    int status = sshlease_stream_output_status(r->stream);
    if (status == 0)
        return false;
    *ret_status = status;
    *ret_end = status == SSHLEASE_E_CLIENT_GONE ? CLI_RELAY_PIPE : CLI_RELAY_OUTPUT_THERE;
    return true;
}

static enum cli_relay_end loop(struct relay *r, int *ret_status)
{
    struct pollfd pfds[4];
    enum cli_relay_end end;
    for (;;) {
        wait_for_anything(r, pfds);
        if (pfds[1].revents != 0 && !take_signal(r)) {
            *ret_status = r->last_signal;
            return CLI_RELAY_INTERRUPTED;
        }
        if (pfds[2].revents != 0)
            read_input(r);
        if (r->escaped)
            return CLI_RELAY_ESCAPED;
        if (r->input != INPUT_DONE)
            send_input(r);
        if (pfds[3].revents != 0 && write_output(r) != 0)
            return output_lost();
        bool over = !take_output(r, pfds[0].revents != 0, &end, ret_status);
        if (over && end != CLI_RELAY_ENDED)
            return end;
        if (is_lost_there(r, &end, ret_status) || over)
            return end;
        if (pfds[3].fd < 0 && r->out_at < r->out_end && writable_at_once(r) && write_output(r) != 0)
            return output_lost();
        if (r->deadline_ms != INT64_MAX && now_ms() >= r->deadline_ms)
            return CLI_RELAY_TIMEOUT;
        if (r->end_ms != INT64_MAX && now_ms() >= r->end_ms) {
            *ret_status = r->last_signal;
            return CLI_RELAY_INTERRUPTED;
        }
    }
}

enum cli_relay_end cli_relay(
    struct sshlease *lease, struct sshlease_stream *stream, const struct cli_relay_options *options, int *ret_status)
{
    struct relay r;
    /* Not cleared: the buffers are 64 KiB that most commands never touch. */
    r.lease = lease;
    r.stream = stream;
    r.input = options->passed ? INPUT_DONE : options->no_stdin ? INPUT_ENDED : INPUT_OPEN;
    r.in_at = r.in_end = r.out_at = r.out_end = 0;
    r.out_fd = STDOUT_FILENO;
    r.sinks[1] = r.sinks[2] = SINK_UNKNOWN;
    r.last_signal = 0;
    r.last_signal_ms = 0;
    r.end_ms = INT64_MAX;
    r.unread_since_ms = 0;
    r.unread = 0;
    cli_escape_init(&r.escape, options->escape);
    r.tty = options->tty;
    r.escaped = false;
    r.deadline_ms = options->timeout_ms != 0 ? now_ms() + options->timeout_ms : INT64_MAX;
    r.signal_fd = options->signal_fd;
    return loop(&r, ret_status);
}
