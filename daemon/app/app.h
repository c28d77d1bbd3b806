/* SPDX-License-Identifier: MIT */
/* app.h - the composition root: builds the daemon of its rooms, runs it, takes it apart in order. */
#ifndef SSHLEASE_APP_APP_H
#define SSHLEASE_APP_APP_H

#include "base/log.h"

/* Exit codes of sshleased(8). */
#define SL_EXIT_OK     0
#define SL_EXIT_FAILED 1
#define SL_EXIT_USAGE  2
#define SL_EXIT_CONFIG 3

struct sl_app_options {
    const char *config_file; /* NULL: the mode's default */
    const char *socket;      /* NULL: the configuration's, else the mode's default */
    bool one_user;
    enum sl_log_level level;
};

/* Runs the daemon until it is told to stop. An exit code; every failure has been logged. */
int sl_app_run(const struct sl_app_options *options);

struct sl_check_options {
    const char *file;
    bool one_user;
    const char
        *account; /* as whom; NULL: root checks a service's file as that service's account, others as themselves */
};

/* Reads the file and prints every error in it to standard error, or what it has looked at to standard output. Gives up
 * rights for that: nothing else can be done afterwards. SL_EXIT_OK or SL_EXIT_FAILED. */
int sl_app_check(const struct sl_check_options *options);

/* Flushes what was printed to standard output. SL_EXIT_OK; or SL_EXIT_FAILED, and has said why. */
int sl_app_print_end(void);

/* "libssh2 …, OpenSSL …": what the transport is made of. Static. */
const char *sl_app_transport_version(void);

#endif
