/* SPDX-License-Identifier: MIT */
/* A session, from NEW_SESSION to the end of its client's socket:
 *   1. the request; its three descriptors; a terminal's size and modes are read while it is still as the user has it
 *      where no command is named, the client's command line is looked at (mux/cmdline.h): ssh does not say -N
 *   2. a lease is asked for; until it is granted nothing is said, so the client waits
 *   3. the stream is opened; SESSION_OPENED; from here on bytes go between stream and descriptors (relay.h)
 *   4. the stream has ended: its output is written, the descriptors are closed
 *   5. EXIT_MESSAGE, unless a signal ended it; the lease is given back; the socket is closed, and the client leaves
 * Without a shell (ssh -N) there is no stream: the lease is held, with what is forwarded, until the client goes. With
 * -f the client either goes to the background now, or, as 9.2 does, waits for the end: then it is told that it has
 * come, and its forwards stand without it, as those of `ssh -O forward`. Whatever goes wrong from 1 on is told as
 * SESSION_OPENED, a text on the passed stderr, and EXIT_MESSAGE 255: refused in any other way, the client would go
 * round us and open a connection of its own. A connection that was lost has no EXIT_MESSAGE; the client says 255 by
 * itself. */
#include "base/state.h"
#include "daemon/front/mux/cmdline.h"
#include "daemon/front/mux/escape.h"
#include "daemon/front/mux/handlers.h"
#include "daemon/front/texts.h"
#include "daemon/net/tty.h"
#include "daemon/relay/relay.h"
#include "proto/status.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_FAILED 255u
/* How long a session whose lease is over is kept for the user to take what was not written yet. */
#define FLUSH_MS 2000u
/* Typed bytes are looked at for escapes in pieces of this size. */
#define TYPED_BYTES 1024u

enum session_phase {
    SESSION_FDS,     /* its descriptors are still to come */
    SESSION_LOOKING, /* at its client's command line */
    SESSION_WAITING, /* for a lease */
    SESSION_OPENING, /* the server is asked for the stream */
    SESSION_RUNNING, /* without a shell: it is held */
    SESSION_ENDING,  /* the stream is over or there was none; what is left to write is being written */
};

#define TO(phase) SL_TO(SESSION_##phase)

static const struct sl_state phases[] = {
    [SESSION_FDS] = {"fds", TO(LOOKING)},
    [SESSION_LOOKING] = {"looking", TO(WAITING) | TO(ENDING)},
    [SESSION_WAITING] = {"waiting", TO(OPENING) | TO(RUNNING) | TO(ENDING)},
    [SESSION_OPENING] = {"opening", TO(RUNNING) | TO(ENDING)},
    [SESSION_RUNNING] = {"running", TO(ENDING)},
    [SESSION_ENDING] = {"ending", 0},
};

struct sl_mux_session {
    struct sl_mux_client *client;
    enum session_phase phase;
    uint32_t rid, id;

    /* What was asked for. */
    bool tty, x11, agent, subsystem;
    struct sl_mux_escape escape;
    char *texts; /* holds the following */
    const char *term, *command;
    struct sl_stream_env *env;
    size_t env_count;

    bool no_shell, fork; /* ssh -N, ssh -f */
    struct sl_mux_cmdline *cmdline;
    struct sl_mux_fork *forking;

    struct sl_mux_user user;
    struct sl_relay *relay; /* NULL before the descriptors have come */
    int terminal;           /* stdin once more, to ask it for its size; -1: it is none */
    bool stdin_is_null;     /* /dev/null */
    bool stderr_is_tty;
    struct sl_tty_size size;
    uint8_t modes[SL_TTY_MODES_MAX];
    size_t modes_len;

    bool exit_told; /* `exit_status` is to be sent */
    uint32_t exit_status;
};

/* --- ending ------------------------------------------------------------------------------------------------------- */

static void say(struct sl_mux_session *s, const char *text)
{
    char line[SL_MUX_TEXT_MAX + sizeof "sshlease: \r\n"];
    snprintf(line, sizeof line, "sshlease: %s\r\n", text);
    if (s->relay != NULL)
        sl_relay_say(s->relay, line);
}

static void move(struct sl_mux_session *s, enum session_phase to)
{
    SL_MOVE(phases, s->phase, to);
}

static void say_opened(struct sl_mux_session *s)
{
    uint8_t room[SL_FRAME_HEADER + 8];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_session_opened(&w, s->rid, s->id);
    sl_mux_client_send(s->client, &w);
}

static void say_exit(const struct sl_mux_session *s)
{
    uint8_t room[SL_FRAME_HEADER + 8];
    struct sl_writer w;
    if (!s->exit_told)
        return;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_exit(&w, s->id, s->exit_status);
    sl_mux_client_send(s->client, &w);
}

static void free_session(struct sl_mux_session *s)
{
    assert(!s->user.joined);
    s->client->session = NULL;
    sl_mux_cmdline_cancel(s->cmdline);
    sl_mux_fork_cancel(s->forking);
    sl_relay_free(s->relay);
    if (s->terminal >= 0)
        sl_fd_jobs_close(sl_watch_jobs(s->client->mux->watch), s->terminal);
    free(s->texts);
    free(s->env);
    free(s);
}

/* Every descriptor of the session is closed, and its lease left or over. */
static void conclude(struct sl_mux_session *s)
{
    struct sl_mux_client *c = s->client;
    say_exit(s);
    free_session(s);
    sl_mux_forwards_end(c); /* they live as long as the client, whom this tells to leave */
    sl_mux_client_finish(c);
}

static void start_ending(struct sl_mux_session *s)
{
    if (s->phase == SESSION_ENDING)
        return;
    if (s->phase != SESSION_RUNNING)
        say_opened(s);
    move(s, SESSION_ENDING);
}

static void exit_with(struct sl_mux_session *s, uint32_t status)
{
    s->exit_told = true;
    s->exit_status = status;
}

/* There is no stream, or none any more: on_relayed() follows when the text, and what came before it, are written. Who
 * does not read is not waited for long: mux.c drops the session then. */
static void fail(struct sl_mux_session *s, const char *text)
{
    start_ending(s);
    exit_with(s, EXIT_FAILED);
    say(s, text);
    sl_socket_deadline(s->client->socket, FLUSH_MS);
    if (s->relay != NULL)
        sl_relay_finish(s->relay);
    else
        conclude(s);
}

/* As fail(), for a reason that does not name the target by itself. */
static void fail_for(struct sl_mux_session *s, const char *reason)
{
    char text[SL_MUX_TEXT_MAX];
    snprintf(text, sizeof text, "target %s: %s", s->client->target, reason);
    fail(s, text);
}

/* --- what is typed ------------------------------------------------------------------------------------------------ */

static void disconnect(struct sl_mux_session *s)
{
    struct sl_mux_client *c = s->client;
    /* The person who types it wants to be gone now, from a server that may not answer: no flush, no orderly end. */
    sl_mux_lease_abandon(c);
    start_ending(s);
    exit_with(s, EXIT_FAILED);
    conclude(s);
}

/* False when the session is gone. */
static bool obey(struct sl_mux_session *s, enum sl_mux_verb verb)
{
    char text[1024];
    switch (verb) {
    case SL_MUX_VERB_DISCONNECT:
        disconnect(s);
        return false;
    case SL_MUX_VERB_HELP:
        sl_relay_say(s->relay, sl_mux_escape_help(&s->escape, text, sizeof text));
        return true;
    case SL_MUX_VERB_UNSUPPORTED:
        snprintf(text, sizeof text,
            "this escape is not available in a session that sshleased serves; %c? lists "
            "those that are",
            (char)s->escape.character);
        say(s, text);
        return true;
    case SL_MUX_VERB_NONE:
        break;
    }
    return true;
}

static void on_typed(void *arg, const uint8_t *data, size_t len)
{
    struct sl_mux_session *s = arg;
    uint8_t out[TYPED_BYTES + 1];
    while (len > 0) {
        enum sl_mux_verb verb;
        size_t out_len, piece = len < TYPED_BYTES ? len : TYPED_BYTES;
        size_t taken = sl_mux_escape_feed(&s->escape, data, piece, out, &out_len, &verb);
        sl_relay_input(s->relay, out, out_len);
        data += taken;
        len -= taken;
        if (!obey(s, verb))
            return;
    }
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

static void say_what_is_missing(struct sl_mux_session *s)
{
    char text[SL_MUX_TEXT_MAX];
    if (!s->x11 && !s->agent)
        return;
    snprintf(text, sizeof text, "target %s: %s not forwarded here; going on without", s->client->target,
        s->x11 && s->agent ? "X11 and the agent are"
        : s->x11           ? "X11 is"
                           : "the agent is");
    say(s, text);
}

static void on_open(void *arg, int status, const char *text)
{
    struct sl_mux_session *s = arg;
    char whole[SL_MUX_TEXT_MAX];
    if (status == 0) {
        say_opened(s);
        move(s, SESSION_RUNNING);
        say_what_is_missing(s);
        sl_mux_session_look(s->client);
        return;
    }
    start_ending(s); /* on_end follows */
    exit_with(s, EXIT_FAILED);
    snprintf(whole, sizeof whole, "target %s: %s", s->client->target, text);
    say(s, whole);
}

/* ssh ends with its last eight bits, which may be those of a success. */
static void exit_as(struct sl_mux_session *s, uint32_t status)
{
    char text[SL_MUX_TEXT_MAX];
    if (status != 0 && (status & 255) == 0) {
        snprintf(text, sizeof text, "target %s: the command's exit status is %u", s->client->target, status);
        say(s, text);
        status = EXIT_FAILED;
    }
    exit_with(s, status);
}

static void on_result(void *arg, const struct sl_stream_result *result)
{
    struct sl_mux_session *s = arg;
    char whole[SL_MUX_TEXT_MAX];
    if (s->phase == SESSION_ENDING)
        return; /* refused: told already */
    start_ending(s);
    if (result->how == SL_RESULT_STATUS) {
        exit_as(s, result->exit_status);
    } else if (result->how == SL_RESULT_UNKNOWN && result->text != NULL && result->text[0] != '\0') {
        snprintf(whole, sizeof whole, "target %s: %s", s->client->target, result->text);
        say(s, whole);
    }
}

/* Output is written, descriptors are closed. */
static void on_relayed(void *arg, const struct sl_stream_result *result)
{
    struct sl_mux_session *s = arg;
    (void)result;    /* noted when it came */
    s->relay = NULL; /* gone with this */
    sl_mux_lease_leave(s->client, &s->user);
    conclude(s);
}

static const struct sl_relay_handler plain_handler = {
    .on_open = on_open,
    .on_result = on_result,
    .on_end = on_relayed,
};
static const struct sl_relay_handler typed_handler = {
    .on_open = on_open,
    .on_input = on_typed,
    .on_result = on_result,
    .on_end = on_relayed,
};

/* --- the lease ---------------------------------------------------------------------------------------------------- */

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct sl_mux_session *s = arg;
    char text[SL_MUX_TEXT_MAX];
    (void)waited_ms;
    if (!s->stderr_is_tty)
        return; /* programs take what is on stderr for a failure */
    snprintf(text, sizeof text, "waiting, number %u in the queue; %s", position, reason);
    say(s, text);
}

static void on_forked(void *arg, bool forked)
{
    struct sl_mux_session *s = arg;
    struct sl_mux_client *c = s->client;
    s->forking = NULL;
    if (forked || s->phase != SESSION_RUNNING)
        return; /* killed, it ends what it has: its child has the socket */
    exit_with(s, 0);
    say_exit(s);
    sl_mux_lease_leave(c, &s->user);
    free_session(s);
    if (c->forwards != NULL)
        sl_mux_client_stand(c);
    else
        sl_mux_client_finish(c);
}

static void hold(struct sl_mux_session *s)
{
    say_opened(s);
    move(s, SESSION_RUNNING);
    if (s->fork)
        (void)sl_mux_await_fork(s->client, on_forked, s, &s->forking); /* without memory it is held by the foreground */
}

static void on_granted(void *arg)
{
    struct sl_mux_session *s = arg;
    struct sl_stream *stream;
    const struct sl_stream_pty pty = {
        .term = s->term,
        .cols = s->size.cols,
        .rows = s->size.rows,
        .width_px = s->size.width_px,
        .height_px = s->size.height_px,
        .modes = s->modes_len > 0 ? s->modes : NULL,
        .modes_len = s->modes_len,
    };
    struct sl_stream_spec spec = {
        .kind = s->subsystem            ? SL_SPEC_SUBSYSTEM
                : s->command[0] != '\0' ? SL_SPEC_EXEC
                                        : SL_SPEC_SHELL,
        .pty = s->tty ? &pty : NULL,
        .env = s->env,
        .env_count = s->env_count,
        .credit = SL_RELAY_CREDIT,
    };
    if (s->no_shell) {
        hold(s);
        return;
    }
    spec.command = spec.kind == SL_SPEC_SHELL ? NULL : s->command;
    move(s, SESSION_OPENING);
    int r = sl_lease_stream_open(s->client->lease, &spec, &sl_relay_stream_handler, s->relay, &stream);
    if (r != 0) {
        char text[SL_QUOTA_TEXT_SIZE];
        (void)sl_lease_stream_refusal(s->client->lease, r, text, sizeof text);
        sl_mux_lease_leave(s->client, &s->user);
        fail_for(s, text);
        return;
    }
    sl_relay_take_stream(s->relay, stream);
}

/* Refused, or over while it ran: then the stream does not call any more. Where the connection was lost, the stream has
 * ended before, and has said so. */
static void on_lost(void *arg, int status, const char *text)
{
    struct sl_mux_session *s = arg;
    (void)status;
    if (s->phase == SESSION_ENDING) /* it has its result; the rest of its output is being written */
        sl_socket_deadline(s->client->socket, FLUSH_MS);
    else
        fail(s, text);
}

static const struct sl_mux_user_handler user_handler = {
    .on_waiting = on_waiting,
    .on_granted = on_granted,
    .on_lost = on_lost,
};

/* --- the request -------------------------------------------------------------------------------------------------- */

/* Keeps what the frame says. 0 or SL_E_NOMEM. */
static int keep_request(struct sl_mux_session *s, const struct sl_mux_new_session *request)
{
    struct sl_reader env = request->env;
    struct sl_bytes name, value;
    /* Each variable has four bytes of length and its "=", so there is room for the NULs as well. */
    s->texts = malloc(request->term.len + 1 + request->command.len + 1 + sl_reader_left(&request->env));
    s->env = calloc((size_t)request->env_count + 1, sizeof *s->env);
    if (s->texts == NULL || s->env == NULL)
        return SL_E_NOMEM;
    struct sl_texts texts = {.at = s->texts};
    s->term = sl_texts_keep(&texts, request->term);
    s->command = sl_texts_keep(&texts, request->command);
    while (sl_mux_env_next(&env, &name, &value)) {
        s->env[s->env_count].name = sl_texts_keep(&texts, name);
        s->env[s->env_count++].value = sl_texts_keep(&texts, value);
    }
    s->tty = request->tty;
    s->x11 = request->x11;
    s->agent = request->agent;
    s->subsystem = request->subsystem;
    sl_mux_escape_init(&s->escape, request->tty ? request->escape : UINT32_MAX);
    return 0;
}

void sl_mux_on_new_session(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    c->fds = SL_MUX_FDS_UNWANTED;
    if (c->session != NULL || c->stdio != NULL) {
        sl_mux_client_refuse(c, SL_MUX_FAILURE, msg->rid, "this socket has a session already");
        return;
    }
    struct sl_mux_session *s = calloc(1, sizeof *s);
    if (s != NULL && keep_request(s, &msg->new_session) != 0) {
        free(s->texts);
        free(s->env);
        free(s);
        s = NULL;
    }
    if (s == NULL) {
        sl_mux_client_refuse_loudly(c, msg->rid, sl_status_text(SL_E_NOMEM));
        return;
    }
    s->client = c;
    s->rid = msg->rid;
    s->id = c->sessions++;
    s->terminal = -1;
    s->user = (struct sl_mux_user){.handler = &user_handler, .arg = s};
    c->session = s;
    c->fds = SL_MUX_FDS_SESSION;
}

/* Its own descriptor, for stdin's goes to the relay. Where there is none left, the window's changes are not seen. */
static void look_at_terminal(struct sl_mux_session *s, int fd)
{
    if (!s->tty || !sl_tty_is(fd))
        return;
    (void)sl_tty_size(fd, &s->size);
    s->modes_len = sl_tty_modes(fd, s->modes);
    s->terminal = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (s->terminal >= 0)
        (void)sl_fd_jobs_own(sl_watch_jobs(s->client->mux->watch), s->terminal, s->client->who.uid);
}

/* A shell that reads the end of its input at once would take its forwards with it: nobody wants that, and an ssh whose
 * SessionType is in a file looks like this. */
static bool wants_no_shell(const struct sl_mux_session *s, const struct sl_mux_words *words)
{
    return words->no_shell || (s->client->forwards != NULL && !s->tty && s->stdin_is_null);
}

static void ask(struct sl_mux_session *s)
{
    move(s, SESSION_WAITING);
    int r = sl_mux_lease_join(s->client, &s->user);
    if (r != 0)
        fail_for(s, sl_status_text(r));
}

static void on_cmdline(void *arg, const struct sl_mux_words *words)
{
    struct sl_mux_session *s = arg;
    s->cmdline = NULL;
    s->no_shell = wants_no_shell(s, words);
    s->fork = words->fork;
    ask(s);
}

void sl_mux_on_session_fds(struct sl_mux_client *c, const int fd[SL_MUX_SESSION_FDS])
{
    struct sl_mux_session *s = c->session;
    const bool escapes = s->escape.character <= UINT8_MAX;
    assert(s->phase == SESSION_FDS);
    look_at_terminal(s, fd[0]);
    s->stderr_is_tty = sl_tty_is(fd[2]);
    s->stdin_is_null = sl_tty_is_null(fd[0]);
    move(s, SESSION_LOOKING);
    int r = sl_relay_new(c->mux->watch, fd, SL_RELAY_COMMAND, escapes ? &typed_handler : &plain_handler, s, &s->relay);
    if (r != 0) {
        for (size_t i = 0; i < SL_MUX_SESSION_FDS; i++)
            sl_fd_jobs_close(sl_watch_jobs(c->mux->watch), fd[i]);
        fail_for(s, sl_status_text(r));
        return;
    }
    if (s->subsystem || s->command[0] != '\0')
        ask(s);
    else if (sl_mux_cmdline_read(c, on_cmdline, s, &s->cmdline) != 0)
        on_cmdline(s, &(struct sl_mux_words){0});
}

/* --- its terminal ------------------------------------------------------------------------------------------------- */

void sl_mux_session_look(struct sl_mux_client *c)
{
    struct sl_mux_session *s = c->session;
    struct sl_tty_size size;
    if (s == NULL || s->terminal < 0 || s->phase != SESSION_RUNNING || !sl_tty_size(s->terminal, &size))
        return;
    if (size.cols == s->size.cols && size.rows == s->size.rows && size.width_px == s->size.width_px &&
        size.height_px == s->size.height_px)
        return;
    s->size = size;
    sl_relay_resize(s->relay, size.cols, size.rows, size.width_px, size.height_px);
}

bool sl_mux_session_unwatched(const struct sl_mux_client *c)
{
    return c->session != NULL && c->session->terminal >= 0 && !c->signals;
}

/* --- dropped ------------------------------------------------------------------------------------------------------ */

void sl_mux_session_terminate(struct sl_mux_client *c)
{
    struct sl_mux_session *s = c->session;
    if (s == NULL || !s->no_shell || s->phase != SESSION_RUNNING)
        return;
    move(s, SESSION_ENDING);
    sl_relay_finish(
        s->relay); /* on_relayed() follows; without EXIT_MESSAGE the client says 255, as of a master's end */
}

void sl_mux_session_drop(struct sl_mux_client *c, bool tell)
{
    struct sl_mux_session *s = c->session;
    if (s == NULL)
        return;
    if (tell && s->phase == SESSION_ENDING)
        say_exit(s);
    free_session(s);
}
