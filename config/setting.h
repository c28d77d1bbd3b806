/* SPDX-License-Identifier: MIT */
/* setting.h - the table of all settings: what each is called, takes, defaults to and where it is kept. The one
 * source for reading, defaults, range checks, messages, comparison, and (through tests) the man page. Pure. */
#ifndef SSHLEASE_CONFIG_SETTING_H
#define SSHLEASE_CONFIG_SETTING_H

#include "config/conf.h"

enum sl_setting_kind {
    SL_SETTING_COUNT,             /* whole number into an unsigned integer */
    SL_SETTING_DURATION,          /* into milliseconds */
    SL_SETTING_CHOICE,            /* a word into an enum or bool: its index in `choice` */
    SL_SETTING_HOST_KEY_CHECKING, /* like CHOICE, and says why there is no "off" */
    SL_SETTING_MODE,              /* quoted octal digits into mode_t */
    SL_SETTING_HOST,              /* texts into char * */
    SL_SETTING_USER,
    SL_SETTING_SOCKET_PATH,
    SL_SETTING_SOCKET_DIRECTORY,
    SL_SETTING_AGENT,
    SL_SETTING_IDENTITIES,
    SL_SETTING_CERTIFICATES,
    SL_SETTING_USER_KNOWN_HOSTS,
    SL_SETTING_GLOBAL_KNOWN_HOSTS,
    SL_SETTING_PATTERNS, /* texts into struct sl_strv */
    SL_SETTING_DESTINATIONS,
    SL_SETTING_ALGORITHMS, /* texts into struct sl_algorithm_choice */
    SL_SETTING_SECRET,     /* mappings */
    SL_SETTING_ALLOW,
    SL_SETTING_USERS, /* lists of names into numbers */
    SL_SETTING_GROUPS,
    SL_SETTING_GROUP,
    SL_SETTING_SECRET_FILE, /* the ways to name a secret */
    SL_SETTING_SECRET_ENV,
    SL_SETTING_SECRET_CREDENTIAL,
    SL_SETTING_SECTION, /* the node itself, for its own reader */
};

struct sl_setting {
    const char *key;
    enum sl_setting_kind kind;
    size_t offset;             /* of the member in the section's struct */
    size_t size;               /* numbers and choices: the member's */
    uint64_t min, max;         /* numbers, modes: the range; a duration of 0 needs `zero` besides */
    uint64_t fallback;         /* numbers and choices: the default */
    const char *zero;          /* durations: what 0 means, where it may be given */
    const char *const *choice; /* the words, up to a NULL */
    const char *right;         /* other kinds: "give ..." */
};

/* One mapping of the file: its settings and the struct that they are kept in. */
struct sl_section {
    const char *name; /* for messages */
    const struct sl_setting *setting;
    size_t count;
};
#define SL_SECTION_SETTINGS_MAX 48u

extern const struct sl_section sl_section_top;    /* struct sl_conf_top */
extern const struct sl_section sl_section_listen; /* struct sl_listen_conf */
extern const struct sl_section sl_section_mux;    /* struct sl_mux_conf */
extern const struct sl_section sl_section_limits; /* struct sl_limits */
extern const struct sl_section sl_section_target; /* struct sl_target_conf; `defaults` and each target */
extern const struct sl_section sl_section_access; /* struct sl_conf_access; `allow` and `admin` */
extern const struct sl_section sl_section_secret; /* struct sl_secret */

/* Where the sections of a file stand: nodes of a struct sl_doc. */
struct sl_conf_top {
    int listen, mux, limits, defaults, targets, admin;
};

/* The users and groups that are named; the holder owns the arrays. */
struct sl_conf_access {
    uid_t *uid;
    size_t uid_count;
    gid_t *gid;
    size_t gid_count;
};

/* The setting of that key, or NULL. */
const struct sl_setting *sl_section_find(const struct sl_section *section, const char *key);

/* Whether host, port or the like: it makes no sense in `defaults`. */
bool sl_setting_target_only(const struct sl_setting *setting);

/* Numbers and choices: the value as a number, whatever the size of the member. */
bool sl_setting_is_number(const struct sl_setting *setting);
uint64_t sl_setting_get(const struct sl_setting *setting, const void *base);
void sl_setting_set(const struct sl_setting *setting, void *base, uint64_t value);

/* Sets every number and choice of the section to its default. */
void sl_section_set_defaults(const struct sl_section *section, void *base);

/* A number or choice as it would be written in the file. Returns `buf`. */
#define SL_SETTING_VALUE_SIZE 48u
const char *sl_setting_format(const struct sl_setting *setting, uint64_t value, char buf[SL_SETTING_VALUE_SIZE]);

/* What would be right, for messages: "give a whole number from 1 to 64". Returns `buf`. */
#define SL_SETTING_RIGHT_SIZE 192u
const char *sl_setting_right(const struct sl_setting *setting, char buf[SL_SETTING_RIGHT_SIZE]);

/* The range alone, for documents: "1 to 64", "1s to 24h or 0", "yes or accept-new"; "" for kinds without one. */
const char *sl_setting_range(const struct sl_setting *setting, char buf[SL_SETTING_RIGHT_SIZE]);

#endif
