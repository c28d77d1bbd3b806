/* SPDX-License-Identifier: MIT */
/* reader.h - the state of a reading, what the readers of values share, and their list. Beyond the state, for
 * config/read*.c only. */
#ifndef SSHLEASE_CONFIG_READER_H
#define SSHLEASE_CONFIG_READER_H

#include "config/node.h"
#include "config/setting.h"
#include "config/world.h"

#include <sys/un.h>

/* The bytes of a Unix socket's path, without the NUL. */
#define SL_SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

struct sl_conf_reader {
    struct sl_doc *doc;
    struct sl_problems *problems;
    const struct sl_conf_world *world;
    bool allowed_by_default;     /* `allow` stands in defaults */
    struct sl_strv certificates; /* certificate_file of the target being read, until they join its identities */
};

/* Notes that memory ran out. False, for the reader to return; so with the next two. */
bool sl_read_out_of_memory(struct sl_conf_reader *r);

/* Adds "KEY what is wrong; what would be right" at the node; what would be right comes from the settings table. */
bool sl_read_refuse(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool sl_read_refuse_with(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Where the setting is kept. */
void *sl_read_member(const struct sl_setting *s, void *base);

/* The text of a plain or quoted node, borrowed from the document; or NULL and a problem. */
const char *sl_read_text(struct sl_conf_reader *r, const struct sl_setting *s, int node);

/* The items of a list, or the one node that is none; 0 after the last. */
int sl_read_nth(const struct sl_conf_reader *r, int node, size_t i);

/* Replaces the text in `*slot`, from malloc(), by a copy of `text`. */
bool sl_read_keep_text(struct sl_conf_reader *r, char **slot, const char *text);

/* A reader takes a value into its member of `base`, which stays as it was when that fails. False, with a problem added,
 * when the value is not right. */
typedef bool (*sl_read_fn)(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);

/* config/read_files.c */
bool sl_read_identities(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_certificates(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_known_hosts(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_socket_path(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_socket_directory(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_agent(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_secret_file(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_secret_env(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_secret_credential(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);

/* config/read.c */
bool sl_read_algorithms(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_users(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_groups(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);
bool sl_read_group(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);

#endif
