/* SPDX-License-Identifier: MIT */
/* A client's socket: frames in pieces, slow readers, deadlines, and ends. */
#include "daemon/net/socket.h"

#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/net/socket_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TEST(frames_come_one_by_one_however_they_were_cut)
{
    struct world *w = start();
    uint8_t bytes[512];
    size_t len = make_frame(bytes, sizeof bytes, 7, 3);
    len += make_frame(bytes + len, sizeof bytes - len, 8, 0);
    len += make_frame(bytes + len, sizeof bytes - len, 9, 100);
    say(w, bytes, len);
    RUN_UNTIL(w, w->frames == 3);
    assert_int_equal(w->last_type, 9);
    for (size_t i = 0; i < len; i++) {
        say(w, bytes + i, 1);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    RUN_UNTIL(w, w->frames == 6);
    assert_int_equal(w->last_len, 100);
    stop(w);
}

/* Or who sends without end would keep the loop from all others. */
TEST(a_turn_of_the_loop_reads_once)
{
    struct world *w = start();
    uint8_t bytes[1024];
    size_t len = make_frame(bytes, sizeof bytes, 7, 1000);
    for (int i = 0; i < 30; i++)
        say(w, bytes, len);
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_in_range(w->frames, 1, 29);
    RUN_UNTIL(w, w->frames == 30);
    stop(w);
}

TEST(the_largest_frame_fits)
{
    struct world *w = start();
    uint8_t *bytes = malloc(SL_FRAME_MAX + 4);
    size_t len = make_frame(bytes, SL_FRAME_MAX + 4, 5, SL_FRAME_MAX - 4), at = 0;
    while (w->frames == 0) {
        ssize_t n = at < len ? send(w->peer, bytes + at, len - at, MSG_NOSIGNAL) : 0;
        at += n > 0 ? (size_t)n : 0;
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(w->last_len, SL_FRAME_MAX - 4);
    /* And one after it: the buffer was given back. */
    len = make_frame(bytes, 64, 6, 1);
    say(w, bytes, len);
    RUN_UNTIL(w, w->frames == 2);
    free(bytes);
    stop(w);
}

TEST(a_length_out_of_bounds_ends_the_socket_at_its_fourth_byte)
{
    static const uint8_t too_long[] = {0, 4, 0, 1}, too_short[] = {0, 0, 0, 3}, garbage[] = {'S', 'S', 'H', '-'};
    static const uint8_t *const bad[] = {too_long, too_short, garbage};
    for (size_t i = 0; i < 3; i++) {
        struct world *w = start();
        say(w, bad[i], 3);
        for (int turn = 0; turn < 5; turn++)
            (void)uv_run(&w->loop, UV_RUN_NOWAIT);
        assert_int_equal(w->ends, 0);
        say(w, bad[i] + 3, 1);
        RUN_UNTIL(w, w->ends == 1);
        assert_int_equal(w->end_status, SL_E_PROTOCOL);
        /* The peer can still be told why. */
        assert_int_equal(sl_socket_send(w->socket, "why", 3, NULL, 0), 0);
        sl_socket_finish(w->socket);
        RUN_UNTIL(w, w->closes == 1);
        assert_int_equal(hear(w), 3);
        stop(w);
    }
}

TEST(half_a_frame_and_a_closed_peer_end_quietly)
{
    struct world *w = start();
    uint8_t bytes[64];
    size_t len = make_frame(bytes, sizeof bytes, 1, 20);
    say(w, bytes, len - 1);
    (void)close(w->peer);
    w->peer = -1;
    RUN_UNTIL(w, w->ends == 1);
    assert_int_equal(w->frames, 0);
    assert_int_equal(w->end_status, 0);
    stop(w);
}

TEST(the_peers_end_is_seen_at_once_even_with_answers_unread)
{
    struct world *w = start();
    static const char block[200000];
    for (int i = 0; i < 10; i++)
        assert_int_equal(sl_socket_send(w->socket, block, sizeof block, NULL, 0), 0);
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    (void)close(w->peer);
    w->peer = -1;
    RUN_UNTIL(w, w->ends == 1);
    stop(w);
}

TEST(a_slow_reader_makes_it_congested_and_reading_drains_it)
{
    struct world *w = start();
    static const char block[65536];
    size_t sent = 0, heard = 0;
    while (!sl_socket_congested(w->socket)) {
        assert_int_equal(sl_socket_send(w->socket, block, 1000, block, sizeof block), 0);
        sent += 1000 + sizeof block;
    }
    assert_true(sent < SL_SOCKET_HIGH_WATER + 1000000); /* plus what the kernel took */
    while (w->drains == 0) {
        heard += hear(w);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_false(sl_socket_congested(w->socket));
    while (heard < sent) {
        heard += hear(w);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(heard, sent);
    stop(w);
}

TEST(what_is_sent_arrives_in_order)
{
    struct world *w = start();
    static uint8_t out[3000000], in[sizeof out];
    size_t sent = 0, heard = 0;
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 24);
    while (heard < sizeof out) {
        for (int i = 0; i < 8 && sent < sizeof out && !sl_socket_congested(w->socket); i++) {
            size_t part = (sent * 7) % 40000 + 1, head = part / 3;
            if (part > sizeof out - sent)
                part = sizeof out - sent, head = part;
            assert_int_equal(sl_socket_send(w->socket, out + sent, head, out + sent + head, part - head), 0);
            sent += part;
        }
        ssize_t n = recv(w->peer, in + heard, 30011 < sizeof in - heard ? 30011 : sizeof in - heard, 0);
        heard += n > 0 ? (size_t)n : 0;
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_memory_equal(in, out, sizeof out);
    stop(w);
}

TEST(who_asks_without_reading_is_not_read_from)
{
    struct world *w = start();
    uint8_t bytes[2048];
    size_t len = 0;
    w->on_frame = DO_ANSWER; /* 64 KiB for 8 bytes */
    while (w->frames == 0) {
        for (int i = 0; len < 200 * SL_FRAME_HEADER && i < 200; i++)
            len += make_frame(bytes + len, sizeof bytes - len, 1, 0);
        say(w, bytes, len); /* in one read, most of them */
        for (int i = 0; i < 20; i++)
            (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_true(w->frames * 65536u < SL_SOCKET_HOLD_WATER + 1000000);
    assert_int_equal(w->ends, 0);
    /* Reading on, it gets the rest. */
    while (w->frames < 200) {
        (void)hear(w);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    stop(w);
}

TEST(a_queue_without_end_ends_the_socket)
{
    struct world *w = start();
    static const char block[262144];
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++)
        r = sl_socket_send(w->socket, block, sizeof block, NULL, 0);
    assert_int_equal(r, SL_E_LIMIT);
    RUN_UNTIL(w, w->ends == 1);
    stop(w);
}

static const uint8_t zeros[SL_FRAME_MAX];

/* All that it has beyond what is asked and answered, and no longer than it has it. */
TEST(its_memory_is_its_users)
{
    struct world *w = start();
    struct sl_quota *quota = sl_quota_new();
    assert_non_null(quota);
    sl_socket_account(w->socket, quota);
    uint8_t *frame = malloc(SL_FRAME_MAX + 4);
    const size_t len = make_frame(frame, SL_FRAME_MAX + 4, 1, 200000);
    say(w, frame, 64);
    RUN_UNTIL(w, sl_quota_total(quota, SL_QUOTA_BYTES) == 0);
    say(w, frame + 64, 30000);
    RUN_UNTIL(w, sl_quota_of(quota, geteuid(), SL_QUOTA_BYTES) >= 190000);
    say(w, frame + 30064, len - 30064);
    RUN_UNTIL(w, w->frames == 1);
    assert_int_equal(sl_quota_total(quota, SL_QUOTA_BYTES), 0);
    /* What the peer does not read. */
    assert_int_equal(sl_socket_send(w->socket, zeros, 250000, zeros, 250000), 0);
    assert_true(sl_quota_of(quota, geteuid(), SL_QUOTA_BYTES) >= 100000);
    while (sl_quota_total(quota, SL_QUOTA_BYTES) > 0) {
        (void)hear(w);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(sl_socket_send(w->socket, zeros, 250000, zeros, 250000), 0);
    stop(w);
    assert_int_equal(sl_quota_total(quota, SL_QUOTA_BYTES), 0);
    sl_quota_free(quota);
    free(frame);
}

TEST(more_memory_than_its_user_has_left_ends_it)
{
    struct world *w = start();
    struct sl_quota *quota = sl_quota_new();
    assert_non_null(quota);
    sl_quota_limit(quota, SL_QUOTA_BYTES, 100000);
    sl_socket_account(w->socket, quota);
    uint8_t *frame = malloc(SL_FRAME_MAX + 4);
    (void)make_frame(frame, SL_FRAME_MAX + 4, 1, 200000);
    say(w, frame, 20000);
    RUN_UNTIL(w, w->ends == 1);
    assert_int_equal(w->end_status, SL_E_LIMIT);
    assert_int_equal(w->frames, 0);
    stop(w);
    w = start();
    sl_socket_account(w->socket, quota);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++)
        r = sl_socket_send(w->socket, zeros, 50000, NULL, 0);
    assert_int_equal(r, SL_E_LIMIT);
    RUN_UNTIL(w, w->ends == 1);
    stop(w);
    assert_int_equal(sl_quota_total(quota, SL_QUOTA_BYTES), 0);
    sl_quota_free(quota);
    free(frame);
}

TEST(what_was_marked_is_told_of_when_it_is_written)
{
    struct world *w = start();
    sl_socket_mark(w->socket); /* nothing */
    assert_true(sl_socket_is_written(w->socket));
    /* A few bytes wait for the end of the turn. */
    assert_int_equal(sl_socket_send(w->socket, "abc", 3, NULL, 0), 0);
    sl_socket_mark(w->socket);
    assert_false(sl_socket_is_written(w->socket));
    RUN_UNTIL(w, w->drains == 1);
    assert_true(sl_socket_is_written(w->socket));
    /* Many wait for the reader; what comes behind the mark does not matter. */
    for (int i = 0; i < 4; i++)
        assert_int_equal(sl_socket_send(w->socket, zeros, 62500, NULL, 0), 0);
    assert_false(sl_socket_congested(w->socket));
    sl_socket_mark(w->socket);
    assert_false(sl_socket_is_written(w->socket));
    size_t heard = 0;
    while (w->drains == 1) {
        const size_t more = hear(w);
        heard += more;
        if (more > 0)
            assert_int_equal(sl_socket_send(w->socket, zeros, 100, NULL, 0), 0);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_true(sl_socket_is_written(w->socket));
    assert_true(heard > 0);
    stop(w);
}

TEST(silence_ends_at_the_deadline)
{
    struct world *w = start();
    sl_socket_deadline(w->socket, 20);
    RUN_UNTIL(w, w->ends == 1);
    assert_int_equal(w->end_status, SL_E_TIMEOUT);
    stop(w);
    w = start();
    sl_socket_deadline(w->socket, 20);
    sl_socket_deadline(w->socket, 0);
    uint64_t until = uv_now(&w->loop) + 60;
    while (uv_now(&w->loop) < until)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->ends, 0);
    stop(w);
}

TEST(finishing_waits_for_the_reader_but_not_for_ever)
{
    struct world *w = start();
    static const char block[1000000];
    size_t heard = 0;
    assert_int_equal(sl_socket_send(w->socket, block, sizeof block, NULL, 0), 0);
    sl_socket_finish(w->socket);
    while (w->closes == 0) {
        heard += hear(w);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    heard += hear(w);
    assert_int_equal(heard, sizeof block);
    stop(w);

    w = start();
    assert_int_equal(sl_socket_send(w->socket, block, sizeof block, NULL, 0), 0);
    sl_socket_finish(w->socket);
    uint64_t begin = uv_now(&w->loop);
    RUN_UNTIL(w, w->closes == 1);
    assert_in_range(uv_now(&w->loop) - begin, SL_SOCKET_FINISH_MS - 100, SL_SOCKET_FINISH_MS + 2000);
    stop(w);
}

TEST(it_can_be_closed_from_its_own_callback)
{
    struct world *w = start();
    uint8_t bytes[64];
    size_t len = make_frame(bytes, sizeof bytes, 1, 0);
    len += make_frame(bytes + len, sizeof bytes - len, 2, 0);
    w->on_frame = DO_CLOSE;
    say(w, bytes, len);
    RUN_UNTIL(w, w->closes == 1);
    assert_int_equal(w->frames, 1);
    stop(w);
}

TEST(a_descriptor_that_names_nothing_is_an_error)
{
    struct world w = {.peer = -1};
    struct sl_fd_jobs *jobs;
    const int fd = 1000000; /* names nothing */
    assert_int_equal(uv_loop_init(&w.loop), 0);
    assert_int_equal(sl_fd_jobs_new(&w.loop, &jobs), 0);
    assert_int_equal(sl_socket_open(&w.loop, jobs, fd, &world_handler, &w, &w.socket), SL_E_IO);
    sl_fd_jobs_unref(jobs); /* the last, or the loop has a handle left */
    (void)uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    assert_int_equal(w.closes, 0);
}

/* --- what is sent within one turn --- */

TEST(what_is_sent_in_one_turn_goes_out_together)
{
    struct world *w = start();
    static const char block[SL_SOCKET_LOW_WATER];
    char buf[64];
    assert_int_equal(sl_socket_send(w->socket, "one", 3, "two", 3), 0);
    assert_int_equal(sl_socket_send(w->socket, "three", 5, NULL, 0), 0);
    assert_int_equal(recv(w->peer, buf, sizeof buf, MSG_DONTWAIT), -1);
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(recv(w->peer, buf, sizeof buf, MSG_DONTWAIT), 11);
    assert_memory_equal(buf, "onetwothree", 11);
    /* What is large does not wait, nor does what was sent before it. */
    assert_int_equal(sl_socket_send(w->socket, "four", 4, NULL, 0), 0);
    assert_int_equal(sl_socket_send(w->socket, block, sizeof block, NULL, 0), 0);
    assert_int_equal(hear(w), 4 + sizeof block);
    /* Closing takes nothing back. */
    assert_int_equal(sl_socket_send(w->socket, "five", 4, NULL, 0), 0);
    sl_socket_close(w->socket);
    assert_int_equal(recv(w->peer, buf, sizeof buf, MSG_DONTWAIT), 4);
    assert_memory_equal(buf, "five", 4);
    stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_one_by_one_however_they_were_cut),
        cmocka_unit_test(a_turn_of_the_loop_reads_once),
        cmocka_unit_test(the_largest_frame_fits),
        cmocka_unit_test(a_length_out_of_bounds_ends_the_socket_at_its_fourth_byte),
        cmocka_unit_test(half_a_frame_and_a_closed_peer_end_quietly),
        cmocka_unit_test(the_peers_end_is_seen_at_once_even_with_answers_unread),
        cmocka_unit_test(a_slow_reader_makes_it_congested_and_reading_drains_it),
        cmocka_unit_test(what_is_sent_arrives_in_order),
        cmocka_unit_test(who_asks_without_reading_is_not_read_from),
        cmocka_unit_test(a_queue_without_end_ends_the_socket),
        cmocka_unit_test(its_memory_is_its_users),
        cmocka_unit_test(more_memory_than_its_user_has_left_ends_it),
        cmocka_unit_test(what_was_marked_is_told_of_when_it_is_written),
        cmocka_unit_test(silence_ends_at_the_deadline),
        cmocka_unit_test(finishing_waits_for_the_reader_but_not_for_ever),
        cmocka_unit_test(it_can_be_closed_from_its_own_callback),
        cmocka_unit_test(a_descriptor_that_names_nothing_is_an_error),
        cmocka_unit_test(what_is_sent_in_one_turn_goes_out_together),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests_name("net.socket", tests, count_descriptors, count_descriptors);
}
