/* SPDX-License-Identifier: MIT */
/* inotify on one directory, and a timer for what it does not tell; both call the same look, never too often. */
#include "daemon/net/dir_watch.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Between two looks that changes have caused: others may change things there all the time. */
#define PAUSE_MS 100u

struct sl_dir_watch {
    uv_fs_event_t event;
    uv_timer_t timer; /* the next look */
    unsigned handles; /* not yet closed */
    sl_dir_watch_fn fn;
    void *arg;
    uint64_t every_ms;
    uint64_t looked_ms;
    enum { WATCH_WELL, WATCH_SOON, WATCH_MISSING } state; /* the timer runs for it */
    bool freed;
    dev_t device; /* of what is watched */
    ino_t inode;
    char directory[];
};

static void look(struct sl_dir_watch *w);

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

static void look_in(struct sl_dir_watch *w, uint64_t ms)
{
    (void)uv_timer_start(&w->timer, on_timer, ms, 0);
}

/* A look soon. */
static void look_soon(struct sl_dir_watch *w)
{
    const uint64_t since = uv_now(w->timer.loop) - w->looked_ms;
    if (w->state != WATCH_WELL)
        return;
    w->state = WATCH_SOON;
    look_in(w, since >= PAUSE_MS ? 0 : PAUSE_MS - since);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    look_soon(event->data);
}

/* The directory may be another one by now. Before the look, so that no change comes between. */
static void watch_it(struct sl_dir_watch *w)
{
    struct stat st;
    if (stat(w->directory, &st) != 0)
        st.st_ino = 0; /* no directory has it */
    if (st.st_ino != 0 && uv_is_active((uv_handle_t *)&w->event) && st.st_dev == w->device && st.st_ino == w->inode)
        return;
    (void)uv_fs_event_stop(&w->event);
    if (st.st_ino == 0 || uv_fs_event_start(&w->event, on_event, w->directory, 0) != 0)
        return; /* the timer will do */
    w->device = st.st_dev;
    w->inode = st.st_ino;
}

static void look(struct sl_dir_watch *w)
{
    watch_it(w);
    w->looked_ms = uv_now(w->timer.loop);
    w->state = WATCH_SOON; /* what `fn` itself changes is no news */
    const bool well = w->fn(w->arg);
    if (w->freed)
        return;
    w->state = well ? WATCH_WELL : WATCH_MISSING;
    look_in(w, well || w->every_ms < SL_DIR_WATCH_MISSING_MS ? w->every_ms : SL_DIR_WATCH_MISSING_MS);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_dir_watch *w = handle->data;
    if (--w->handles == 0)
        free(w);
}

int sl_dir_watch_new(uv_loop_t *loop, const char *directory, uint64_t every_ms, sl_dir_watch_fn fn, void *arg,
    struct sl_dir_watch **ret_watch)
{
    struct sl_dir_watch *w = calloc(1, sizeof *w + strlen(directory) + 1);
    if (w == NULL)
        return SL_E_NOMEM;
    memcpy(w->directory, directory, strlen(directory) + 1);
    w->fn = fn;
    w->arg = arg;
    w->every_ms = every_ms;
    (void)uv_fs_event_init(loop, &w->event);
    (void)uv_timer_init(loop, &w->timer);
    w->event.data = w->timer.data = w;
    w->handles = 2;
    w->state = WATCH_SOON;
    look_in(w, 0);
    uv_unref((uv_handle_t *)&w->event);
    uv_unref((uv_handle_t *)&w->timer);
    *ret_watch = w;
    return 0;
}

void sl_dir_watch_free(struct sl_dir_watch *w)
{
    if (w == NULL)
        return;
    w->freed = true;
    uv_close((uv_handle_t *)&w->event, on_handle_closed);
    uv_close((uv_handle_t *)&w->timer, on_handle_closed);
}

const char *sl_dir_watch_directory(const struct sl_dir_watch *w)
{
    return w->directory;
}
