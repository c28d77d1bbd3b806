/* SPDX-License-Identifier: MIT */
/* The real system's users, groups, environment and files, as a reading of the configuration sees them. */
#include "config/world.h"

#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An entry of /etc/passwd or /etc/group, its strings included; groups with very many members need more than sysconf()
 * suggests. */
#define ENTRY_SIZE_MIN ((size_t)1024)
#define ENTRY_SIZE_MAX ((size_t)1024 * 1024)

struct real_world {
    struct sl_conf_world world;
    char *user;
    char *home;
};

static const char *real_env(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

/* Whether the file begins as a public key does, ssh-keygen's or of RFC 4716. */
static bool is_public_key(int fd)
{
    static const char *const begins[] = {
        "ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2 PUBLIC KEY", "-----BEGIN PUBLIC KEY"};
    char text[32];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    bool found = false;
    text[len > 0 ? len : 0] = '\0';
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
        found = found || strncmp(text, begins[i], strlen(begins[i])) == 0;
    explicit_bzero(text, sizeof text);
    return found;
}

static int try_open(const char *path, enum sl_world_use use)
{
    /* First what it is: to open a device can do things. */
    struct stat st;
    if (stat(path, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return SL_WORLD_NOT_A_FILE;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno;
    int error = use == SL_WORLD_PRIVATE_KEY && is_public_key(fd) ? SL_WORLD_PUBLIC_KEY : 0;
    close(fd);
    return error;
}

static int real_try_read(void *arg, const char *path, enum sl_world_use use)
{
    (void)arg;
    const uid_t own = geteuid(), starter = getuid();
    /* systemd reads credentials with rights of its own. --check-config has them by its real user. */
    const bool by_starter = use == SL_WORLD_CREDENTIAL && own != starter;
    if (by_starter && seteuid(starter) != 0)
        return errno;
    int error = try_open(path, use);
    if (by_starter && seteuid(own) != 0)
        abort(); /* nothing more may be done with rights that are not its own */
    return error;
}

static unsigned real_exposed_mode(void *arg, const char *path)
{
    char text[4096];
    struct stat st;
    unsigned mode = 0;
    (void)arg;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && sl_conf_exposed_mode(&st) != 0) {
        ssize_t n = read(fd, text, sizeof text);
        mode = n > 0 && memmem(text, (size_t)n, "PRIVATE KEY-----", 16) != NULL ? sl_conf_exposed_mode(&st) : 0;
        explicit_bzero(text, sizeof text);
    }
    close(fd);
    return mode;
}

/* What getpwnam_r() and the like say when there is no such entry differs: see the notes in getpwnam(3). */
static int look_up_error(int error)
{
    switch (error) {
    case 0:
    case ENOENT:
    case ESRCH:
    case EBADF:
    case EPERM:
        return ENOENT;
    default:
        return error;
    }
}

static int real_find_user(void *arg, const char *name, uid_t *ret_uid)
{
    (void)arg;
    for (size_t size = ENTRY_SIZE_MIN; size <= ENTRY_SIZE_MAX; size *= 4) {
        char *buf = malloc(size);
        if (buf == NULL)
            return ENOMEM;
        struct passwd entry, *found = NULL;
        int error = getpwnam_r(name, &entry, buf, size, &found);
        free(buf);
        if (found != NULL) {
            *ret_uid = entry.pw_uid;
            return 0;
        }
        if (error != ERANGE)
            return look_up_error(error);
    }
    return ERANGE;
}

static int real_find_group(void *arg, const char *name, gid_t *ret_gid)
{
    (void)arg;
    for (size_t size = ENTRY_SIZE_MIN; size <= ENTRY_SIZE_MAX; size *= 4) {
        char *buf = malloc(size);
        if (buf == NULL)
            return ENOMEM;
        struct group entry, *found = NULL;
        int error = getgrnam_r(name, &entry, buf, size, &found);
        free(buf);
        if (found != NULL) {
            *ret_gid = entry.gr_gid;
            return 0;
        }
        if (error != ERANGE)
            return look_up_error(error);
    }
    return ERANGE;
}

/* Fills in what the user database has about this process's user; it may have nothing. */
static int fill_own_user(struct real_world *real)
{
    char buf[16384];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(real->world.uid, &entry, buf, sizeof buf, &found) == 0 && found != NULL) {
        real->user = strdup(entry.pw_name);
        if (real->user == NULL)
            return SL_E_NOMEM;
    }
    const char *home = getenv("HOME");
    if ((home == NULL || home[0] != '/') && found != NULL)
        home = entry.pw_dir;
    if (home != NULL && home[0] == '/') {
        real->home = strdup(home);
        if (real->home == NULL)
            return SL_E_NOMEM;
    }
    return 0;
}

int sl_conf_world_new(struct sl_conf_world **ret_world)
{
    struct real_world *real = calloc(1, sizeof *real);
    if (real == NULL)
        return SL_E_NOMEM;
    real->world = (struct sl_conf_world){
        .uid = geteuid(),
        .env = real_env,
        .try_read = real_try_read,
        .exposed_mode = real_exposed_mode,
        .find_user = real_find_user,
        .find_group = real_find_group,
    };
    int status = fill_own_user(real);
    real->world.user = real->user;
    real->world.home = real->home;
    if (status != 0) {
        sl_conf_world_free(&real->world);
        return status;
    }
    *ret_world = &real->world;
    return 0;
}

void sl_conf_world_free(struct sl_conf_world *world)
{
    if (world == NULL)
        return;
    struct real_world *real = (struct real_world *)world; /* its first member */
    free(real->user);
    free(real->home);
    free(real);
}
