/* SPDX-License-Identifier: MIT */
/* A client's identity owns its list of groups: the copy of one, and its end. */
#include "base/who.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

int sl_who_copy(const struct sl_who *who, struct sl_who *ret_who)
{
    gid_t *gid = NULL;
    *ret_who = *who;
    ret_who->gid = NULL;
    ret_who->gid_count = 0;
    if (who->gid_count == 0)
        return 0;
    gid = malloc(who->gid_count * sizeof *gid);
    if (gid == NULL)
        return SL_E_NOMEM;
    memcpy(gid, who->gid, who->gid_count * sizeof *gid);
    ret_who->gid = gid;
    ret_who->gid_count = who->gid_count;
    return 0;
}

void sl_who_fini(struct sl_who *who)
{
    free((void *)who->gid);
    *who = (struct sl_who){.uid = (uid_t)-1};
}
