#include "daemon/front/mux_forward.h"
#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

/* A longer command line is not judged. */
#define COMMAND_LINE_MAX 16384u

/* ssh's options that take no argument: what follows them in a word are options as well. */
static const char plain_options[] = "46AaCfGgKkMNnqsTtVvXxYy12";

/* Whether `word`, `len` bytes, may be the one with -O in it. */
static bool may_be_control(const char *word, size_t len)
{
    size_t i = 1;

    if (len < 2 || word[0] != '-')
        return false;
    while (i < len && strchr(plain_options, word[i]) != NULL)
        i++;
    return i < len && word[i] == 'O';
}

enum sl_forward_asker sl_forward_asker_of(const char *line)
{
    enum sl_forward_asker asker = line[0] != '\0' ? SL_ASKER_SESSION : SL_ASKER_UNKNOWN;

    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        if (may_be_control(line, len)) {
            const char *verb = memchr(line, 'O', len);
            verb++;
            verb += strspn(verb, " ");
            return strncmp(verb, "forward", 7) == 0 && (verb[7] == ' ' || verb[7] == '\0') ? SL_ASKER_CONTROL
                                                                                           : SL_ASKER_UNKNOWN;
        }
        line += len;
        line += strspn(line, " ");
    }
    return asker;
}

struct sl_forward_look {
    uv_work_t work;
    struct sl_mux_forwards *fs; /* NULL: cancelled */
    void (*done)(struct sl_mux_forwards *fs);
    pid_t pid;
    uint64_t start_time;
    char line[COMMAND_LINE_MAX];
};

static void on_work(uv_work_t *work)
{
    struct sl_forward_look *look = work->data;

    sl_peer_command_line(look->pid, look->start_time, look->line, sizeof look->line);
}

static void on_worked(uv_work_t *work, int status)
{
    struct sl_forward_look *look = work->data;
    struct sl_mux_forwards *fs = look->fs;

    if (fs != NULL) {
        fs->look = NULL;
        fs->looked = SL_ASKER_LOOKED;
        if (status == 0 && strlen(look->line) < sizeof look->line - 1) /* else there may be more of it */
            fs->asker = sl_forward_asker_of(look->line);
        look->done(fs);
    }
    free(look);
}

int sl_forward_look(struct sl_mux_forwards *fs, void (*done)(struct sl_mux_forwards *fs))
{
    struct sl_forward_look *look = calloc(1, sizeof *look);

    if (look == NULL)
        return SL_E_NOMEM;
    look->work.data = look;
    look->fs = fs;
    look->done = done;
    look->pid = fs->client->peer.pid;
    look->start_time = fs->client->peer.start_time;
    if (uv_queue_work(fs->client->mux->loop, &look->work, on_work, on_worked) != 0) {
        free(look);
        return SL_E_NOMEM;
    }
    fs->look = look;
    return SL_OK;
}

void sl_forward_look_cancel(struct sl_forward_look *look)
{
    if (look == NULL)
        return;
    look->fs = NULL;
    (void)uv_cancel((uv_req_t *)&look->work); /* where it runs already it is not waited for */
}
