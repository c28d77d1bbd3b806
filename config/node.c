/* SPDX-License-Identifier: MIT */
/* Parses a YAML text once with libyaml, checks its size, depth and characters, and hands it out as nodes. */
#include "config/node.h"

#include "base/text.h"
#include "proto/status.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct sl_doc {
    yaml_document_t yaml;
    struct sl_problems *problems;
};

static struct sl_mark mark_of(yaml_mark_t mark)
{
    return (struct sl_mark){mark.line + 1, mark.column + 1};
}

/* Where the byte at `offset` is, for what libyaml refuses before it knows lines. */
static struct sl_mark mark_at(const unsigned char *text, size_t len, size_t offset)
{
    struct sl_mark mark = {1, 1};
    for (size_t i = 0; i < len && i < offset; i++)
        if (text[i] == '\n')
            mark = (struct sl_mark){mark.line + 1, 1};
        else if ((text[i] & 0xc0) != 0x80)
            mark.column++;
    return mark;
}

static void start_parser(yaml_parser_t *parser, const void *text, size_t len)
{
    /* Fixed, lest a byte order mark choose another. */
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, text, len);
}

/* Whether the problem is that the line of `mark` is indented by a tab, which libyaml says in words of its own; then
 * *ret_tab is where. */
static bool find_tab(const char *problem, const char *text, size_t len, struct sl_mark mark, struct sl_mark *ret_tab)
{
    const char *end = text + len;
    if (strstr(problem, "cannot start any token") == NULL && strstr(problem, "tab character") == NULL)
        return false;
    for (size_t line = 1; line < mark.line && text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        text = newline != NULL ? newline + 1 : end;
    }
    size_t column = 1;
    while (text < end && *text == ' ') {
        text++;
        column++;
    }
    *ret_tab = (struct sl_mark){mark.line, column};
    return text < end && *text == '\t';
}

/* Says what libyaml found wrong. */
static int report_syntax(const yaml_parser_t *parser, const void *text, size_t len, struct sl_problems *problems)
{
    const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
    struct sl_mark tab;
    switch (parser->error) {
    case YAML_MEMORY_ERROR:
        return SL_E_NOMEM;
    case YAML_READER_ERROR:
        sl_problem_add(problems, mark_at(text, len, parser->problem_offset),
            "not a text in UTF-8: %s; save the file as plain UTF-8", problem);
        return SL_E_CONFIG;
    default:
        if (find_tab(problem, text, len, mark_of(parser->problem_mark), &tab))
            sl_problem_add(problems, tab, "a tab in the indentation; indent by spaces, as YAML wants it");
        else if (parser->context != NULL)
            sl_problem_add(problems, mark_of(parser->problem_mark),
                "not valid YAML: %s, %s that begins on line %zu; check indentation, colons and quotes there", problem,
                parser->context, parser->context_mark.line + 1);
        else
            sl_problem_add(problems, mark_of(parser->problem_mark),
                "not valid YAML: %s; check indentation, colons and quotes there", problem);
        return SL_E_CONFIG;
    }
}

/* The depth after the event, or a problem for what we don't take. False: no use in going on. */
static bool check_event(const yaml_event_t *event, size_t *depth, size_t *documents, struct sl_problems *problems)
{
    struct sl_mark mark = mark_of(event->start_mark);
    const yaml_char_t *tag = NULL;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents == 2) {
            sl_problem_add(problems, mark, "a second document begins here; put everything into one");
            return false;
        }
        return true;
    case YAML_ALIAS_EVENT:
        sl_problem_add(problems, mark, "an alias; write the value out, or put what targets share into defaults");
        return true;
    case YAML_SCALAR_EVENT:
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        tag = event->data.sequence_start.tag;
        ++*depth;
        break;
    case YAML_MAPPING_START_EVENT:
        tag = event->data.mapping_start.tag;
        ++*depth;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        return true;
    default:
        return true;
    }
    if (tag != NULL)
        sl_problem_add(problems, mark, "a tag; leave it out, types go by the setting");
    if (*depth > SL_DOC_DEPTH_MAX) {
        sl_problem_add(problems, mark, "nested more than %u deep; no setting is", SL_DOC_DEPTH_MAX);
        return false;
    }
    return true;
}

/* Goes over the text once without building anything, so that what is built later is known to be small and flat. */
static int scan(const void *text, size_t len, struct sl_problems *problems)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return SL_E_NOMEM;
    start_parser(&parser, text, len);
    size_t depth = 0, documents = 0, before = problems->count + problems->left_out;
    int status = 0;
    for (bool more = true; more;) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            status = report_syntax(&parser, text, len, problems);
            break;
        }
        more = check_event(&event, &depth, &documents, problems) && event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (status == 0 && problems->count + problems->left_out != before)
        status = SL_E_CONFIG;
    return status;
}

/* It has no place in a path or a name, and forges lines of logs. */
static bool has_control(const unsigned char *text, size_t length)
{
    size_t shown = 1;
    for (size_t i = 0; i < length && shown > 0; i += shown)
        shown = sl_text_shown(text + i, length - i);
    return shown == 0;
}

static void check_texts(const struct sl_doc *doc)
{
    for (const yaml_node_t *n = doc->yaml.nodes.start; n != doc->yaml.nodes.top; n++) {
        if (n->type == YAML_SCALAR_NODE && has_control(n->data.scalar.value, n->data.scalar.length))
            sl_problem_add(doc->problems, mark_of(n->start_mark),
                "a text with a line break or control character in it; give one line of printable characters");
    }
}

/* Some editors begin a file with a byte order mark, which libyaml takes for a column of the first line. */
static const void *skip_mark(const void *text, size_t *len)
{
    static const char mark[] = "\xef\xbb\xbf";
    if (*len < 3 || memcmp(text, mark, 3) != 0)
        return text;
    *len -= 3;
    return (const char *)text + 3;
}

int sl_doc_open(const void *text, size_t len, struct sl_problems *problems, struct sl_doc **ret_doc)
{
    text = skip_mark(text, &len);
    if (len > SL_DOC_BYTES_MAX) {
        sl_problem_add(
            problems, (struct sl_mark){0, 0}, "larger than %zu KiB; is it the right file?", SL_DOC_BYTES_MAX / 1024);
        return SL_E_CONFIG;
    }
    int status = scan(text, len, problems);
    if (status != 0)
        return status;

    struct sl_doc *doc = calloc(1, sizeof *doc);
    if (doc == NULL)
        return SL_E_NOMEM;
    doc->problems = problems;
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        free(doc);
        return SL_E_NOMEM;
    }
    start_parser(&parser, text, len);
    if (yaml_parser_load(&parser, &doc->yaml) == 0) {
        status = report_syntax(&parser, text, len, problems);
        yaml_parser_delete(&parser);
        free(doc);
        return status;
    }
    yaml_parser_delete(&parser);
    check_texts(doc);
    *ret_doc = doc;
    return 0;
}

void sl_doc_close(struct sl_doc *doc)
{
    if (doc == NULL)
        return;
    yaml_document_delete(&doc->yaml);
    free(doc);
}

/* libyaml's look-up does not write, but takes no const. */
static const yaml_node_t *get(const struct sl_doc *doc, int node)
{
    return yaml_document_get_node((yaml_document_t *)&doc->yaml, node);
}

int sl_doc_root(const struct sl_doc *doc)
{
    return get(doc, 1) == NULL ? 0 : 1;
}

enum sl_node_type sl_node_type(const struct sl_doc *doc, int node)
{
    const yaml_node_t *n = get(doc, node);
    if (n == NULL)
        return SL_NODE_NULL;
    switch (n->type) {
    case YAML_SEQUENCE_NODE:
        return SL_NODE_LIST;
    case YAML_MAPPING_NODE:
        return SL_NODE_MAP;
    case YAML_SCALAR_NODE:
        break;
    default:
        return SL_NODE_NULL;
    }
    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return SL_NODE_QUOTED;
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        if (strcmp((const char *)n->data.scalar.value, nulls[i]) == 0)
            return SL_NODE_NULL;
    return SL_NODE_PLAIN;
}

struct sl_mark sl_node_mark(const struct sl_doc *doc, int node)
{
    const yaml_node_t *n = get(doc, node);
    return n == NULL ? (struct sl_mark){1, 1} : mark_of(n->start_mark);
}

const char *sl_node_text(const struct sl_doc *doc, int node)
{
    const yaml_node_t *n = get(doc, node);
    return n != NULL && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : "";
}

const char *sl_node_is(const struct sl_doc *doc, int node)
{
    switch (sl_node_type(doc, node)) {
    case SL_NODE_LIST:
        return "is a list";
    case SL_NODE_MAP:
        return "is a mapping";
    case SL_NODE_NULL:
        return "has no value";
    default:
        return "is a text";
    }
}

int sl_node_item(const struct sl_doc *doc, int list, size_t i)
{
    const yaml_node_t *n = get(doc, list);
    if (n == NULL || n->type != YAML_SEQUENCE_NODE ||
        i >= (size_t)(n->data.sequence.items.top - n->data.sequence.items.start))
        return 0;
    return n->data.sequence.items.start[i];
}

bool sl_node_entry(const struct sl_doc *doc, int map, size_t i, int *ret_key, int *ret_value)
{
    const yaml_node_t *n = get(doc, map);
    if (n == NULL || n->type != YAML_MAPPING_NODE ||
        i >= (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start))
        return false;
    *ret_key = n->data.mapping.pairs.start[i].key;
    *ret_value = n->data.mapping.pairs.start[i].value;
    return true;
}

struct key {
    const char *text;
    struct sl_mark mark;
};

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    int order = strcmp(a->text, b->text);
    if (order != 0)
        return order;
    if (a->mark.line != b->mark.line)
        return a->mark.line < b->mark.line ? -1 : 1;
    return a->mark.column < b->mark.column ? -1 : a->mark.column > b->mark.column;
}

void sl_node_check_keys(struct sl_doc *doc, int map, const char *what)
{
    int key_node, value;
    size_t count = 0;
    while (sl_node_entry(doc, map, count, &key_node, &value))
        count++;
    if (count == 0)
        return;
    struct key *keys = calloc(count, sizeof *keys);
    if (keys == NULL) {
        doc->problems->status = SL_E_NOMEM;
        return;
    }
    size_t names = 0;
    for (size_t i = 0; sl_node_entry(doc, map, i, &key_node, &value); i++) {
        enum sl_node_type type = sl_node_type(doc, key_node);
        if (type == SL_NODE_PLAIN || type == SL_NODE_QUOTED)
            keys[names++] = (struct key){sl_node_text(doc, key_node), sl_node_mark(doc, key_node)};
        else
            sl_problem_add(doc->problems, sl_node_mark(doc, key_node), "a %s that %s; give a name", what,
                sl_node_is(doc, key_node));
    }
    /* Sorted, since comparing each with each would take an hour for a megabyte of keys. */
    qsort(keys, names, sizeof *keys, compare_keys);
    const struct key *first = NULL;
    for (size_t i = 0; i < names; i++) {
        if (first == NULL || strcmp(first->text, keys[i].text) != 0)
            first = &keys[i];
        else
            sl_problem_add(doc->problems, keys[i].mark, "duplicate %s %s, first given on line %zu; keep one of them",
                what, SL_SHOW(keys[i].text), first->mark.line);
    }
    free(keys);
}
