/* SPDX-License-Identifier: MIT */
/* A daemon that is restarted is no error to who has sent nothing yet. What makes another try worth it:
 *   it said that it was shutting down                  the successor is due when it has ended: SUCCESSOR_MS
 *   it closed without a word                           it may have ended with us in its queue, and systemd listens on
 *   nobody listens, and a file says that one has left  it has ended a moment ago, to be started again: SL_LEFT_MS
 * Where none of these is so, the first failure is the last. */
#include "client/handle.h"

#include "proto/status.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SUCCESSOR_MS   5000
#define GONE_MS        2000
#define FIRST_PAUSE_MS 10
#define PAUSE_MAX_MS   400

int64_t sl_left_ms(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    char left[sizeof((struct sockaddr_un *)NULL)->sun_path + 16];
    struct timespec now;
    struct stat st;
    snprintf(left, sizeof left, "%.*s" SL_MSG_LEFT_FILE, (int)(name - path), path, name);
    if (lstat(left, &st) != 0 || clock_gettime(CLOCK_REALTIME, &now) != 0)
        return SL_NEVER;
    const int64_t ago_ms =
        ((int64_t)now.tv_sec - st.st_mtim.tv_sec) * 1000 + (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000;
    return ago_ms >= 0 ? ago_ms : SL_NEVER;
}

/* Until when another try is worth it; 0: it is not. */
static int64_t worth_until_ms(struct sl_patience *patience, const char *path, int status, int64_t now_ms)
{
    int64_t left_ms;
    switch (status) {
    case SL_E_SHUTDOWN:
        patience->until_ms = now_ms + SUCCESSOR_MS;
        return patience->until_ms;
    case SL_E_DAEMON_GONE:
        if (patience->gone_ms == 0)
            patience->gone_ms = now_ms + GONE_MS;
        return patience->gone_ms;
    case SL_E_NO_DAEMON:
        left_ms = sl_left_ms(path);
        if (left_ms < SL_LEFT_MS && patience->until_ms < now_ms + SL_LEFT_MS - left_ms)
            patience->until_ms = now_ms + SL_LEFT_MS - left_ms;
        return patience->until_ms;
    default:
        return 0;
    }
}

/* That nobody listens is not what went wrong where somebody did before. */
static void tell_first(const struct sl_patience *patience, struct sshlease *lease, int *status)
{
    if (*status != SL_E_NO_DAEMON || patience->first_status == SL_E_NO_DAEMON)
        return;
    *status = sl_refuse(lease, patience->first_status, "%s%s", patience->first,
        patience->first_status == SL_E_SHUTDOWN ? "; no other came" : "");
    lease->link.ended_status = *status;
}

bool sl_patience_lasts(struct sl_patience *patience, struct sshlease *lease, int *status)
{
    const int64_t now_ms = sl_now_ms(), until_ms = worth_until_ms(patience, lease->path, *status, now_ms);
    if (patience->first_status == 0) {
        patience->first_status = *status;
        snprintf(patience->first, sizeof patience->first, "%.500s", lease->error);
    }
    if (until_ms <= now_ms || patience->deadline_ms <= now_ms) {
        tell_first(patience, lease, status);
        return false;
    }
    patience->pause_ms = patience->pause_ms == 0                 ? FIRST_PAUSE_MS
                         : patience->pause_ms < PAUSE_MAX_MS / 2 ? patience->pause_ms * 2
                                                                 : PAUSE_MAX_MS;
    const int64_t left_ms = (until_ms < patience->deadline_ms ? until_ms : patience->deadline_ms) - now_ms;
    (void)poll(NULL, 0, left_ms < patience->pause_ms ? (int)left_ms : patience->pause_ms);
    return true;
}
