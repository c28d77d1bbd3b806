/* SPDX-License-Identifier: MIT */
/* front_world.h - the native front end over the driver's world, and clients that speak to it frame by frame. */
#ifndef SSHLEASE_TESTS_FRONT_WORLD_H
#define SSHLEASE_TESTS_FRONT_WORLD_H

#include "daemon/front/native/native.h"
#include "proto/msg.h"
#include "tests/support/lease_world.h"

struct sl_front_world {
    struct sl_world world;
    struct sl_watch *watch;
    struct sl_native *native;
    /* The reload under way, until the test ends it. */
    sl_native_reloaded_fn reloaded;
    void *reloaded_arg;
    int reload_refusal;
    int mux_refusal;    /* what a MUX is answered; 0: the path of its target's name */
    unsigned mux_asked; /* MUX requests that came as far as the application */
};

struct sl_raw_client {
    struct sl_front_world *front;
    int fd;
    uint8_t out[SL_FRAME_MAX + 4];
    uint8_t in[300000];
    size_t in_len, taken;
    struct sl_msg msg; /* the last one heard; borrows `in` */
};

#define FRONT_CONF(more) "defaults: {" WORLD_LOGIN "}\ntargets:\n  a: {" more "}\n"

void sl_front_init(struct sl_front_world *front, const char *yaml);
/* Of a daemon in the one-user mode: whoever runs the test has the whole of each limit, and no more. */
void sl_front_init_one_user(struct sl_front_world *front, const char *yaml);
/* Insists that nothing is left. */
void sl_front_fini(struct sl_front_world *front);

struct sl_raw_client *sl_raw_connect(struct sl_front_world *front);
/* As another user; for root only. */
struct sl_raw_client *sl_raw_connect_as(struct sl_front_world *front, uid_t uid);
/* In the newest version of the protocol. */
void sl_raw_greet(struct sl_raw_client *client);
/* Connected and greeted. */
struct sl_raw_client *sl_raw_hello(struct sl_front_world *front);
/* The same, with a lease of `a`. */
struct sl_raw_client *sl_raw_lease(struct sl_front_world *front);
void sl_raw_close(struct sl_raw_client *client);

void sl_raw_say(struct sl_raw_client *client, const struct sl_msg *msg);
void sl_raw_say_bytes(struct sl_raw_client *client, const void *data, size_t len);
/* The next message; 0 when the socket has ended. */
uint32_t sl_raw_hear(struct sl_raw_client *client);
void sl_raw_expect(struct sl_raw_client *client, uint32_t type);
void sl_raw_expect_error(struct sl_raw_client *client, uint32_t rid, int status);
/* ERROR with rid 0 and a text that holds `text`, then the end. */
void sl_raw_expect_fatal(struct sl_raw_client *client, int status, const char *text);
/* Nothing comes. */
void sl_raw_expect_silence(struct sl_raw_client *client);

void sl_raw_acquire(struct sl_raw_client *client, uint32_t rid, const char *target);
void sl_raw_request(struct sl_raw_client *client, uint32_t type, uint32_t rid);
void sl_raw_exec(struct sl_raw_client *client, uint32_t rid, uint32_t stream, const char *command, uint32_t window);
void sl_raw_data(struct sl_raw_client *client, uint32_t stream, const void *data, size_t len);
void sl_raw_window(struct sl_raw_client *client, uint32_t stream, uint32_t bytes);
/* EOF, CLOSE. */
void sl_raw_stream(struct sl_raw_client *client, uint32_t type, uint32_t stream);

#endif
