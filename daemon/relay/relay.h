/* SPDX-License-Identifier: MIT */
/* relay.h - joins a stream of a lease with up to three descriptors: bytes with credit both ways, ends, the order of
 * closing. Knows no client protocol. */
#ifndef SSHLEASE_RELAY_RELAY_H
#define SSHLEASE_RELAY_RELAY_H

#include "daemon/net/watch.h"
#include "daemon/ssh/streams.h"

struct sl_relay;

struct sl_relay_handler {
    /* The server said yes (status 0) or no (on_end follows at once). Nothing is read from fd[0] before this returned.
     */
    void (*on_open)(void *arg, int status, const char *text);
    /* What the stream says while the relay has no descriptors; `len` 0: EOF, which is remembered for them. NULL for a relay
     * that is made with them. */
    void (*on_early)(void *arg, const uint8_t *data, size_t len);
    /* What was read from fd[0], before it goes to the server: what shall go is given to sl_relay_input() from within
     * the call, SL_RELAY_INPUT_EXTRA bytes more than `len` at most. NULL: all of it goes. */
    void (*on_input)(void *arg, const uint8_t *data, size_t len);
    /* Nobody takes standard output any more (SL_E_CLIENT_GONE; a command's is dropped for a while first), or it cannot
     * be written (SL_E_IO): the stream is being closed, unless it has ended already; on_end follows in either case.
     * NULL: not told. */
    void (*on_broken)(void *arg, int status, const char *text);
    /* The stream has ended. What is given to sl_relay_say() now is written behind its output. NULL: not told. */
    void (*on_result)(void *arg, const struct sl_stream_result *result);
    /* The stream has ended, its output is written, the descriptors are closed: the last callback. The relay is gone
     * when it returns. `result` is valid during the callback. */
    void (*on_end)(void *arg, const struct sl_stream_result *result);
};

/* Input a filter may hold back from one on_input() and give with the next. */
#define SL_RELAY_INPUT_EXTRA 64u

/* How: bits. */
#define SL_RELAY_SHUTDOWN 1u /* fd[1], a socket, is shut down for writing at the end of output */
#define SL_RELAY_COMMAND  2u /* a command writes the output: it goes on for a while when nobody reads it any more */

/* A relay between a stream that is still to be opened and the descriptors `fd`: its input, output and error output. -1:
 * none: no input (the stream gets EOF), output that is dropped. On success the descriptors are taken over. The stream is
 * opened for `sl_relay_stream_handler` with the relay as its argument, and with SL_RELAY_CREDIT; then the relay takes it.
 * A relay without a stream is freed by sl_relay_free() or sl_relay_disown(). 0 or SL_E_NOMEM, or what is wrong with a
 * descriptor. */
#define SL_RELAY_CREDIT 262144u
extern const struct sl_stream_handler sl_relay_stream_handler;
int sl_relay_new(struct sl_watch *watch, const int fd[3], unsigned how, const struct sl_relay_handler *handler,
    void *arg, struct sl_relay **ret_relay);
void sl_relay_take_stream(struct sl_relay *relay, struct sl_stream *stream);
/* A relay whose descriptors come later: its stream is accepted with `credit` for on_early(). */
int sl_relay_new_apart(struct sl_watch *watch, size_t credit, unsigned how, const struct sl_relay_handler *handler,
    void *arg, struct sl_relay **ret_relay);
/* Its descriptors, as of sl_relay_new(), and what on_early() was given and is to be written to fd[1]; the stream gets the
 * rest of SL_RELAY_CREDIT. Not after on_result(). When it fails, the relay is as it was. */
int sl_relay_attach(struct sl_relay *relay, const int fd[3], const void *data, size_t len);
/* Its stream could not be opened: gives the descriptors back as they were, and frees it. */
void sl_relay_disown(struct sl_relay *relay);

/* Input that is not from fd[0], or passed on by on_input(). Dropped once the input or the stream has ended. */
void sl_relay_input(struct sl_relay *relay, const void *data, size_t len);
/* Ends the stream's input as the end of fd[0] would. */
void sl_relay_input_eof(struct sl_relay *relay);
/* Writes a text to the client's error output (its output where it has none), behind what was written before. */
void sl_relay_say(struct sl_relay *relay, const char *text);
void sl_relay_signal(struct sl_relay *relay, const char *name);
void sl_relay_resize(struct sl_relay *relay, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px);
/* The client wants no more of it: as sl_stream_close(); output is dropped. on_end follows. */
void sl_relay_close(struct sl_relay *relay);
/* The same, once what was given to sl_relay_input() is sent. */
void sl_relay_close_sent(struct sl_relay *relay);

/* For a relay without a stream, or whose stream does not call any more: no more input, what was given is written, the
 * descriptors are closed, then on_end with a NULL result. */
void sl_relay_finish(struct sl_relay *relay);

/* As sl_relay_finish(), but without waiting and without callback: of what is not written only what goes to a file is
 * written still. The relay must have no stream that still calls. Legal from its own callbacks but on_end. NULL is fine.
 */
void sl_relay_free(struct sl_relay *relay);

#endif
