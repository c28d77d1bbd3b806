/* SPDX-License-Identifier: MIT */
/* node.h - a YAML text as nodes with places; the only one that knows libyaml. Does not know what settings mean. */
#ifndef SSHLEASE_CONFIG_NODE_H
#define SSHLEASE_CONFIG_NODE_H

#include "config/problem.h"

/* No configuration is deeper: targets, one of them, its allow, the users, a user. */
#define SL_DOC_DEPTH_MAX 16u
#define SL_DOC_BYTES_MAX ((size_t)1024 * 1024)

struct sl_doc;

enum sl_node_type {
    SL_NODE_NULL,   /* nothing, null or ~ */
    SL_NODE_PLAIN,  /* a text without quotes; a number too */
    SL_NODE_QUOTED, /* a text in quotes, or a block of text */
    SL_NODE_LIST,
    SL_NODE_MAP,
};

/* Reads the one document in `text`. Aliases, tags, further documents, depth beyond SL_DOC_DEPTH_MAX, control characters
 * and more than SL_DOC_BYTES_MAX are problems. 0 and a document, which the caller closes; SL_E_CONFIG when there is
 * none to go on with, with a problem added that says why; SL_E_NOMEM. `problems` is borrowed for the document's life.
 */
int sl_doc_open(const void *text, size_t len, struct sl_problems *problems, struct sl_doc **ret_doc);
void sl_doc_close(struct sl_doc *doc); /* NULL is fine */

/* Nodes have numbers from 1; 0 is none. */
int sl_doc_root(const struct sl_doc *doc);
enum sl_node_type sl_node_type(const struct sl_doc *doc, int node);
struct sl_mark sl_node_mark(const struct sl_doc *doc, int node);

/* The text of a plain or quoted node; "" for others. Borrowed from the document. */
const char *sl_node_text(const struct sl_doc *doc, int node);

/* "is a list" and the like, for messages about a node of the wrong type. Static. */
const char *sl_node_is(const struct sl_doc *doc, int node);

/* The i-th item of a list, or 0 when there are no more. */
int sl_node_item(const struct sl_doc *doc, int list, size_t i);

/* The i-th entry of a mapping; false when there are no more. */
bool sl_node_entry(const struct sl_doc *doc, int map, size_t i, int *ret_key, int *ret_value);

/* Adds a problem for each key of a mapping that is no plain name or stands there twice. `what` a key is: "key",
 * "target". */
void sl_node_check_keys(struct sl_doc *doc, int map, const char *what);

#endif
