/* SPDX-License-Identifier: MIT */
/* parts.h - what a configuration is made of: texts, lists of them, identities, the places of secrets. Knows
 * neither targets nor settings. */
#ifndef SSHLEASE_CONFIG_PARTS_H
#define SSHLEASE_CONFIG_PARTS_H

#include <stdbool.h>
#include <stddef.h>

/* Where a secret comes from; never the secret itself. It is read when a connection is dialed, off the loop. */
enum sl_secret_kind { SL_SECRET_NONE, SL_SECRET_FILE, SL_SECRET_ENV, SL_SECRET_CREDENTIAL };
struct sl_secret {
    enum sl_secret_kind kind;
    char *name; /* a path, a variable's name, or a systemd credential's name (under $CREDENTIALS_DIRECTORY) */
};

struct sl_identity {
    char *file;             /* private key, absolute path, ~ already expanded */
    char *certificate_file; /* NULL: FILE-cert.pub is used where it exists */
};

struct sl_strv { /* a list of strings */
    char **item;
    size_t count;
};

/* What two ends of SSH agree on, and what a key is accepted by. */
enum sl_algorithm_kind {
    SL_ALGORITHM_KEX,
    SL_ALGORITHM_HOST_KEY,
    SL_ALGORITHM_CIPHER,
    SL_ALGORITHM_MAC,
    SL_ALGORITHM_PUBKEY,
};
#define SL_ALGORITHM_KINDS 5u
/* The setting that is about it: "macs". Static. */
const char *sl_algorithm_setting(enum sl_algorithm_kind kind);

/* What the SSH library of this build has of each kind. */
struct sl_algorithms {
    struct sl_strv has[SL_ALGORITHM_KINDS];        /* all that a target may name */
    struct sl_strv by_default[SL_ALGORITHM_KINDS]; /* of these, what is offered where a target names none; best first */
};
void sl_algorithms_fini(struct sl_algorithms *algorithms);

/* What a target says of one kind. */
struct sl_algorithm_choice {
    char *names;   /* all that is offered, comma-separated, best first; NULL: the defaults */
    bool in_order; /* the order is the user's own */
};

/* The same text, or both NULL. */
bool sl_text_equal(const char *a, const char *b);

/* All of these: 0 or SL_E_NOMEM, and on failure nothing has changed but that `take` has freed what it was given. */
int sl_strv_add(struct sl_strv *list, const char *text); /* a copy of it */
int sl_strv_take(struct sl_strv *list, char *text);      /* the text itself, from malloc() */
int sl_strv_copy(const struct sl_strv *list, struct sl_strv *ret_list);
void sl_strv_fini(struct sl_strv *list);
bool sl_strv_equal(const struct sl_strv *a, const struct sl_strv *b);

void sl_identities_free(struct sl_identity *identity, size_t count);
void sl_secret_fini(struct sl_secret *secret);

#endif
