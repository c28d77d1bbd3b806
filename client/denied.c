/* SPDX-License-Identifier: MIT */
/* What is said to who may not connect: whom the socket is for. */
#include "client/handle.h"

#include "proto/status.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_MAX  4096u
#define GROUPS_MAX 256

static void name_of(gid_t gid, char *name, size_t size)
{
    struct group entry, *found = NULL;
    char room[ENTRY_MAX];
    if (getgrgid_r(gid, &entry, room, sizeof room, &found) == 0 && found != NULL)
        snprintf(name, size, "%s", found->gr_name);
    else
        snprintf(name, size, "%u", (unsigned)gid); /* a group of many members, too: it is too long for the room */
}

/* A group that was joined since the login is in the database, but not yet ours. */
static bool is_joined(gid_t gid)
{
    struct passwd entry, *found = NULL;
    char room[ENTRY_MAX];
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;
    if (group_member(gid) || getpwuid_r(geteuid(), &entry, room, sizeof room, &found) != 0 || found == NULL ||
        getgrouplist(found->pw_name, found->pw_gid, groups, &count) < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

int sl_link_denied(struct sshlease *lease, const char *path)
{
    struct stat st;
    char group[64];
    if (stat(path, &st) != 0 || (st.st_mode & (S_IRGRP | S_IWGRP)) != (S_IRGRP | S_IWGRP))
        return sl_loop_end(lease, SL_E_NOT_ALLOWED, "no permission to connect to %s", path);
    name_of(st.st_gid, group, sizeof group);
    return sl_loop_end(lease, SL_E_NOT_ALLOWED, "no permission to connect to %s, which is for the group %s%s", path,
        group, is_joined(st.st_gid) ? " (you are in it from your next login on)" : "");
}
