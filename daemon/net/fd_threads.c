/* SPDX-License-Identifier: MIT */
/* Each user has a lane: jobs and closes that wait, and so many of each at once. A thread takes what comes next from the
 * lanes in turn, and before it does what may take for ever it sees to it that another one stands by: what is stuck
 * holds up nobody while threads are left. Closes wait in the ledger, which has an entry for every descriptor's number,
 * so that closing needs no memory and cannot fail. A socket that lingers (SO_LINGER), or has one in its queue, waits
 * with signals on: it is interrupted every millisecond, upon which the kernel does the rest in the background. A file
 * system is not interrupted: an honest one may be writing. */
#include "daemon/net/fd_threads.h"

#include "proto/status.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* A thread that nobody needed for so long ends, but for one. */
#define IDLE_S 10
/* Name services are called on it. */
#define STACK_BYTES (512u * 1024u)
/* A user with closes waiting, of which none has ended for so long, is stalled. */
#define STALLED_MS 1000
#define NONE       (-1)

struct sl_fd_lane {
    TAILQ_ENTRY(sl_fd_lane) link;
    uid_t uid;
    TAILQ_HEAD(, sl_fd_job) jobs[SL_FD_CLASSES]; /* waiting */
    unsigned threads[SL_FD_CLASSES];             /* at it */
    int first, last;                             /* closes waiting, in the ledger; NONE */
    unsigned closes_waiting;
    uint64_t progress_ms;   /* when a close ended, or the first began to wait */
    pthread_mutex_t moment; /* sl_fd_threads_moment() */
};

struct entry {
    uid_t owner_plus_1; /* 0: nobody's */
    int next;           /* waiting for its close behind this one */
    bool counts;        /* as one of its owner's, until it is closed */
};

struct sl_fd_threads {
    pthread_mutex_t lock;
    pthread_cond_t work;
    void (*wake)(void *arg); /* NULL: nobody is there any more */
    void *arg;
    enum { THREADS_SERVE, THREADS_END, THREADS_LEFT } phase;
    unsigned threads;
    unsigned idle;      /* of them, those that start included */
    unsigned strangers; /* threads that work for others than root and ourselves */
    TAILQ_HEAD(, sl_fd_lane) lanes;
    struct sl_fd_lane common; /* where there is no memory for another one */
    TAILQ_HEAD(, sl_fd_job) done;
    unsigned closing;    /* closes waiting and under way */
    atomic_uint waiting; /* closes waiting; read without the lock */
    struct entry *ledger;
    int ledger_size;
    struct sl_quota *quota; /* NULL: descriptors are not counted; not to be touched once they are left */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- lanes -------------------------------------------------------------------------------------------------------- */

static struct sl_fd_lane *find_lane(struct sl_fd_threads *t, uid_t uid)
{
    struct sl_fd_lane *lane;
    TAILQ_FOREACH(lane, &t->lanes, link)
    {
        if (lane->uid == uid)
            return lane;
    }
    return NULL;
}

static void init_lane(struct sl_fd_lane *lane, uid_t uid)
{
    *lane = (struct sl_fd_lane){.uid = uid, .first = NONE, .last = NONE};
    for (int i = 0; i < SL_FD_CLASSES; i++)
        TAILQ_INIT(&lane->jobs[i]);
    (void)pthread_mutex_init(&lane->moment, NULL);
}

static struct sl_fd_lane *need_lane(struct sl_fd_threads *t, uid_t uid)
{
    struct sl_fd_lane *lane = find_lane(t, uid);
    if (lane != NULL)
        return lane;
    lane = malloc(sizeof *lane);
    if (lane == NULL)
        return &t->common;
    init_lane(lane, uid);
    TAILQ_INSERT_TAIL(&t->lanes, lane, link);
    return lane;
}

static void drop_lane_if_empty(struct sl_fd_threads *t, struct sl_fd_lane *lane)
{
    if (lane == &t->common || lane->closes_waiting > 0)
        return;
    for (int i = 0; i < SL_FD_CLASSES; i++)
        if (lane->threads[i] > 0 || !TAILQ_EMPTY(&lane->jobs[i]))
            return;
    TAILQ_REMOVE(&t->lanes, lane, link);
    (void)pthread_mutex_destroy(&lane->moment);
    free(lane);
}

/* They leave room for others. */
static bool is_stranger(const struct sl_fd_lane *lane)
{
    return sl_fd_is_strangers(lane->uid);
}

static bool has_thread_for(const struct sl_fd_threads *t, const struct sl_fd_lane *lane, enum sl_fd_class class)
{
    static const unsigned most[SL_FD_CLASSES] = {SL_FD_JOBS_PER_USER, SL_FD_CLOSES_PER_USER};
    return lane->threads[class] < most[class] &&
           (!is_stranger(lane) || t->strangers < SL_FD_THREADS_MAX - SL_FD_THREADS_KEPT);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void *in_thread(void *arg);

/* Its failure is made good by the next thread that is free, or the next that is wanted. */
static void start_thread(struct sl_fd_threads *t)
{
    pthread_attr_t attr;
    pthread_t thread;

    if (t->threads >= SL_FD_THREADS_MAX || pthread_attr_init(&attr) != 0)
        return;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (pthread_create(&thread, &attr, in_thread, t) == 0) {
        t->threads++;
        t->idle++;
    }
    (void)pthread_attr_destroy(&attr);
}

/* Something can be done. */
static void call_thread(struct sl_fd_threads *t)
{
    if (t->idle == 0)
        start_thread(t);
    else
        (void)pthread_cond_signal(&t->work);
}

static void begin(struct sl_fd_threads *t, struct sl_fd_lane *lane, enum sl_fd_class class)
{
    lane->threads[class]++;
    if (is_stranger(lane))
        t->strangers++;
    TAILQ_REMOVE(&t->lanes, lane, link); /* the others first, the next time */
    TAILQ_INSERT_TAIL(&t->lanes, lane, link);
    if (t->idle == 0)
        start_thread(t);
    (void)pthread_mutex_unlock(&t->lock);
}

static void finish(struct sl_fd_threads *t, struct sl_fd_lane *lane, enum sl_fd_class class)
{
    lane->threads[class]--;
    if (is_stranger(lane))
        t->strangers--;
    drop_lane_if_empty(t, lane);
}

static void uncount(struct sl_fd_threads *t, const struct entry *entry)
{
    if (entry->counts && t->phase != THREADS_LEFT)
        sl_quota_give(t->quota, entry->owner_plus_1 - 1, SL_QUOTA_DESCRIPTORS, 1);
}

static void close_it(int fd, const timer_t *timer)
{
    const struct itimerspec tick = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000}, none = {0};
    int type;
    socklen_t len = sizeof type;
    const bool interrupt = timer != NULL && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    if (interrupt)
        (void)timer_settime(*timer, 0, &tick, NULL);
    (void)close(fd);
    if (interrupt)
        (void)timer_settime(*timer, 0, &none, NULL);
}

static void close_next(struct sl_fd_threads *t, struct sl_fd_lane *lane, const timer_t *timer)
{
    const int fd = lane->first;
    const struct entry entry = t->ledger[fd];
    lane->first = entry.next;
    if (lane->first == NONE)
        lane->last = NONE;
    lane->closes_waiting--;
    atomic_fetch_sub(&t->waiting, 1);
    t->ledger[fd] = (struct entry){.owner_plus_1 = 0}; /* the number may be another's in a moment */
    begin(t, lane, SL_FD_CLOSE);
    close_it(fd, timer);
    (void)pthread_mutex_lock(&t->lock);
    uncount(t, &entry);
    lane->progress_ms = now_ms();
    if (--t->closing == 0 && t->phase == THREADS_END)
        t->wake(t->arg);
    finish(t, lane, SL_FD_CLOSE);
}

static void run_next(struct sl_fd_threads *t, struct sl_fd_lane *lane, enum sl_fd_class class, const timer_t *timer)
{
    struct sl_fd_job *job = TAILQ_FIRST(&lane->jobs[class]);
    const bool known = class == SL_FD_CLOSE && job->fd < t->ledger_size;
    const struct entry entry = known ? t->ledger[job->fd] : (struct entry){.owner_plus_1 = 0};
    if (known) /* as above */
        t->ledger[job->fd] = (struct entry){.owner_plus_1 = 0};
    TAILQ_REMOVE(&lane->jobs[class], job, link);
    job->state = SL_FD_JOB_RUNS;
    begin(t, lane, class);
    if (class == SL_FD_CLOSE)
        close_it(job->fd, timer);
    else
        job->run(job);
    (void)pthread_mutex_lock(&t->lock);
    uncount(t, &entry);
    if (t->phase != THREADS_LEFT) {
        TAILQ_INSERT_TAIL(&t->done, job, link);
        t->wake(t->arg);
    }
    finish(t, lane, class);
}

/* One thing. False: there is none that may be done now. */
static bool work_once(struct sl_fd_threads *t, const timer_t *timer)
{
    struct sl_fd_lane *lane;
    TAILQ_FOREACH(lane, &t->lanes, link)
    {
        if (lane->first != NONE && has_thread_for(t, lane, SL_FD_CLOSE)) {
            close_next(t, lane, timer);
            return true;
        }
        for (enum sl_fd_class i = SL_FD_WORK; i < SL_FD_CLASSES; i++) {
            if (!TAILQ_EMPTY(&lane->jobs[i]) && has_thread_for(t, lane, i)) {
                run_next(t, lane, i, timer);
                return true;
            }
        }
    }
    return false;
}

/* False: it has waited long enough, and another one stands by. */
static bool stand_by(struct sl_fd_threads *t)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    t->idle++;
    const int r = pthread_cond_timedwait(&t->work, &t->lock, &until);
    t->idle--;
    return r == 0 || t->idle == 0;
}

static void on_tick(int number)
{
    (void)number; /* that a system call was interrupted is all */
}

static int tick_signal(void)
{
    return SIGRTMIN + 6;
}

/* Signals for the process are for other threads. */
static bool make_timer(timer_t *ret_timer)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = tick_signal()};
    sigset_t all;

    (void)sigfillset(&all);
    (void)sigdelset(&all, tick_signal());
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    event.sigev_notify_thread_id = gettid();
    return timer_create(CLOCK_MONOTONIC, &event, ret_timer) == 0;
}

static void unlock_and_unref(struct sl_fd_threads *t)
{
    const bool last = t->phase == THREADS_LEFT && t->threads == 0;
    (void)pthread_mutex_unlock(&t->lock);
    if (!last)
        return;
    (void)pthread_mutex_destroy(&t->common.moment);
    (void)pthread_cond_destroy(&t->work);
    (void)pthread_mutex_destroy(&t->lock);
    free(t->ledger);
    free(t);
}

static void *in_thread(void *arg)
{
    struct sl_fd_threads *t = arg;
    timer_t timer;
    const bool has_timer = make_timer(&timer);

    (void)pthread_mutex_lock(&t->lock);
    t->idle--;
    do {
        while (t->phase != THREADS_LEFT && work_once(t, has_timer ? &timer : NULL))
            continue;
    } while (t->phase != THREADS_LEFT && stand_by(t));
    t->threads--;
    if (has_timer)
        (void)timer_delete(timer);
    unlock_and_unref(t);
    return NULL;
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

void sl_fd_threads_start(struct sl_fd_threads *t, struct sl_fd_job *job, uid_t uid)
{
    (void)pthread_mutex_lock(&t->lock);
    job->lane = need_lane(t, uid);
    job->state = SL_FD_JOB_WAITS;
    TAILQ_INSERT_TAIL(&job->lane->jobs[job->class], job, link);
    call_thread(t);
    (void)pthread_mutex_unlock(&t->lock);
}

bool sl_fd_threads_cancel(struct sl_fd_threads *t, struct sl_fd_job *job)
{
    (void)pthread_mutex_lock(&t->lock);
    const bool waits = job->state == SL_FD_JOB_WAITS;
    if (waits) {
        TAILQ_REMOVE(&job->lane->jobs[job->class], job, link);
        job->state = SL_FD_JOB_NONE;
        drop_lane_if_empty(t, job->lane);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return waits;
}

struct sl_fd_job *sl_fd_threads_done(struct sl_fd_threads *t)
{
    (void)pthread_mutex_lock(&t->lock);
    struct sl_fd_job *job = TAILQ_FIRST(&t->done);
    if (job != NULL) {
        TAILQ_REMOVE(&t->done, job, link);
        job->state = SL_FD_JOB_NONE;
    }
    (void)pthread_mutex_unlock(&t->lock);
    return job;
}

void sl_fd_threads_moment(struct sl_fd_lane *lane, bool begins)
{
    if (begins)
        (void)pthread_mutex_lock(&lane->moment);
    else
        (void)pthread_mutex_unlock(&lane->moment);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

int sl_fd_threads_own(struct sl_fd_threads *t, int fd, uid_t uid)
{
    if (fd >= t->ledger_size)
        return SL_E_LIMIT;
    struct entry *entry = &t->ledger[fd];
    int r = 0;
    (void)pthread_mutex_lock(&t->lock);
    uncount(t, entry); /* as somebody else's */
    if (t->quota != NULL)
        r = sl_quota_take(t->quota, uid, SL_QUOTA_DESCRIPTORS, 1);
    entry->counts = t->quota != NULL && r == 0;
    entry->owner_plus_1 = uid + 1;
    (void)pthread_mutex_unlock(&t->lock);
    if (r != 0)
        return SL_E_BUSY;
    return sl_fd_is_spare(fd) ? SL_E_LIMIT : 0;
}

void sl_fd_threads_account(struct sl_fd_threads *t, struct sl_quota *quota)
{
    (void)pthread_mutex_lock(&t->lock);
    t->quota = quota;
    (void)pthread_mutex_unlock(&t->lock);
}

uid_t sl_fd_threads_owner(struct sl_fd_threads *t, int fd)
{
    if (fd >= t->ledger_size)
        return SL_FD_NOBODY;
    (void)pthread_mutex_lock(&t->lock);
    const uid_t uid = t->ledger[fd].owner_plus_1 - 1;
    (void)pthread_mutex_unlock(&t->lock);
    return uid;
}

void sl_fd_threads_close(struct sl_fd_threads *t, int fd)
{
    if (fd >= t->ledger_size) {
        (void)close(fd); /* beyond every number that this process may have */
        return;
    }
    (void)pthread_mutex_lock(&t->lock);
    struct sl_fd_lane *lane = need_lane(t, t->ledger[fd].owner_plus_1 - 1);
    t->ledger[fd].next = NONE;
    if (lane->first == NONE) {
        lane->first = fd;
        lane->progress_ms = now_ms();
    } else {
        t->ledger[lane->last].next = fd;
    }
    lane->last = fd;
    lane->closes_waiting++;
    atomic_fetch_add(&t->waiting, 1);
    t->closing++;
    call_thread(t);
    (void)pthread_mutex_unlock(&t->lock);
}

bool sl_fd_threads_stalled(struct sl_fd_threads *t, uid_t uid)
{
    if (atomic_load_explicit(&t->waiting, memory_order_relaxed) == 0)
        return false; /* nearly always */
    (void)pthread_mutex_lock(&t->lock);
    const struct sl_fd_lane *lane = find_lane(t, uid);
    bool stalled = lane != NULL && lane->closes_waiting > 0 &&
                   (lane->closes_waiting >= SL_FD_CLOSES_WAITING || now_ms() - lane->progress_ms >= STALLED_MS);
    /* Many users together: those among them who have none waiting are not to be told apart from the next one's. */
    if (sl_fd_is_strangers(uid) && atomic_load(&t->waiting) >= (unsigned)t->ledger_size / 4)
        stalled = true;
    (void)pthread_mutex_unlock(&t->lock);
    return stalled;
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static int make_ledger(struct sl_fd_threads *t)
{
    struct rlimit files;
    rlim_t size = SL_FD_NUMBERS_MAX;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < size)
        size = files.rlim_cur;
    t->ledger_size = (int)size;
    t->ledger = calloc(size, sizeof *t->ledger); /* pages that are not used cost nothing */
    return t->ledger != NULL ? 0 : SL_E_NOMEM;
}

int sl_fd_threads_new(void (*wake)(void *arg), void *arg, struct sl_fd_threads **ret_threads)
{
    struct sl_fd_threads *t = calloc(1, sizeof *t);
    const struct sigaction action = {.sa_handler = on_tick};
    pthread_condattr_t attr;

    if (t == NULL || make_ledger(t) != 0) {
        free(t);
        return SL_E_NOMEM;
    }
    t->wake = wake;
    t->arg = arg;
    TAILQ_INIT(&t->lanes);
    TAILQ_INIT(&t->done);
    init_lane(&t->common, SL_FD_NOBODY);
    TAILQ_INSERT_TAIL(&t->lanes, &t->common, link);
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->work, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)sigaction(tick_signal(), &action, NULL);
    *ret_threads = t;
    return 0;
}

void sl_fd_threads_end(struct sl_fd_threads *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->phase = THREADS_END;
    (void)pthread_mutex_unlock(&t->lock);
}

unsigned sl_fd_threads_closing(struct sl_fd_threads *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const unsigned closing = t->closing;
    (void)pthread_mutex_unlock(&t->lock);
    return closing;
}

void sl_fd_threads_leave(struct sl_fd_threads *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->phase = THREADS_LEFT;
    t->wake = NULL;
    (void)pthread_cond_broadcast(&t->work);
    unlock_and_unref(t);
}
