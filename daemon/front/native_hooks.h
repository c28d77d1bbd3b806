/* native_hooks.h - what the native front end asks of the application: to read the configuration again. */
#ifndef SSHLEASE_FRONT_NATIVE_HOOKS_H
#define SSHLEASE_FRONT_NATIVE_HOOKS_H

/* The answer to a reload: 0, or a status with all that is wrong in `text`. */
typedef void (*sl_native_reloaded_fn)(void *arg, int status, const char *text);

struct sl_native_hooks {
    /* An admin wants the configuration read again. 0: `done` is called exactly once, not before this has returned. Or a
     * status: it is not. */
    int (*reload)(void *arg, sl_native_reloaded_fn done, void *done_arg);
    void *arg;
};

#endif
