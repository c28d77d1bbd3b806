/* SPDX-License-Identifier: MIT */
/* stage.h - what the tests against a real sshd begin with: one private sshd for the program, and for each test a rig
 * and a target, of which nothing may be open afterwards. */
#ifndef SSHLEASE_TESTS_UNIT_SSH_STAGE_H
#define SSHLEASE_TESTS_UNIT_SSH_STAGE_H

#include "tests/unit/ssh/rig.h"

extern struct test_sshd sshd;
extern struct rig rig;
extern struct rig_conn conn;
extern struct sl_target_conf *target;

/* For a group's set-up: the sshd, with these lines in its configuration. */
int stage_open_with(const char *config);
int stage_open(void **state);
int stage_close(void **state);

/* For each test: a rig and a target; or a connection to it as well. */
int stage_setup(void **state);
int stage_setup_connected(void **state);
/* Closes the connection if there is one, and checks that every descriptor is closed. */
int stage_teardown(void **state);

#endif
