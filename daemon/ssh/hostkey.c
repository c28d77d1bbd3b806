/* What a job needs is copied into it, so that a connection may go while a file system still thinks about its file. */
#include "daemon/ssh/hostkey.h"

#include "daemon/ssh/file.h"
#include "daemon/ssh/job.h"
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
    size_t file_count;
    struct sl_known_keys keys;
    char *trouble; /* what could not be read or written: "FILE: Permission denied" */
    uint8_t *add;  /* a key's blob, or NULL */
    size_t add_len;
    int status;
};

struct sl_hostkey {
    uv_loop_t *loop;
    struct sl_job *job;
    struct work *next; /* the work of a later job: same name and files */
    struct sl_known_keys keys;
    char *trouble;
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
    if (work == NULL) {
        return;
    }
    sl_known_name_fini(&work->name);
    for (size_t i = 0; i < work->file_count; i++) {
        free(work->file[i]);
    }
    free(work->file);
    sl_known_keys_fini(&work->keys);
    free(work->trouble);
    free(work->add);
    free(work);
}

static struct work *new_work(const struct sl_target_conf *target)
{
    struct work *work = calloc(1, sizeof *work);
    size_t count = target->known_hosts.count;
    if (work == NULL || sl_known_name_init(&work->name, target->host, target->port, target->host_key_alias) != 0 ||
        (work->file = calloc(count + 1, sizeof *work->file)) == NULL) {
        goto err_work;
    }
    for (; work->file_count < count; work->file_count++) {
        work->file[work->file_count] = strdup(target->known_hosts.item[work->file_count]);
        if (work->file[work->file_count] == NULL) {
            goto err_work;
        }
    }
    return work;

err_work:
    dispose(work);
    return NULL;
}

static void note_trouble(struct work *work, const char *file, int error)
{
    const char *why = error == EWOULDBLOCK ? "locked by another program" : strerror(error);
    if (work->trouble == NULL && asprintf(&work->trouble, "%s: %s", file, why) < 0) {
        work->trouble = NULL;
    }
}

/* --- in a worker --- */

static void scan_file(struct work *work, const char *file)
{
    struct sl_file content;
    int error = sl_file_read(file, KNOWN_HOSTS_MAX, &content);
    if (error != 0) {
        if (error != ENOENT) {
            note_trouble(work, file, error);
        }
        /* What the file says of the host is not known then, and that is not the same as nothing. */
        if (work->status == 0) {
            work->status = sl_file_shortage(error);
        }
        return;
    }
    if (sl_known_keys_scan(&work->keys, file, content.data, content.len, &work->name) != 0) {
        work->status = SL_E_NOMEM;
    }
    sl_file_free(&content);
}

static void read_files(void *data)
{
    struct work *work = data;
    for (size_t i = 0; i < work->file_count; i++) {
        scan_file(work, work->file[i]);
    }
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
    if (end > 0 && pread(fd, &last, 1, end - 1) != 1) {
        return errno != 0 ? errno : EIO;
    }
    char *text = NULL;
    int len = asprintf(&text, "%s%s", last == '\n' ? "" : "\n", line);
    if (len < 0) {
        return ENOMEM;
    }
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
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return 0;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return errno;
        }
        (void)nanosleep(&pause, NULL);
    }
    return EWOULDBLOCK;
}

/* Under the file's lock: somebody else may have written this host down in the meantime, rightly or with another key. */
static void add_key(void *data)
{
    struct work *work = data;
    const char *file = work->file[0];
    make_directory(file);
    int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int error = fd < 0 ? errno : lock(fd);
    if (error != 0) {
        int shortage = sl_file_shortage(error);
        note_trouble(work, file, error);
        work->status = shortage != 0 ? shortage : SL_E_HOST_KEY_UNKNOWN;
        goto out;
    }
    for (size_t i = 0; i < work->file_count; i++) {
        scan_file(work, work->file[i]);
    }
    if (work->status == 0 && work->trouble != NULL) {
        work->status = SL_E_HOST_KEY_UNKNOWN; /* what cannot be read may know better */
    }
    const struct sl_known_key *decided;
    if (work->status == 0 && sl_known_keys_judge(&work->keys, work->add, work->add_len, &decided) == SL_KNOWN_UNKNOWN) {
        char *line = sl_known_hosts_line(&work->name, work->add, work->add_len);
        error = line != NULL ? append(fd, line) : ENOMEM;
        free(line);
        if (error != 0) {
            note_trouble(work, file, error);
            work->status = SL_E_HOST_KEY_UNKNOWN;
        }
    }
out:
    if (fd >= 0) {
        close(fd);
    }
}

/* --- on the loop --- */

static void on_loaded(void *arg, void *data)
{
    struct sl_hostkey *hostkey = arg;
    struct work *work = data;
    hostkey->job = NULL;
    hostkey->keys = work->keys;
    hostkey->trouble = work->trouble;
    hostkey->status = work->status;
    work->keys = (struct sl_known_keys){0};
    work->trouble = NULL;
    hostkey->state = HOSTKEY_LOADED;
    hostkey->loaded(hostkey->arg);
}

static const struct sl_job_kind load_kind = {read_files, on_loaded, dispose};

int sl_hostkey_load(uv_loop_t *loop, const struct sl_target_conf *target, void (*loaded)(void *arg), void *arg,
    struct sl_hostkey **ret_hostkey)
{
    struct sl_hostkey *hostkey = calloc(1, sizeof *hostkey);
    if (hostkey == NULL) {
        return SL_E_NOMEM;
    }
    hostkey->loop = loop;
    hostkey->loaded = loaded;
    hostkey->arg = arg;
    hostkey->accept_new = target->host_key_checking == SL_HOST_KEY_ACCEPT_NEW && target->known_hosts.count > 0;
    struct work *work = new_work(target);
    hostkey->next = new_work(target);
    int r = work != NULL && hostkey->next != NULL ? sl_job_start(loop, &load_kind, work, hostkey, &hostkey->job)
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
        dispose(hostkey->next);
        free(hostkey);
    }
}

bool sl_hostkey_loaded(const struct sl_hostkey *hostkey)
{
    return hostkey->state != HOSTKEY_LOADING;
}

const struct sl_known_keys *sl_hostkey_keys(const struct sl_hostkey *hostkey)
{
    return &hostkey->keys;
}

static void answer_refusal(const struct sl_hostkey *hostkey, enum sl_known_verdict verdict,
    const struct sl_known_key *line, const uint8_t *blob, size_t len, sl_hostkey_fn fn, void *arg)
{
    char text[600];
    const char *type = "?";
    size_t type_len = 1;
    assert(line != NULL || verdict == SL_KNOWN_UNKNOWN);
    (void)sl_key_blob_type(blob, len, &type, &type_len);
    char *shown = sl_key_fingerprint(blob, len);
    char *known = line != NULL ? sl_key_fingerprint(line->blob, line->blob_len) : NULL;
    const char *shown_text = shown != NULL ? shown : "?", *known_text = known != NULL ? known : "?";
    int status;
    switch (verdict) {
    case SL_KNOWN_REVOKED:
        status = SL_E_HOST_KEY_REVOKED;
        snprintf(text, sizeof text, "the server shows the host key %s %.*s, which %s:%u marks as revoked", shown_text,
            (int)type_len, type, line->file, line->line);
        break;
    case SL_KNOWN_CHANGED:
        status = SL_E_HOST_KEY_CHANGED;
        snprintf(text, sizeof text,
            "the host key has CHANGED: the server shows %s %.*s, but %s:%u has %s %s. If the change is right, remove "
            "that line",
            shown_text, (int)type_len, type, line->file, line->line, known_text, line->type);
        break;
    default:
        status = SL_E_HOST_KEY_UNKNOWN;
        snprintf(text, sizeof text, "the host key %s %.*s is not in %s%s%s%s", shown_text, (int)type_len, type,
            hostkey->next->file_count > 0 ? hostkey->next->file[0] : "any known_hosts file",
            hostkey->trouble != NULL ? " (cannot read " : "", hostkey->trouble != NULL ? hostkey->trouble : "",
            hostkey->trouble != NULL ? ")" : "");
        break;
    }
    free(shown);
    free(known);
    fn(arg, status, text);
}

static void on_added(void *arg, void *data)
{
    struct sl_hostkey *hostkey = arg;
    struct work *work = data;
    hostkey->job = NULL;
    sl_hostkey_fn fn = hostkey->checked;
    if (work->status != 0) {
        char text[512];
        snprintf(text, sizeof text, "the new host key could not be written down: %s",
            work->trouble != NULL ? work->trouble : sl_status_text(work->status));
        fn(hostkey->arg, work->status, text);
        return;
    }
    const struct sl_known_key *line;
    enum sl_known_verdict verdict = sl_known_keys_judge(&work->keys, work->add, work->add_len, &line);
    if (verdict == SL_KNOWN_CHANGED || verdict == SL_KNOWN_REVOKED) {
        answer_refusal(hostkey, verdict, line, work->add, work->add_len, fn, hostkey->arg);
    } else {
        fn(hostkey->arg, 0, "");
    }
}

static const struct sl_job_kind add_kind = {add_key, on_added, dispose};

void sl_hostkey_check(struct sl_hostkey *hostkey, const uint8_t *blob, size_t len, sl_hostkey_fn fn, void *arg)
{
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
        fn(arg, 0, "");
        return;
    }
    /* A file that cannot be read may say that the key has changed, or is revoked: then it is not new. */
    if (verdict != SL_KNOWN_UNKNOWN || !hostkey->accept_new || hostkey->trouble != NULL) {
        answer_refusal(hostkey, verdict, line, blob, len, fn, arg);
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
    if (r == 0) {
        hostkey->next = NULL;
    } else {
        fn(arg, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
    }
}
