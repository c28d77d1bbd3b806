/* SPDX-License-Identifier: MIT */
/* What a job needs is copied into it, so that a connection may go while a file system still thinks about its file. */
#include "daemon/ssh/keys/hostkey.h"

#include "daemon/ssh/keys/basis.h"
#include "daemon/ssh/keys/file.h"
#include "daemon/ssh/keys/job.h"
#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KNOWN_HOSTS_MAX (16u << 20)
/* How long somebody else's lock on the file is waited for: everybody who may read it may lock it, for ever. */
#define LOCK_TRIES    50
#define LOCK_PAUSE_NS 20000000L

/* Reading the files, or, with a key to add, writing it to the first of them. */
struct work {
    struct sl_known_name name;
    char **file;
    size_t file_count, user_count; /* the user's are first */
    bool user_named, global_named; /* by the configuration */
    struct sl_known_keys keys;
    char *trouble;   /* what could not be read: "FILE: Permission denied" */
    char *missed;    /* the same of one that the configuration names */
    char *unwritten; /* what could not be written */
    uint8_t *add;    /* a key's blob, or NULL */
    size_t add_len;
    uint64_t basis;
    int status;
};

struct sl_hostkey {
    uv_loop_t *loop;
    struct sl_job *job;
    struct work *next; /* the work of a later job: same name and files */
    struct sl_known_keys keys;
    char *missed;     /* as the work's */
    char *first_file; /* where new keys go; NULL: none */
    char *keyscan;    /* the command that shows the host's keys */
    char *trouble;
    uint64_t basis;
    int status; /* of the reading; not 0: some lines are not in `keys` */
    bool accept_new;
    enum { HOSTKEY_LOADING, HOSTKEY_LOADED, HOSTKEY_ADDING } state;
    void (*loaded)(void *arg);
    sl_hostkey_fn checked;
    void *arg;
};

static void dispose(void *data)
{
    struct work *work = data;
    if (work == NULL)
        return;
    sl_known_name_fini(&work->name);
    for (size_t i = 0; i < work->file_count; i++)
        free(work->file[i]);
    free(work->file);
    sl_known_keys_fini(&work->keys);
    free(work->trouble);
    free(work->missed);
    free(work->unwritten);
    free(work->add);
    free(work);
}

static struct work *new_work(const struct sl_target_conf *target)
{
    struct work *work = calloc(1, sizeof *work);
    size_t count = target->known_hosts.count;
    if (work == NULL || sl_known_name_init(&work->name, target->host, target->port, target->host_key_alias) != 0 ||
        (work->file = calloc(count + 1, sizeof *work->file)) == NULL)
        goto err_work;
    work->user_count = target->user_known_hosts_count;
    work->user_named = target->user_known_hosts_named;
    work->global_named = target->global_known_hosts_named;
    for (; work->file_count < count; work->file_count++) {
        work->file[work->file_count] = strdup(target->known_hosts.item[work->file_count]);
        if (work->file[work->file_count] == NULL)
            goto err_work;
    }
    return work;

err_work:
    dispose(work);
    return NULL;
}

/* The first trouble of its kind is kept. */
static void note(char **trouble, const char *file, int error)
{
    const char *why = error == EWOULDBLOCK ? "locked by another program" : strerror(error);
    if (*trouble == NULL && asprintf(trouble, "%s: %s", file, why) < 0)
        *trouble = NULL;
}

/* --- in a worker --- */

static void scan_file(struct work *work, const char *file, bool named)
{
    struct sl_file content;
    int error = sl_file_read(file, KNOWN_HOSTS_MAX, &content);
    if (error != 0) {
        if (error != ENOENT)
            note(&work->trouble, file, error);
        if (error != ENOENT && named)
            note(&work->missed, file, error);
        /* What the file says of the host is not known then, and that is not the same as nothing. */
        if (work->status == 0)
            work->status = sl_file_shortage(error);
        return;
    }
    if (sl_known_keys_scan(&work->keys, file, content.data, content.len, &work->name) != 0)
        work->status = SL_E_NOMEM;
    sl_file_free(&content);
}

static void read_files(void *data)
{
    struct work *work = data;
    for (size_t i = 0; i < work->file_count; i++)
        scan_file(work, work->file[i], i < work->user_count ? work->user_named : work->global_named);
    work->basis = sl_basis_of_lines(&work->keys) + (work->trouble != NULL);
}

uint64_t sl_hostkey_basis_now(const struct sl_target_conf *target)
{
    struct work *work = new_work(target);
    if (work == NULL)
        return 0;
    read_files(work);
    uint64_t basis = work->status == 0 ? work->basis : 0;
    dispose(work);
    return basis;
}

/* ~/.ssh may not be there yet. */
static void make_directory(const char *file)
{
    const char *slash = strrchr(file, '/');
    char *directory = slash != NULL && slash != file ? strndup(file, (size_t)(slash - file)) : NULL;
    if (directory != NULL) {
        (void)mkdir(directory, 0700); /* open() says it if that did not help */
        free(directory);
    }
}

static int append(int fd, const char *line)
{
    off_t end = lseek(fd, 0, SEEK_END);
    char last = '\n';
    if (end > 0 && pread(fd, &last, 1, end - 1) != 1)
        return errno != 0 ? errno : EIO;
    char *text = NULL;
    int len = asprintf(&text, "%s%s", last == '\n' ? "" : "\n", line);
    if (len < 0)
        return ENOMEM;
    /* One write of a whole line: whoever reads at the same time sees all of it or nothing. */
    ssize_t n = write(fd, text, (size_t)len);
    int error = n == len ? 0 : n < 0 ? errno : ENOSPC;
    free(text);
    return error;
}

static int lock(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return errno;
        (void)nanosleep(&pause, NULL);
    }
    return EWOULDBLOCK;
}

/* Under the file's lock: somebody else may have written this host down in the meantime, rightly or with another key.
 * What cannot be written is a pity, and no reason to refuse the host: ssh goes on, too. */
static void add_key(void *data)
{
    struct work *work = data;
    const char *file = work->file[0];
    make_directory(file);
    int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int error = fd < 0 ? errno : lock(fd);
    if (error != 0) {
        note(&work->unwritten, file, error);
        work->status = sl_file_shortage(error);
    }
    read_files(work);
    const struct sl_known_key *decided;
    if (error == 0 && work->status == 0 && work->trouble == NULL && work->keys.authority_file == NULL &&
        sl_known_keys_judge(&work->keys, work->add, work->add_len, &decided) == SL_KNOWN_UNKNOWN) {
        char *line = sl_known_hosts_line(&work->name, work->add, work->add_len);
        error = line != NULL ? append(fd, line) : ENOMEM;
        free(line);
        if (error != 0)
            note(&work->unwritten, file, error);
        else
            work->basis += sl_basis_of_line(&(struct sl_known_key){.blob = work->add, .blob_len = work->add_len});
    }
    if (fd >= 0)
        close(fd);
}

/* --- on the loop --- */

static void on_loaded(void *arg, void *data)
{
    struct sl_hostkey *hostkey = arg;
    struct work *work = data;
    hostkey->job = NULL;
    hostkey->keys = work->keys;
    hostkey->trouble = work->trouble;
    hostkey->missed = work->missed;
    hostkey->status = work->status;
    hostkey->basis = work->basis;
    work->keys = (struct sl_known_keys){0};
    work->trouble = work->missed = NULL;
    hostkey->state = HOSTKEY_LOADED;
    hostkey->loaded(hostkey->arg);
}

static const struct sl_job_kind load_kind = {read_files, on_loaded, dispose};

/* What a message may have to name. False: no memory. */
static bool name_remedies(struct sl_hostkey *hostkey, const struct sl_target_conf *target)
{
    char port[16] = "";
    if (target->known_hosts.count > 0 && (hostkey->first_file = strdup(target->known_hosts.item[0])) == NULL)
        return false;
    if (target->port != 22)
        snprintf(port, sizeof port, "-p %u ", (unsigned)target->port);
    /* ssh-keyscan writes its own name for the host. */
    int len = target->host_key_alias == NULL ? asprintf(&hostkey->keyscan, "ssh-keyscan %s%s", port, target->host)
                                             : asprintf(&hostkey->keyscan, "ssh-keyscan %s%s | sed 's/^[^# ][^ ]*/%s/'",
                                                   port, target->host, target->host_key_alias);
    if (len < 0)
        hostkey->keyscan = NULL;
    return hostkey->keyscan != NULL;
}

int sl_hostkey_load(uv_loop_t *loop, const struct sl_target_conf *target, void (*loaded)(void *arg), void *arg,
    struct sl_hostkey **ret_hostkey)
{
    struct sl_hostkey *hostkey = calloc(1, sizeof *hostkey);
    if (hostkey == NULL)
        return SL_E_NOMEM;
    hostkey->loop = loop;
    hostkey->loaded = loaded;
    hostkey->arg = arg;
    hostkey->accept_new = target->host_key_checking == SL_HOST_KEY_ACCEPT_NEW && target->known_hosts.count > 0;
    struct work *work = new_work(target);
    hostkey->next = new_work(target);
    int r = work != NULL && hostkey->next != NULL && name_remedies(hostkey, target)
                ? sl_job_start(loop, &load_kind, work, hostkey, &hostkey->job)
                : SL_E_NOMEM;
    if (r != 0) {
        dispose(work);
        sl_hostkey_free(hostkey);
        return r;
    }
    *ret_hostkey = hostkey;
    return 0;
}

void sl_hostkey_free(struct sl_hostkey *hostkey)
{
    if (hostkey != NULL) {
        sl_job_forget(hostkey->job);
        sl_known_keys_fini(&hostkey->keys);
        free(hostkey->trouble);
        free(hostkey->missed);
        free(hostkey->first_file);
        free(hostkey->keyscan);
        dispose(hostkey->next);
        free(hostkey);
    }
}

bool sl_hostkey_loaded(const struct sl_hostkey *hostkey)
{
    return hostkey->state != HOSTKEY_LOADING;
}

uint64_t sl_hostkey_basis(const struct sl_hostkey *hostkey)
{
    return hostkey->basis;
}

const struct sl_known_keys *sl_hostkey_keys(const struct sl_hostkey *hostkey)
{
    return &hostkey->keys;
}

/* What was found out about a key, and where. */
struct finding {
    const struct sl_known_keys *keys;
    const char *trouble; /* "FILE: why" of a file that could not be read, or NULL */
    const char *missed;  /* of one that the configuration names, or NULL */
    const uint8_t *blob;
    size_t len;
};

/* Why a key that no line is about is not taken. */
static void explain_unknown(
    const struct sl_hostkey *hostkey, const struct finding *found, const char *shown, char *text, size_t size)
{
    if (found->keys->authority_file != NULL) {
        /* That a certificate may be behind it must not be guessed from "unknown". */
        snprintf(text, size,
            "host certificates are not supported by the SSH library, and beside the @cert-authority of %s:%u no plain "
            "key "
            "of this host is known: compare %s, which the server shows, and add it with \"%s >> %s\"",
            found->keys->authority_file, found->keys->authority_line, shown, hostkey->keyscan,
            hostkey->first_file != NULL ? hostkey->first_file : "KNOWN_HOSTS");
    } else if (found->trouble != NULL && hostkey->accept_new) {
        snprintf(text, size,
            "the new host key %s is not taken over, for it may be revoked or be another where it could not be looked "
            "up: "
            "%s; let the daemon read that file, or name other files",
            shown, found->trouble);
    } else {
        snprintf(text, size, "the host key %s is not in %s%s%s%s", shown,
            hostkey->first_file != NULL ? hostkey->first_file : "any known_hosts file",
            found->trouble != NULL ? " (cannot read " : "", found->trouble != NULL ? found->trouble : "",
            found->trouble != NULL ? ")" : "");
    }
}

/* "SHA256:... ssh-ed25519" */
static const char *describe_key(const uint8_t *blob, size_t len, char *buf, size_t size)
{
    const char *type = "?";
    size_t type_len = 1;
    (void)sl_key_blob_type(blob, len, &type, &type_len);
    char *shown = sl_key_fingerprint(blob, len);
    snprintf(buf, size, "%s %.*s", shown != NULL ? shown : "?", (int)type_len, type);
    free(shown);
    return buf;
}

#define KEY_TEXT_SIZE 128u

static void answer_refusal(const struct sl_hostkey *hostkey, const struct finding *found, enum sl_known_verdict verdict,
    const struct sl_known_key *line, sl_hostkey_fn fn, void *arg)
{
    char text[700], shown[KEY_TEXT_SIZE], known[KEY_TEXT_SIZE];
    int status;
    assert(line != NULL || verdict == SL_KNOWN_UNKNOWN);
    (void)describe_key(found->blob, found->len, shown, sizeof shown);
    switch (verdict) {
    case SL_KNOWN_REVOKED:
        status = SL_E_HOST_KEY_REVOKED;
        snprintf(text, sizeof text, "the server shows the host key %s, which %s:%u marks as revoked", shown, line->file,
            line->line);
        break;
    case SL_KNOWN_CHANGED:
        status = SL_E_HOST_KEY_CHANGED;
        snprintf(text, sizeof text,
            "the host key has CHANGED: the server shows %s, but %s:%u has %s. If the change is right, remove that line",
            shown, line->file, line->line, describe_key(line->blob, line->blob_len, known, sizeof known));
        break;
    default:
        status = SL_E_HOST_KEY_UNKNOWN;
        explain_unknown(hostkey, found, shown, text, sizeof text);
        break;
    }
    fn(arg, status, text);
}

/* The key is right; but what could not be read may say that it is revoked. ssh does not say a word about that. A file
 * that the configuration names is named for what is in it. */
static void answer_known(const struct finding *found, const struct sl_known_key *line, sl_hostkey_fn fn, void *arg)
{
    char text[600] = "";
    if (found->missed != NULL) {
        snprintf(text, sizeof text,
            "the host key is the one of %s:%u, but may be @revoked in a file that the configuration names: %s; let the "
            "daemon read that file, or name other files",
            line->file, line->line, found->missed);
        fn(arg, SL_E_HOST_KEY_UNKNOWN, text);
        return;
    }
    if (found->trouble != NULL) {
        snprintf(text, sizeof text,
            "the host key is the one of %s:%u; whether it is @revoked where it could not be looked up is not known: %s",
            line->file, line->line, found->trouble);
    }
    fn(arg, 0, text);
}

/* Whether a key that no line is about may be taken over: every file was read, and none names an authority in its place.
 */
static bool is_new(const struct sl_hostkey *hostkey, const struct finding *found)
{
    return hostkey->accept_new && found->trouble == NULL && found->keys->authority_file == NULL;
}

static void on_added(void *arg, void *data)
{
    struct sl_hostkey *hostkey = arg;
    struct work *work = data;
    const struct finding found = {&work->keys, work->trouble, work->missed, work->add, work->add_len};
    const struct sl_known_key *line;
    enum sl_known_verdict verdict = sl_known_keys_judge(&work->keys, work->add, work->add_len, &line);
    char text[600] = "", shown[KEY_TEXT_SIZE];
    hostkey->job = NULL;
    hostkey->basis = work->basis;
    sl_hostkey_fn fn = hostkey->checked;
    if (work->status != 0) {
        const char *why = work->trouble != NULL ? work->trouble : work->unwritten;
        snprintf(text, sizeof text, "the new host key could not be written down: %s",
            why != NULL ? why : sl_status_text(work->status));
        fn(hostkey->arg, work->status, text);
    } else if (verdict == SL_KNOWN_OK) {
        answer_known(&found, line, fn, hostkey->arg);
    } else if (verdict != SL_KNOWN_UNKNOWN || !is_new(hostkey, &found)) {
        answer_refusal(hostkey, &found, verdict, line, fn, hostkey->arg);
    } else {
        if (work->unwritten != NULL) {
            snprintf(text, sizeof text,
                "the new host key %s could not be written down: %s; it is accepted, and will be new again the next "
                "time",
                describe_key(work->add, work->add_len, shown, sizeof shown), work->unwritten);
        }
        fn(hostkey->arg, 0, text);
    }
}

static const struct sl_job_kind add_kind = {add_key, on_added, dispose};

void sl_hostkey_check(struct sl_hostkey *hostkey, const uint8_t *blob, size_t len, sl_hostkey_fn fn, void *arg)
{
    const struct finding found = {&hostkey->keys, hostkey->trouble, hostkey->missed, blob, len};
    const struct sl_known_key *line;
    enum sl_known_verdict verdict = sl_known_keys_judge(&hostkey->keys, blob, len, &line);
    if (hostkey->status != 0) {
        char text[300];
        snprintf(text, sizeof text, "cannot look the host key up: %s",
            hostkey->trouble != NULL ? hostkey->trouble : sl_status_text(hostkey->status));
        fn(arg, hostkey->status, text);
        return;
    }
    if (verdict == SL_KNOWN_OK) {
        answer_known(&found, line, fn, arg);
        return;
    }
    if (verdict != SL_KNOWN_UNKNOWN || !is_new(hostkey, &found)) {
        answer_refusal(hostkey, &found, verdict, line, fn, arg);
        return;
    }
    hostkey->checked = fn;
    hostkey->arg = arg;
    hostkey->state = HOSTKEY_ADDING;
    struct work *work = hostkey->next;
    work->add = malloc(len);
    int r = SL_E_NOMEM;
    if (work->add != NULL) {
        memcpy(work->add, blob, len);
        work->add_len = len;
        r = sl_job_start(hostkey->loop, &add_kind, work, hostkey, &hostkey->job);
    }
    if (r == 0)
        hostkey->next = NULL;
    else
        fn(arg, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
}
