/* SPDX-License-Identifier: MIT */
/* A stream joined with descriptors, over the fake transport. */
#include "daemon/relay/relay.h"

#include "proto/status.h"
#include "tests/support/lease_world.h"
#include "tests/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A lease, a relay on it, and the other ends of its descriptors. */
struct owner {
    struct sl_world world;
    struct sl_watch *watch;
    struct sl_lease *lease;
    bool granted;
    struct sl_relay *relay;
    int in, out, err; /* ours; -1: closed */
    unsigned opens, ends, broken;
    int open_status, broken_status;
    int fd[3]; /* to attach at an early EOF; -1: nothing is */
    char early[16];
    size_t early_len;
    unsigned early_eofs, results;
    bool has_result;
    struct sl_stream_result result;
    enum { DO_NOTHING, FREE_IN_OPEN, FREE_IN_INPUT, FREE_IN_BROKEN } todo;
};

static void on_granted(void *arg, const struct sl_lease_grant *grant)
{
    (void)grant;
    ((struct owner *)arg)->granted = true;
}

static void on_over(void *arg, int status, const char *text)
{
    struct owner *o = arg;
    (void)status;
    (void)text;
    o->lease = NULL;
    sl_relay_free(o->relay);
    o->relay = NULL;
}

static void on_released(void *arg)
{
    on_over(arg, 0, "");
}

static const struct sl_lease_handler lease_handler = {
    .on_granted = on_granted, .on_refused = on_over, .on_released = on_released, .on_ended = on_over};

static void drop(struct owner *o)
{
    sl_lease_abandon(o->lease);
    o->lease = NULL;
    sl_relay_free(o->relay);
    o->relay = NULL;
}

static void on_open(void *arg, int status, const char *text)
{
    struct owner *o = arg;
    assert_non_null(text);
    o->opens++;
    o->open_status = status;
    if (o->todo == FREE_IN_OPEN)
        drop(o);
}

/* A filter: what is typed comes twice, and a q is swallowed. */
static void on_input(void *arg, const uint8_t *data, size_t len)
{
    struct owner *o = arg;
    if (o->todo == FREE_IN_INPUT) {
        drop(o);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (data[i] != 'q') {
            sl_relay_input(o->relay, data + i, 1);
            sl_relay_input(o->relay, data + i, 1);
        }
    }
}

static void on_broken(void *arg, int status, const char *text)
{
    struct owner *o = arg;
    assert_non_null(text);
    o->broken++;
    o->broken_status = status;
    if (o->todo == FREE_IN_BROKEN)
        drop(o);
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    struct owner *o = arg;
    o->relay = NULL;
    o->ends++;
    o->has_result = result != NULL;
    if (result != NULL)
        o->result = *result;
}

static const struct sl_relay_handler plain = {.on_open = on_open, .on_broken = on_broken, .on_end = on_end};
static const struct sl_relay_handler filtering = {
    .on_open = on_open, .on_input = on_input, .on_broken = on_broken, .on_end = on_end};

static void make_pipe(int *ret_read, int *ret_write)
{
    int fd[2];
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    *ret_read = fd[0];
    *ret_write = fd[1];
}

/* Pipes; the relay's ends are in `fd`. */
static void make_pipes(struct owner *o, int fd[3])
{
    make_pipe(&fd[0], &o->in);
    make_pipe(&o->out, &fd[1]);
    make_pipe(&o->err, &fd[2]);
    assert_int_equal(fcntl(o->in, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(o->out, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(o->err, F_SETFL, O_NONBLOCK), 0);
}

static struct owner *start(void)
{
    struct owner *o = calloc(1, sizeof *o);
    const struct sl_who who = {.pid = getpid(), .uid = 0};
    const struct sl_lease_wish wish = {.target = "a", .who = &who, .label = ""};
    assert_non_null(o);
    o->in = o->out = o->err = o->fd[0] = -1;
    sl_world_init(&o->world, "defaults: {" WORLD_LOGIN "}\ntargets: {a: {}}\n", false);
    assert_int_equal(sl_watch_new(&o->world.loop, &o->watch), 0);
    assert_int_equal(sl_lease_acquire(o->world.driver, &wish, &lease_handler, o, &o->lease), 0);
    WORLD_UNTIL(&o->world, o->granted);
    return o;
}

/* As a front end does for a command. */
static int join(struct owner *o, const char *command, const int fd[3], const struct sl_relay_handler *handler)
{
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = command, .credit = SL_RELAY_CREDIT};
    struct sl_stream *stream;
    assert_int_equal(sl_relay_new(o->watch, fd, SL_RELAY_COMMAND, handler, o, &o->relay), 0);
    int r = sl_lease_stream_open(o->lease, &spec, &sl_relay_stream_handler, o->relay, &stream);
    if (r == 0) {
        sl_relay_take_stream(o->relay, stream);
    } else {
        sl_relay_disown(o->relay);
        o->relay = NULL;
    }
    return r;
}

static void open_relay(struct owner *o, const char *command, const struct sl_relay_handler *handler)
{
    int fd[3];
    make_pipes(o, fd);
    assert_int_equal(join(o, command, fd, handler), 0);
}

static void shut(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void stop(struct owner *o)
{
    if (o->lease != NULL)
        drop(o);
    sl_relay_free(o->relay);
    sl_watch_free(o->watch);
    shut(&o->in);
    shut(&o->out);
    shut(&o->err);
    sl_world_fini(&o->world);
    free(o);
}

/* What there is, without waiting; -1: nothing is, 0: its end. */
static ssize_t hear(int fd, void *data, size_t size)
{
    ssize_t n = read(fd, data, size);
    assert_true(n >= 0 || errno == EAGAIN);
    return n;
}

/* A thread closes what is not told of; the other end sees it by and by. */
static void await_end(int fd)
{
    char some[4096];
    ssize_t n;
    while ((n = hear(fd, some, sizeof some)) != 0)
        if (n < 0)
            (void)usleep(100);
}

TEST(input_goes_in_and_output_comes_out)
{
    static uint8_t content[700000], got[sizeof content];
    struct owner *o = start();
    size_t in = 0, out = 0;
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 24);
    open_relay(o, "cat", &plain);
    while (out < sizeof content) {
        ssize_t n = in < sizeof content ? write(o->in, content + in, sizeof content - in) : 0;
        in += n > 0 ? (size_t)n : 0;
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
        n = hear(o->out, got + out, 10007 < sizeof got - out ? 10007 : sizeof got - out);
        assert_true(n != 0);
        out += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(got, content, sizeof content);
    assert_int_equal(o->opens, 1);
    assert_int_equal(o->ends, 0);
    shut(&o->in);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_int_equal(o->result.how, SL_RESULT_STATUS);
    assert_int_equal(hear(o->out, got, 1), 0); /* closed before the end is told */
    assert_int_equal(hear(o->err, got, 1), 0);
    stop(o);
}

TEST(a_slow_reader_holds_up_the_stream_and_the_end)
{
    static uint8_t got[65536];
    struct owner *o = start();
    size_t sum = 0;
    open_relay(o, "flood 2000000", &plain);
    sl_world_settle(&o->world);
    assert_int_equal(o->ends, 0);
    while (o->ends == 0) {
        ssize_t n = hear(o->out, got, sizeof got);
        sum += n > 0 ? (size_t)n : 0;
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
        assert_true(o->ends == 0 || sum > 2000000 - 2 * sizeof got); /* not before it is written */
    }
    for (ssize_t n; (n = hear(o->out, got, sizeof got)) > 0;)
        sum += (size_t)n;
    assert_int_equal(sum, 2000000);
    assert_int_equal(o->result.exit_status, 0);
    stop(o);
}

TEST(no_more_is_read_than_the_stream_takes)
{
    static const char block[65536];
    struct owner *o = start();
    size_t in = 0;
    open_relay(o, "sink", &plain);
    for (int turn = 0; turn < 200; turn++) {
        ssize_t n = write(o->in, block, sizeof block);
        in += n > 0 ? (size_t)n : 0;
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
    }
    assert_in_range(sl_fake_counts(o->world.transport).written, 1, SL_STREAM_WINDOW);
    assert_true(in <= SL_STREAM_WINDOW + sizeof block);
    stop(o);
}

TEST(nothing_is_read_before_the_server_has_answered)
{
    struct owner *o = start();
    int held = 0;
    open_relay(o, "slow", &plain);
    assert_int_equal(write(o->in, "abc", 3), 3);
    for (int turn = 0; turn < 5; turn++)
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
    assert_int_equal(o->opens, 0);
    assert_int_equal(ioctl(o->in, FIONREAD, &held), 0);
    assert_int_equal(held, 3);
    WORLD_UNTIL(&o->world, o->opens == 1);
    WORLD_UNTIL(&o->world, sl_fake_counts(o->world.transport).written == 3);
    stop(o);
}

TEST(a_command_outlives_the_reader_of_its_output)
{
    struct owner *o = start();
    open_relay(o, "flood 60000000", &plain);
    shut(&o->out);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_int_equal(o->broken, 0);
    assert_int_equal(o->result.how, SL_RESULT_STATUS);
    stop(o);
}

TEST(output_nobody_reads_ends_the_stream)
{
    for (int freeing = 0; freeing < 2; freeing++) {
        struct owner *o = start();

        o->todo = freeing != 0 ? FREE_IN_BROKEN : DO_NOTHING;
        open_relay(o, "flood 200000000", &plain);
        shut(&o->out);
        WORLD_UNTIL(&o->world, o->broken == 1);
        assert_int_equal(o->broken_status, SL_E_CLIENT_GONE);
        if (freeing == 0) {
            WORLD_UNTIL(&o->world, o->ends == 1);
            assert_int_equal(o->broken, 1);
            assert_int_equal(o->result.how, SL_RESULT_SIGNAL); /* closed, not run to its end for nobody */
            assert_int_equal(sl_fake_counts(o->world.transport).streams_open, 0);
        }
        stop(o);
    }
}

TEST(what_is_no_command_ends_with_its_reader)
{
    struct owner *o = start();
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = "flood 2000000", .credit = SL_RELAY_CREDIT};
    struct sl_stream *stream;
    int fd[3];
    make_pipes(o, fd);
    assert_int_equal(sl_relay_new(o->watch, fd, 0, &plain, o, &o->relay), 0);
    assert_int_equal(sl_lease_stream_open(o->lease, &spec, &sl_relay_stream_handler, o->relay, &stream), 0);
    sl_relay_take_stream(o->relay, stream);
    shut(&o->out);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_int_equal(o->broken, 1);
    assert_int_equal(o->result.how, SL_RESULT_SIGNAL);
    stop(o);
}

static void on_early(void *arg, const uint8_t *data, size_t len)
{
    struct owner *o = arg;
    assert_true(len <= sizeof o->early - o->early_len);
    if (len > 0)
        memcpy(o->early + o->early_len, data, len);
    o->early_len += len;
    o->early_eofs += len == 0;
    if (len == 0 && o->fd[0] >= 0) /* it may end right behind this */
        assert_int_equal(sl_relay_attach(o->relay, o->fd, o->early, o->early_len), 0);
}

static void count_result(void *arg, const struct sl_stream_result *result)
{
    (void)result;
    ((struct owner *)arg)->results++;
}

/* A relay without descriptors, with a stream that may say `credit` bytes. */
static struct owner *start_apart(size_t credit)
{
    static struct sl_relay_handler handler;
    struct owner *o = start();
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = "cat", .credit = credit};
    struct sl_stream *stream;
    handler = plain;
    handler.on_early = on_early;
    handler.on_result = count_result;
    assert_int_equal(sl_relay_new_apart(o->watch, credit, 0, &handler, o, &o->relay), 0);
    assert_int_equal(sl_lease_stream_open(o->lease, &spec, &sl_relay_stream_handler, o->relay, &stream), 0);
    sl_relay_take_stream(o->relay, stream);
    WORLD_UNTIL(&o->world, o->opens == 1);
    return o;
}

TEST(descriptors_may_come_later)
{
    struct owner *o = start_apart(4);
    char got[64];
    size_t len = 0;
    int fd[3];
    sl_relay_input(o->relay, "abcdefgh", 8);
    WORLD_UNTIL(&o->world, o->early_len == 4); /* its credit, and no more */
    sl_relay_input_eof(o->relay);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
    assert_int_equal(o->early_len, 4);
    make_pipes(o, fd);
    assert_int_equal(sl_relay_attach(o->relay, fd, o->early, o->early_len), 0);
    WORLD_UNTIL(&o->world, o->ends == 1);
    for (ssize_t n; (n = hear(o->out, got + len, sizeof got - len)) > 0;)
        len += (size_t)n;
    assert_int_equal(len, 8);
    assert_memory_equal(got, "abcdefgh", 8);
    assert_int_equal(o->early_eofs, 0);
    stop(o);
}

TEST(descriptors_bring_credit)
{
    struct owner *o = start_apart(0);
    char got[16];
    int fd[3];
    sl_relay_input(o->relay, "abcdefgh", 8);
    make_pipes(o, fd);
    assert_int_equal(sl_relay_attach(o->relay, fd, NULL, 0), 0);
    WORLD_UNTIL(&o->world, hear(o->out, got, sizeof got) == 8);
    assert_int_equal(o->early_len, 0);
    stop(o);
}

TEST(an_end_before_the_descriptors_is_theirs)
{
    for (int attached = 0; attached < 2; attached++) {
        struct owner *o = start_apart(16);
        char got[16];
        sl_relay_input(o->relay, "ab", 2);
        WORLD_UNTIL(&o->world, o->early_len == 2);
        if (attached != 0)
            make_pipes(o, o->fd);
        sl_relay_input_eof(o->relay);
        WORLD_UNTIL(&o->world, o->ends == 1);
        assert_int_equal(o->early_eofs, 1);
        assert_int_equal(o->results, 1);
        if (attached != 0)
            assert_int_equal(hear(o->out, got, sizeof got), 2);
        stop(o);
    }
}

TEST(what_was_said_is_sent_before_it_is_closed)
{
    struct owner *o = start_apart(16);
    sl_relay_input(o->relay, "refused", 7);
    sl_relay_close_sent(o->relay);
    assert_int_equal(o->results, 0);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_int_equal(o->early_len, 7);
    assert_int_equal(o->result.how, SL_RESULT_SIGNAL); /* closed: cat had not ended */
    stop(o);

    o = start_apart(16);
    sl_relay_close_sent(o->relay); /* nothing to wait for */
    WORLD_UNTIL(&o->world, o->ends == 1);
    stop(o);
}

TEST(without_descriptors_there_is_no_input_and_output_is_dropped)
{
    const int none[3] = {-1, -1, -1};
    struct owner *o = start();
    assert_int_equal(join(o, "flood 1000000", none, &plain), 0);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_int_equal(join(o, "cat", none, &plain), 0); /* ends when its input does */
    WORLD_UNTIL(&o->world, o->ends == 2);
    stop(o);
}

TEST(a_refusal_is_told_and_the_descriptors_are_closed)
{
    struct owner *o = start();
    char byte;
    open_relay(o, "refuse", &plain);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_int_equal(o->open_status, SL_E_STREAM_REFUSED);
    assert_int_equal(hear(o->out, &byte, 1), 0);
    while (write(o->in, "x", 1) == 1)
        (void)usleep(100);
    stop(o);
}

TEST(what_cannot_be_opened_leaves_the_descriptors_with_the_caller)
{
    struct owner *o = start();
    int fd[3];
    make_pipes(o, fd);
    sl_lease_release(o->lease); /* it is granted no more */
    assert_int_equal(join(o, "cat", fd, &plain), SL_E_NO_LEASE);
    for (int i = 0; i < 3; i++) {
        assert_true(fcntl(fd[i], F_GETFD) >= 0);
        (void)close(fd[i]);
    }
    WORLD_UNTIL(&o->world, o->lease == NULL);
    stop(o);
}

TEST(a_filter_sees_the_input)
{
    struct owner *o = start();
    char got[16];
    size_t len = 0;
    open_relay(o, "cat", &filtering);
    assert_int_equal(write(o->in, "aqbq", 4), 4);
    while (len < 4) {
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
        ssize_t n = hear(o->out, got + len, sizeof got - len);
        len += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(got, "aabb", 4);
    stop(o);
}

TEST(it_can_be_freed_from_its_callbacks)
{
    for (int i = 0; i < 2; i++) {
        struct owner *o = start();

        o->todo = i == 0 ? FREE_IN_OPEN : FREE_IN_INPUT;
        open_relay(o, "cat", &filtering);
        assert_int_equal(write(o->in, "abc", 3), 3);
        WORLD_UNTIL(&o->world, o->lease == NULL);
        await_end(o->out);
        stop(o);
    }
}

TEST(the_lease_may_end_at_any_moment)
{
    for (int turns = 0; turns < 6; turns++) {
        struct owner *o = start();

        open_relay(o, "flood 1000000", &plain);
        for (int i = 0; i < turns; i++)
            (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
        sl_fake_lose_all(o->world.transport, "gone");
        WORLD_UNTIL(&o->world, o->lease == NULL);
        assert_true(o->ends == 0 || o->result.how == SL_RESULT_UNKNOWN); /* all was written before the lease was over */
        await_end(o->out);                                               /* closed */
        stop(o);
    }
}

TEST(what_is_said_arrives_without_a_stream_too)
{
    struct owner *o = start();
    int fd[3];
    char got[64];
    make_pipes(o, fd);
    assert_int_equal(sl_relay_new(o->watch, fd, SL_RELAY_COMMAND, &plain, o, &o->relay), 0);
    sl_relay_say(o->relay, "one\n");
    assert_int_equal(hear(o->err, got, sizeof got), 4);
    sl_relay_finish(o->relay);
    assert_int_equal(o->ends, 0);
    WORLD_UNTIL(&o->world, o->ends == 1);
    assert_false(o->has_result);
    stop(o);
}

TEST(what_is_said_is_nobodys_credit)
{
    static char text[70000], got[65536];
    struct owner *o = start();
    size_t sum = 0;
    memset(text, 'x', sizeof text - 1);
    open_relay(o, "flood 1000000", &plain);
    sl_relay_say(o->relay, text); /* fills the pipe, and some waits */
    while (o->ends == 0) {
        ssize_t n = hear(o->err, got, 1000);
        sum += n > 0 ? (size_t)n : 0;
        (void)hear(o->out, got, sizeof got);
        (void)uv_run(&o->world.loop, UV_RUN_NOWAIT);
    }
    for (ssize_t n; (n = hear(o->err, got, sizeof got)) > 0;)
        sum += (size_t)n;
    assert_int_equal(sum, sizeof text - 1);
    stop(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_goes_in_and_output_comes_out),
        cmocka_unit_test(a_slow_reader_holds_up_the_stream_and_the_end),
        cmocka_unit_test(no_more_is_read_than_the_stream_takes),
        cmocka_unit_test(nothing_is_read_before_the_server_has_answered),
        cmocka_unit_test(a_command_outlives_the_reader_of_its_output),
        cmocka_unit_test(output_nobody_reads_ends_the_stream),
        cmocka_unit_test(what_is_no_command_ends_with_its_reader),
        cmocka_unit_test(descriptors_may_come_later),
        cmocka_unit_test(descriptors_bring_credit),
        cmocka_unit_test(an_end_before_the_descriptors_is_theirs),
        cmocka_unit_test(what_was_said_is_sent_before_it_is_closed),
        cmocka_unit_test(without_descriptors_there_is_no_input_and_output_is_dropped),
        cmocka_unit_test(a_refusal_is_told_and_the_descriptors_are_closed),
        cmocka_unit_test(what_cannot_be_opened_leaves_the_descriptors_with_the_caller),
        cmocka_unit_test(a_filter_sees_the_input),
        cmocka_unit_test(it_can_be_freed_from_its_callbacks),
        cmocka_unit_test(the_lease_may_end_at_any_moment),
        cmocka_unit_test(what_is_said_arrives_without_a_stream_too),
        cmocka_unit_test(what_is_said_is_nobodys_credit),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests_name("front.relay", tests, NULL, NULL);
}
