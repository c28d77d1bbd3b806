/* SPDX-License-Identifier: MIT */
/* --check-config: reads the file as the daemon would, by the rights of the account that the daemon would have, and says
 * what has been looked at. The kernel judges what that account can read. */
#include "daemon/app/internal.h"

#include "config/parts.h"
#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of sshleased.service, as sysusers.d makes it. */
#define SERVICE_ACCOUNT "sshlease"

/* Takes on an account's rights, and of its environment what a service has. The real user stays root: systemd reads
 * credentials as root, and so does the check. 0, or an exit code. */
static int become(const char *name)
{
    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (entry == NULL) {
        (void)fprintf(stderr, "sshleased: there is no account %s to check as (%s)\n", name,
            errno != 0 ? strerror(errno) : "systemd-sysusers makes sshlease, which the service has");
        return SL_EXIT_FAILED;
    }
    if (entry->pw_uid == geteuid())
        return 0;
    if (initgroups(name, entry->pw_gid) != 0 || setegid(entry->pw_gid) != 0 || seteuid(entry->pw_uid) != 0) {
        (void)fprintf(stderr, "sshleased: cannot check as %s: %s; only root can\n", name, strerror(errno));
        return SL_EXIT_FAILED;
    }
    if (setenv("HOME", entry->pw_dir, 1) != 0 || unsetenv("SSH_AUTH_SOCK") != 0)
        return SL_EXIT_FAILED;
    return 0;
}

/* Who checks: whom --account names; root, for a system service, as that service's account, where there is one. */
static const char *account_for(const struct sl_check_options *options)
{
    if (options->account != NULL || options->one_user || geteuid() != 0)
        return options->account;
    return getpwnam(SERVICE_ACCOUNT) != NULL ? SERVICE_ACCOUNT : NULL;
}

static void print_errors(const struct sl_load *load)
{
    char *text = sl_load_error_text(load);
    (void)fprintf(stderr, "%s\n", text != NULL ? text : sl_status_text(load->status));
    free(text);
}

static int compare_texts(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

static int add_secret(struct sl_strv *files, const struct sl_secret *secret)
{
    return secret->kind == SL_SECRET_FILE ? sl_strv_add(files, secret->name) : 0;
}

/* The files that a target's logins read; some twice. */
static int add_files(struct sl_strv *files, const struct sl_target_conf *t)
{
    int r = add_secret(files, &t->passphrase);
    if (r == 0)
        r = add_secret(files, &t->password);
    for (size_t i = 0; r == 0 && i < t->identity_count; i++) {
        r = sl_strv_add(files, t->identity[i].file);
        if (r == 0 && t->identity[i].certificate_file != NULL)
            r = sl_strv_add(files, t->identity[i].certificate_file);
    }
    for (size_t i = 0; r == 0 && i < t->known_hosts.count; i++)
        r = sl_strv_add(files, t->known_hosts.item[i]);
    return r;
}

/* What the unit's ProtectHome= and PrivateTmp= keep from the service, whatever its account may read. */
static bool is_hidden(const char *path)
{
    static const char *const places[] = {"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (strncmp(path, places[i], strlen(places[i])) == 0)
            return true;
    return false;
}

static void print_file(const char *path, bool one_user)
{
    const bool there = faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0;
    printf("%s %s%s\n", there ? "can read" : "not there:", path,
        there && !one_user && is_hidden(path) ? " (but sshleased.service sees nothing there: ProtectHome=, PrivateTmp=)"
                                              : "");
}

static int print_files(const struct sl_conf *conf)
{
    struct sl_strv files = {.count = 0};
    int r = conf->target_count == 0 && conf->one_user ? add_files(&files, conf->defaults) : 0;
    for (size_t i = 0; r == 0 && i < conf->target_count; i++)
        r = add_files(&files, conf->target[i]);
    if (files.count > 0)
        qsort(files.item, files.count, sizeof *files.item, compare_texts);
    for (size_t i = 0; r == 0 && i < files.count; i++)
        if (i == 0 || strcmp(files.item[i], files.item[i - 1]) != 0)
            print_file(files.item[i], conf->one_user);
    sl_strv_fini(&files);
    return r;
}

/* What was found right, on standard output. An exit code. */
static int report(const struct sl_load *load, const char *account)
{
    const size_t count = load->conf->target_count;
    printf("%s: no errors, %zu %s, read as %s\n", load->file, count, count == 1 ? "target" : "targets",
        account != NULL  ? account
        : geteuid() == 0 ? "root"
                         : "this user");
    if (print_files(load->conf) != 0) {
        (void)fprintf(stderr, "%s\n", sl_status_text(SL_E_NOMEM));
        return SL_EXIT_FAILED;
    }
    return sl_app_print_end();
}

int sl_app_check(const struct sl_check_options *options)
{
    const struct sl_app_options load_options = {.config_file = options->file, .one_user = options->one_user};
    const char *account = account_for(options);
    struct sl_load load = {.file = NULL};
    if (account != NULL && become(account) != 0)
        return SL_EXIT_FAILED;
    int r = sl_load_init(&load, &load_options);
    if (r == 0) {
        sl_load_run(&load);
        r = load.status;
    }
    for (size_t i = 0; i < load.errors.notes.count; i++)
        (void)fprintf(stderr, "%s\n", load.errors.notes.item[i]);
    load.status = r;
    int code = SL_EXIT_FAILED;
    if (r == 0)
        code = report(&load, account);
    else
        print_errors(&load);
    if (account != NULL && r != 0)
        (void)fprintf(stderr, "sshleased: the files were read as %s (--account NAME: as another)\n", account);
    else if (account == NULL && geteuid() == 0 && !options->one_user)
        (void)fprintf(stderr,
            "sshleased: read as root; whether the service can read the files is not known, for "
            "there is no account %s (--account NAME: as another)\n",
            SERVICE_ACCOUNT);
    sl_load_fini(&load);
    return code;
}

int sl_app_print_end(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return SL_EXIT_OK;
    (void)fprintf(stderr, "sshleased: cannot write to standard output: %s\n", strerror(errno));
    return SL_EXIT_FAILED;
}
