/* SPDX-License-Identifier: MIT */
/* The same through libsshlease: `true` on a lease held all the time (run), on one taken anew each time (lease-run), and
 * leasing by itself (lease). */
#include "tests/bench/batch.h"

#include "client/sshlease.h"

#include <stdio.h>

struct contestant {
    struct sshlease *lease;
    const char *target;
};

static int fail(const struct contestant *c, const char *what)
{
    fprintf(stderr, "lease_loop: %s: %s\n", what, sshlease_error(c->lease));
    return -1;
}

static int acquire(struct contestant *c)
{
    return sshlease_acquire(c->lease, c->target, NULL) == 0 ? 0 : fail(c, "acquire");
}

static int release(struct contestant *c)
{
    return sshlease_release(c->lease) == 0 ? 0 : fail(c, "release");
}

static int run(struct contestant *c)
{
    static const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "true"};
    struct sshlease_output output = {0};
    int status = sshlease_run(c->lease, &command, NULL, 0, 0, SSHLEASE_FOREVER, &output);
    if (status != 0)
        return fail(c, "run");
    if (output.result.how != SSHLEASE_EXITED || output.result.exit_status != 0) {
        fprintf(stderr, "lease_loop: true failed: %s\n", output.result.text);
        status = -1;
    }
    sshlease_output_fini(&output);
    return status;
}

static int work_run(void *arg)
{
    struct contestant *c = arg;
    if (sshlease_id(c->lease) == 0 && acquire(c) != 0)
        return -1;
    return run(c);
}

static int work_lease(void *arg)
{
    struct contestant *c = arg;
    if (sshlease_id(c->lease) != 0 && release(c) != 0)
        return -1;
    return acquire(c) == 0 ? release(c) : -1;
}

static int work_lease_run(void *arg)
{
    struct contestant *c = arg;
    if (sshlease_id(c->lease) != 0 && release(c) != 0)
        return -1;
    return acquire(c) == 0 && run(c) == 0 ? release(c) : -1;
}

int main(int argc, char **argv)
{
    static const struct batch_work works[] = {
        {"run", work_run}, {"lease", work_lease}, {"lease-run", work_lease_run}, {NULL, NULL}};
    struct contestant c = {0};
    int code;
    if (argc != 3) {
        fprintf(stderr, "usage: lease_loop SOCKET TARGET\n");
        return 2;
    }
    c.target = argv[2];
    if (sshlease_open(argv[1], 10000, &c.lease) != 0) {
        fail(&c, "open");
        return 1;
    }
    code = batch_serve(works, &c);
    sshlease_free(c.lease);
    return code;
}
