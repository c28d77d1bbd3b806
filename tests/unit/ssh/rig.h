/* SPDX-License-Identifier: MIT */
/* rig.h - what the tests of connections share: a loop, a target for the private sshd, and calls that wait for events.
 */
#ifndef SSHLEASE_TESTS_UNIT_SSH_RIG_H
#define SSHLEASE_TESTS_UNIT_SSH_RIG_H

#include "daemon/ssh/transport.h"
#include "tests/support/sshd.h"

struct rig {
    uv_loop_t loop;
    struct sl_transport *transport;
    struct sl_compat *compat; /* of the one server that its connections go to */
    struct sl_log log;
};

/* Everything a connection has said. */
struct rig_conn {
    struct rig *rig;
    struct sl_conn *conn;
    struct sl_tenant *tenant; /* of the lease that rig_lease() began last; the first begins with the connection */
    unsigned ready, lost, answered, pongs, drained, closed, crowded;
    struct sl_tenant *crowded_tenant;
    int status;
    char text[1024];
    struct sl_drain_report report;
    char report_text[300];
};

/* Everything a stream has said. */
struct rig_stream {
    struct rig *rig;
    struct sl_stream *stream; /* NULL once it has ended */
    unsigned opened, eof, exited, ended;
    int open_status;
    char open_text[300];
    uint8_t *out[2];
    size_t out_len[2], out_cap[2];
    size_t sent;
    int exit_how; /* of on_exit */
    uint32_t exit_code;
    int how;
    uint32_t exit_status;
    char signal[32];
    char text[300];
    enum { RIG_CREDIT_ALWAYS, RIG_CREDIT_NEVER } credit;
};

void rig_start(struct rig *rig);
/* Everything is closed: the loop must be empty. */
void rig_stop(struct rig *rig);
/* Runs the loop until `*counter` is not zero, at most `ms`. */
bool rig_wait(struct rig *rig, const unsigned *counter, unsigned ms);
/* Runs the loop for so long. */
void rig_run_ms(struct rig *rig, unsigned ms);

struct sl_target_conf *rig_target(const struct test_sshd *sshd);
void rig_add_identity(struct sl_target_conf *target, const char *file);
void rig_clear_identities(struct sl_target_conf *target);

void rig_dial(struct rig *rig, struct rig_conn *conn, struct sl_target_conf *target);
/* Dials and waits for on_ready, or on_lost: then false. */
bool rig_connect(struct rig *rig, struct rig_conn *conn, struct sl_target_conf *target);
void rig_close(struct rig_conn *conn);
/* The lease before is given back, and another one begins. */
void rig_lease(struct rig_conn *conn);

/* What a rig_stream listens with. */
const struct sl_stream_handler *rig_stream_handler(void);
int rig_open_spec(struct rig_conn *conn, struct rig_stream *stream, const struct sl_stream_spec *spec);
int rig_exec(struct rig_conn *conn, struct rig_stream *stream, const char *command);
/* Executes and waits for the end. */
void rig_run(struct rig_conn *conn, struct rig_stream *stream, const char *command);
void rig_stream_fini(struct rig_stream *stream);
/* Standard output as a text. */
const char *rig_out(struct rig_stream *stream);
/* Waits until standard output holds `text`. */
bool rig_wait_out(struct rig_stream *stream, const char *text, unsigned ms);

#endif
