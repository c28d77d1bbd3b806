/* SPDX-License-Identifier: MIT */
/* Leases a connection, runs one command on it, prints what it wrote and gives the connection back.
 *
 *   cc run.c -o run $(pkg-config --cflags --libs sshlease) && ./run web1 uname -a
 */
#include <sshlease.h>

#include <stdio.h>
#include <string.h>

static int failed(struct sshlease *lease, int status)
{
    fprintf(stderr, "%s (%s)%s\n", lease != NULL ? sshlease_error(lease) : "out of memory",
        sshlease_status_name(status), sshlease_status_retryable(status) ? ": trying again later may help" : "");
    sshlease_free(lease); /* closes the socket: whatever still runs on the far side is ended */
    return 255;
}

int main(int argc, char **argv)
{
    struct sshlease *lease;
    struct sshlease_output output;
    char line[4096] = "";
    int status;
    if (argc < 3) {
        fprintf(stderr, "usage: %s TARGET COMMAND...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s%s", i > 2 ? " " : "", argv[i]);
    }

    if ((status = sshlease_open(NULL, 10000, &lease)) != 0)
        return failed(lease, status);

    const struct sshlease_acquire_options options = {.label = "example", .auto_renew = true};
    if ((status = sshlease_acquire(lease, argv[1], &options)) != 0)
        return failed(lease, status);

    const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = line};
    status = sshlease_run(lease, &command, NULL, 0, 0, SSHLEASE_FOREVER, &output);
    if (status != 0) {
        sshlease_output_fini(&output);
        return failed(lease, status);
    }
    fwrite(output.stdout_data, 1, output.stdout_len, stdout);
    fwrite(output.stderr_data, 1, output.stderr_len, stderr);
    if (output.result.how != SSHLEASE_EXITED) /* a signal, or nobody knows: not to be taken for success */
        fprintf(stderr, "the command did not exit: %s%s\n", output.result.signal, output.result.text);
    int exit_status = output.result.how == SSHLEASE_EXITED ? output.result.exit_status : 255;
    if (exit_status > 255) /* 256 would be taken for 0 */
        exit_status = 255;
    sshlease_output_fini(&output);

    if ((status = sshlease_release(lease)) != 0)
        return failed(lease, status);
    sshlease_free(lease);
    return exit_status;
}
