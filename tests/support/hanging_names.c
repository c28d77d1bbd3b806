/* SPDX-License-Identifier: MIT */
/* For LD_PRELOAD: name services that hang while the directory $HANGING_NAMES has a file of that name: "users",
 * "groups", or a host's. For 60 seconds at most. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void hang(const char *what)
{
    const char *directory = getenv("HANGING_NAMES");
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory != NULL ? directory : "/nonexistent", what);
    for (int i = 0; i < 600 && access(path, F_OK) == 0; i++)
        (void)usleep(100000);
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *buf, size_t size, struct passwd **ret)
{
    int (*real)(uid_t, struct passwd *, char *, size_t, struct passwd **);
    *(void **)&real = dlsym(RTLD_NEXT, "getpwuid_r");
    hang("users");
    return real(uid, entry, buf, size, ret);
}

int getpwnam_r(const char *name, struct passwd *entry, char *buf, size_t size, struct passwd **ret)
{
    int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **);
    *(void **)&real = dlsym(RTLD_NEXT, "getpwnam_r");
    hang("users");
    return real(name, entry, buf, size, ret);
}

int getgrnam_r(const char *name, struct group *entry, char *buf, size_t size, struct group **ret)
{
    int (*real)(const char *, struct group *, char *, size_t, struct group **);
    *(void **)&real = dlsym(RTLD_NEXT, "getgrnam_r");
    hang("groups");
    return real(name, entry, buf, size, ret);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0)
        hang(host);
    return real(host, service, hints, ret);
}
