/* SPDX-License-Identifier: MIT */
/* Streams.
 *  1. sl_stream_begin() checks the command and queues STREAM_OPEN. EOF may follow at once, data once STREAM_OPENED has
 *     brought credit.
 *  2. DATA goes into the stream's inbox, which cannot overflow: the daemon spends the credit that reading gives back.
 *  3. STREAM_END (or ERROR to the open, or the end of the lease) makes it ENDED. What waits in the inbox can still be
 *     read.
 * A stream that its caller frees before that is closed and stays in the list as DISCARDED until the daemon says its
 * end, so that late messages find it. What they bring is dropped and counts as read. */
#include "client/stream.h"

#include "base/text.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_HEADER 4u
#define RUN_STDERR 0x80000000u

/* --- inbox --- */

static uint32_t load(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void store(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static uint8_t *end_of(const struct sl_buf *bytes)
{
    return bytes->mem + bytes->at + bytes->len;
}

/* False: out of memory. `len` is below 2^31 and not 0. */
static bool inbox_put(struct sl_inbox *inbox, bool is_stderr, const void *data, size_t len)
{
    uint32_t flag = is_stderr ? RUN_STDERR : 0;
    bool grows = inbox->bytes.len > 0 && (load(end_of(&inbox->bytes) - inbox->last) & RUN_STDERR) == flag;
    uint8_t *to = sl_buf_reserve(&inbox->bytes, grows ? len : RUN_HEADER + len);
    if (to == NULL)
        return false;
    if (!grows) {
        store(to, flag);
        sl_buf_commit(&inbox->bytes, RUN_HEADER);
        inbox->last = RUN_HEADER;
        to += RUN_HEADER;
    }
    memcpy(to, data, len);
    sl_buf_commit(&inbox->bytes, len);
    inbox->last += len;
    store(to + len - inbox->last, flag | (uint32_t)(inbox->last - RUN_HEADER));
    return true;
}

struct sl_bytes sl_stream_peek(const struct sshlease_stream *stream, int *ret_fd)
{
    const uint8_t *data = sl_buf_data(&stream->inbox.bytes);
    if (data == NULL)
        return (struct sl_bytes){0};
    uint32_t run = load(data);
    *ret_fd = run & RUN_STDERR ? 2 : 1;
    return (struct sl_bytes){.data = data + RUN_HEADER, .len = run & ~RUN_STDERR};
}

static void inbox_take(struct sl_inbox *inbox, size_t count)
{
    uint32_t run = load(sl_buf_data(&inbox->bytes));
    size_t len = run & ~RUN_STDERR;
    if (count == len) {
        sl_buf_drop(&inbox->bytes, RUN_HEADER + len);
        return;
    }
    /* What is left becomes a shorter run with its header over the last bytes taken. */
    if (inbox->bytes.len == inbox->last)
        inbox->last -= count;
    sl_buf_drop(&inbox->bytes, count);
    store(inbox->bytes.mem + inbox->bytes.at, (run & RUN_STDERR) | (uint32_t)(len - count));
}

/* --- credit --- */

static void give_credit(struct sshlease_stream *stream)
{
    struct sl_msg window = {.type = SL_MSG_WINDOW, .window = {.stream = stream->id, .bytes = stream->credit_pending}};
    if (stream->credit_pending < SL_STREAM_WINDOW / 2 || stream->state == SL_LIB_STREAM_ENDED)
        return;
    /* Not to be lost: while the daemon takes nothing, it stays pending. */
    if (sl_link_out_room(stream->lease) > 0 && sl_link_queue(stream->lease, &window) == 0) {
        stream->credit_in += stream->credit_pending;
        stream->credit_pending = 0;
    }
}

void sl_streams_give_credit(struct sshlease *lease)
{
    struct sshlease_stream *stream;
    TAILQ_FOREACH(stream, &lease->streams, entry)
    give_credit(stream);
}

void sl_stream_consume(struct sshlease_stream *stream, size_t count)
{
    inbox_take(&stream->inbox, count);
    stream->credit_pending += (uint32_t)count;
    give_credit(stream);
}

/* --- ends --- */

void sl_stream_destroy(struct sshlease_stream *stream)
{
    TAILQ_REMOVE(&stream->lease->streams, stream, entry);
    sl_buf_fini(&stream->inbox.bytes);
    free(stream->lost_text);
    free(stream);
}

void sl_stream_discard(struct sshlease_stream *stream)
{
    struct sl_bytes run;
    int fd;
    while ((run = sl_stream_peek(stream, &fd)).len > 0) {
        inbox_take(&stream->inbox, run.len);
        stream->credit_pending += (uint32_t)run.len;
    }
    stream->state = SL_LIB_STREAM_DISCARDED;
}

static void end_stream(struct sshlease_stream *stream, int status, bool unsent, const char *text)
{
    stream->open_rid = 0;
    if (stream->state == SL_LIB_STREAM_DISCARDED) {
        sl_stream_destroy(stream);
        return;
    }
    stream->state = SL_LIB_STREAM_ENDED;
    stream->status = status;
    stream->unsent = unsent;
    if (status != 0) {
        stream->result = (struct sshlease_result){.how = SSHLEASE_UNKNOWN, .exit_status = -1};
        snprintf(stream->result.text, sizeof stream->result.text, "%s", text);
    }
}

void sl_streams_on_lease_end(struct sshlease *lease, int status, const char *text)
{
    struct sshlease_stream *stream, *next;
    for (stream = TAILQ_FIRST(&lease->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, entry);
        /* One whose end is unknown ended because of this: the daemon says that a moment before it says why. */
        if (stream->state != SL_LIB_STREAM_ENDED || (stream->status == 0 && stream->result.how == SSHLEASE_UNKNOWN))
            end_stream(stream, status, false, text);
    }
}

void sl_streams_disown(struct sshlease *lease)
{
    struct sshlease_stream *stream, *next;
    for (stream = TAILQ_FIRST(&lease->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, entry);
        if (stream->state == SL_LIB_STREAM_ENDED)
            sl_stream_destroy(stream);
        else
            sl_stream_discard(stream);
    }
}

void sl_streams_fini(struct sshlease *lease)
{
    struct sshlease_stream *stream, *next;
    for (stream = TAILQ_FIRST(&lease->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, entry);
        sl_stream_destroy(stream);
    }
}

/* --- what the daemon says --- */

static struct sshlease_stream *find(struct sshlease *lease, uint32_t id)
{
    struct sshlease_stream *stream;
    TAILQ_FOREACH(stream, &lease->streams, entry)
    if (stream->id == id && stream->state != SL_LIB_STREAM_ENDED)
        return stream;
    return NULL;
}

static int on_data(struct sshlease_stream *stream, const struct sl_msg_data *data)
{
    if (data->data.len > stream->credit_in)
        return SL_E_PROTOCOL;
    if (data->data.len == 0)
        return 0;
    stream->credit_in -= (uint32_t)data->data.len;
    if (stream->state == SL_LIB_STREAM_DISCARDED) {
        stream->credit_pending += (uint32_t)data->data.len;
        return 0;
    }
    return inbox_put(&stream->inbox, data->fd == SL_DATA_STDERR, data->data.data, data->data.len) ? 0 : SL_E_NOMEM;
}

static int add_credit(struct sshlease_stream *stream, uint32_t bytes)
{
    if (bytes > SL_MSG_WINDOW_MAX - stream->credit_out)
        return SL_E_PROTOCOL;
    stream->credit_out += bytes;
    return 0;
}

static void set_result(struct sshlease_result *result, const struct sl_msg_stream_end *end)
{
    *result = (struct sshlease_result){.exit_status = -1};
    switch (end->how) {
    case SL_END_STATUS:
        result->how = SSHLEASE_EXITED;
        result->exit_status = (int)(end->exit_status > INT32_MAX ? INT32_MAX : end->exit_status);
        break;
    case SL_END_SIGNAL:
        result->how = SSHLEASE_SIGNALLED;
        result->core_dumped = end->core_dumped;
        sl_text_clean(result->signal, sizeof result->signal, end->signal.data, end->signal.len);
        break;
    default:
        result->how = SSHLEASE_UNKNOWN;
    }
    sl_text_clean(result->text, sizeof result->text, end->text.data, end->text.len);
}

static int on_exited(struct sshlease_stream *stream, const struct sl_msg_exited *exited)
{
    const struct sl_msg_stream_end end = {.how = exited->how,
        .exit_status = exited->exit_status,
        .signal = exited->signal,
        .core_dumped = exited->core_dumped};
    set_result(&stream->result, &end);
    stream->exited = true;
    return 0;
}

static int on_end(struct sshlease_stream *stream, const struct sl_msg_stream_end *end)
{
    set_result(&stream->result, end);
    end_stream(stream, 0, false, NULL);
    return 0;
}

static int on_output_lost(struct sshlease_stream *stream, const struct sl_msg_output_lost *lost)
{
    if (!stream->passed)
        return SL_E_PROTOCOL;
    stream->lost = sl_status_of(lost->code);
    free(stream->lost_text);
    stream->lost_text = sl_text_dup(lost->text, stream->lost);
    return stream->lost_text != NULL ? 0 : SL_E_NOMEM;
}

int sl_streams_on_message(struct sshlease *lease, const struct sl_msg *msg)
{
    uint32_t id;
    switch ((int)msg->type) {
    case SL_MSG_DATA:
        id = msg->data.stream;
        break;
    case SL_MSG_WINDOW:
        id = msg->window.stream;
        break;
    case SL_MSG_STREAM_OPENED:
        id = msg->stream_opened.stream;
        break;
    case SL_MSG_OUTPUT_LOST:
        id = msg->output_lost.stream;
        break;
    case SL_MSG_EXITED:
        id = msg->exited.stream;
        break;
    case SL_MSG_STREAM_END:
        id = msg->stream_end.stream;
        break;
    default:
        id = msg->stream.stream;
    }
    struct sshlease_stream *stream = find(lease, id);
    if (stream == NULL)
        return id < lease->next_stream ? 0 : SL_E_PROTOCOL; /* about one that was over for us first */

    switch ((int)msg->type) {
    case SL_MSG_DATA:
        return on_data(stream, &msg->data);
    case SL_MSG_WINDOW:
        return add_credit(stream, msg->window.bytes);
    case SL_MSG_STREAM_OPENED:
        if (msg->stream_opened.rid != stream->open_rid)
            return SL_E_PROTOCOL;
        stream->open_rid = 0;
        if (stream->state == SL_LIB_STREAM_OPENING)
            stream->state = SL_LIB_STREAM_OPEN;
        return add_credit(stream, msg->stream_opened.window);
    case SL_MSG_OUTPUT_LOST:
        return on_output_lost(stream, &msg->output_lost);
    case SL_MSG_EXITED:
        return on_exited(stream, &msg->exited);
    case SL_MSG_STREAM_END:
        return on_end(stream, &msg->stream_end);
    default: /* EOF: both outputs have ended; how the command ended follows */
        return 0;
    }
}

bool sl_streams_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error)
{
    struct sshlease_stream *stream;
    TAILQ_FOREACH(stream, &lease->streams, entry)
    if (stream->open_rid == rid)
        break;
    if (stream == NULL || error == NULL)
        return false;
    char *text = sl_text_dup(error->text, status);
    end_stream(stream, status, error->unsent, text != NULL ? text : sl_status_text(status));
    free(text);
    return true;
}

/* --- opening --- */

static int check_length(struct sshlease *lease, const char *what, size_t len, size_t max)
{
    if (len > max)
        return sl_refuse(lease, SL_E_INVALID, "%s has %zu bytes; it may have %zu", what, len, max);
    return 0;
}

static int check_command(struct sshlease *lease, const struct sshlease_command *command)
{
    const char *text = command->command;
    const struct sshlease_pty *pty = command->pty;
    int status = 0;
    switch ((int)command->kind) {
    case SSHLEASE_EXEC:
        if (text == NULL || text[0] == '\0')
            return sl_refuse(lease, SL_E_INVALID, "the command is empty");
        status = check_length(
            lease, "the command", strlen(text), lease->link.version >= 3 ? SL_MSG_COMMAND_MAX : SL_MSG_COMMAND_MAX_V2);
        break;
    case SSHLEASE_SUBSYSTEM:
        if (text == NULL || text[0] == '\0')
            return sl_refuse(lease, SL_E_INVALID, "the subsystem has no name");
        status = check_length(lease, "the subsystem's name", strlen(text), SL_MSG_NAME_MAX);
        break;
    case SSHLEASE_SHELL:
        if (text != NULL)
            return sl_refuse(lease, SL_E_INVALID, "a shell takes no command");
        break;
    default:
        return sl_refuse(lease, SL_E_INVALID, "unknown kind of command %d", (int)command->kind);
    }
    if (status == 0 && pty != NULL && pty->term != NULL)
        status = check_length(lease, "the terminal's name", strlen(pty->term), SL_MSG_NAME_MAX);
    if (status == 0 && pty != NULL)
        status = check_length(lease, "the list of terminal modes", pty->modes_len, SL_MSG_MODES_MAX);
    if (status == 0 && command->env_count > SL_MSG_ENV_MAX)
        return sl_refuse(
            lease, SL_E_INVALID, "%zu environment variables are more than %u", command->env_count, SL_MSG_ENV_MAX);
    for (size_t i = 0; status == 0 && i < command->env_count; i++) {
        const struct sshlease_env *env = &command->env[i];
        if (env->name == NULL || env->value == NULL || env->name[0] == '\0')
            return sl_refuse(lease, SL_E_INVALID, "an environment variable has no name or no value");
        status = check_length(lease, "an environment variable's name", strlen(env->name), SL_MSG_NAME_MAX);
        if (status == 0)
            status = check_length(lease, env->name, strlen(env->value), SL_MSG_ENV_VALUE_MAX);
    }
    return status;
}

/* The list as the message wants it, in *ret_list (malloc'd; NULL for none). */
static int encode_env(
    struct sshlease *lease, const struct sshlease_command *command, uint8_t **ret_list, size_t *ret_len)
{
    struct sl_writer w;
    size_t size = 0;
    *ret_list = NULL;
    *ret_len = 0;
    for (size_t i = 0; i < command->env_count; i++)
        size += 8 + strlen(command->env[i].name) + strlen(command->env[i].value);
    if (size == 0)
        return 0;
    *ret_list = malloc(size);
    if (*ret_list == NULL)
        return sl_refuse(lease, SL_E_NOMEM, "out of memory");
    sl_writer_init(&w, *ret_list, size);
    for (size_t i = 0; i < command->env_count; i++) {
        sl_put_text(&w, command->env[i].name);
        sl_put_text(&w, command->env[i].value);
    }
    *ret_len = w.at;
    return 0;
}

static int queue_open(
    struct sshlease *lease, struct sshlease_stream *stream, const struct sshlease_command *command, const int *fd)
{
    const struct sshlease_pty *pty = command->pty;
    struct sl_msg open = {.type = fd != NULL ? SL_MSG_STREAM_OPEN_FDS : SL_MSG_STREAM_OPEN,
        .stream_open = {.rid = stream->open_rid,
            .stream = stream->id,
            .kind = (uint32_t)command->kind,
            .command = sl_bytes_of(command->command != NULL ? command->command : ""),
            .window = SL_STREAM_WINDOW,
            .pty = pty != NULL,
            .env_count = (uint32_t)command->env_count}};
    uint8_t *env;
    size_t env_len;
    int status;
    for (uint32_t i = 0; fd != NULL && i < SL_PASSED_MAX; i++)
        open.stream_open.fds |= fd[i] >= 0 ? 1u << i : 0;
    if (pty != NULL)
        open.stream_open.pty_req = (struct sl_msg_pty){.term = sl_bytes_of(pty->term != NULL ? pty->term : "vt100"),
            .cols = pty->cols,
            .rows = pty->rows,
            .width_px = pty->width_px,
            .height_px = pty->height_px,
            .modes = {.data = pty->modes, .len = pty->modes != NULL ? pty->modes_len : 0}};
    if ((status = encode_env(lease, command, &env, &env_len)) != 0)
        return status;
    sl_reader_init(&open.stream_open.env, env, env_len);
    if (sl_msg_size(&open) > SL_FRAME_MAX)
        status = sl_refuse(lease, SL_E_INVALID, "the command and its environment are too long together");
    else
        status = sl_link_queue(lease, &open);
    free(env);
    return status;
}

int sl_stream_begin(
    struct sshlease *lease, const struct sshlease_command *command, const int *fd, struct sshlease_stream **ret_stream)
{
    int status = check_command(lease, command);
    if (status != 0)
        return status;
    struct sshlease_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return sl_refuse(lease, SL_E_NOMEM, "out of memory");
    stream->lease = lease;
    sl_buf_init(&stream->inbox.bytes, SIZE_MAX);
    stream->id = lease->next_stream;
    stream->open_rid = sl_link_next_rid(lease);
    stream->passed = fd != NULL;
    stream->credit_in = fd != NULL ? 0 : SL_STREAM_WINDOW;
    stream->result = (struct sshlease_result){.how = SSHLEASE_UNKNOWN, .exit_status = -1};
    if ((status = queue_open(lease, stream, command, fd)) != 0) {
        free(stream);
        return status;
    }
    lease->next_stream++;
    TAILQ_INSERT_TAIL(&lease->streams, stream, entry);
    *ret_stream = stream;
    return 0;
}

/* --- what both kinds of calls share --- */

long sl_stream_queue_data(struct sshlease_stream *stream, const void *data, size_t len)
{
    const uint8_t *from = data;
    size_t done = 0;
    while (done < len) {
        size_t part = len - done, room = sl_link_out_room(stream->lease);
        if (part > SL_MSG_DATA_MAX)
            part = SL_MSG_DATA_MAX;
        if (part > stream->credit_out)
            part = stream->credit_out;
        if (part > room)
            part = room;
        if (part == 0)
            break;
        struct sl_msg msg = {.type = SL_MSG_DATA,
            .data = {.stream = stream->id, .fd = SL_DATA_STDOUT, .data = {.data = from + done, .len = part}}};
        int status = sl_link_queue(stream->lease, &msg);
        if (status != 0)
            return done > 0 ? (long)done : status;
        stream->credit_out -= (uint32_t)part;
        done += part;
    }
    return (long)done;
}

bool sl_stream_can_send(const struct sshlease_stream *stream)
{
    return stream->state != SL_LIB_STREAM_ENDED && stream->credit_out > 0 && sl_link_out_room(stream->lease) > 0;
}

int sl_stream_queue_eof(struct sshlease_stream *stream)
{
    struct sl_msg eof = {.type = SL_MSG_EOF, .stream = {.stream = stream->id}};
    int status = 0;
    if (!stream->eof_sent && stream->state != SL_LIB_STREAM_ENDED)
        status = sl_link_queue(stream->lease, &eof);
    if (status == 0)
        stream->eof_sent = true;
    return status;
}
