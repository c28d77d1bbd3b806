/* SPDX-License-Identifier: MIT */
/* Collects rows of cells, measures their widths in characters, and prints them in columns; what does not fit into the
 * terminal's lines is shortened, or goes beneath its row. */
#include "client/cli/table.h"

#include "base/text.h"

#include <ctype.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define GAP           2
#define CHARACTER_MAX 4u /* bytes of UTF-8 */
#define ELLIPSIS      "\xe2\x80\xa6"
#define NAME_MIN      8u  /* columns that a name keeps */
#define DETAIL_MIN    24u /* columns that a detail wants beside a note; it takes a line of its own otherwise */
#define NOTE_INDENT   4u

struct cell {
    char *text;
    size_t width; /* in columns of the terminal */
    enum cli_look look;
};

struct cli_table {
    const struct cli_column *column;
    size_t columns, count, capacity;
    struct cell *cells;
    bool out_of_memory;
};

static const char *const looks[] = {[CLI_PLAIN] = "",
    [CLI_BOLD] = "\033[1m",
    [CLI_GOOD] = "\033[32m",
    [CLI_WARNING] = "\033[33m",
    [CLI_BAD] = "\033[31m"};

struct cli_style cli_style(void)
{
    struct cli_style style = {0};
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return style;
    style.colours = (no_colour == NULL || no_colour[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        style.width = size.ws_col;
    return style;
}

/* The bytes of the character at `text`, which is clean; how many columns it takes is in *ret_width. */
static size_t next_character(const char *text, size_t *ret_width)
{
    const size_t count = sl_text_shown(text, strnlen(text, CHARACTER_MAX));
    wchar_t character;
    int width = -1;
    if (mbrtowc(&character, text, count, &(mbstate_t){0}) == count)
        width = wcwidth(character);
    *ret_width = width < 0 ? 1 : (size_t)width;
    return count;
}

static size_t width_of(const char *text)
{
    size_t width = 0, one;
    for (; *text != '\0'; width += one)
        text += next_character(text, &one);
    return width;
}

struct cli_table *cli_table_new(const struct cli_column *columns, size_t count)
{
    struct cli_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for next_character(); without it each character is one column wide */
        table->column = columns;
        table->columns = count;
    }
    return table;
}

void cli_table_free(struct cli_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void cli_table_add(struct cli_table *table, enum cli_look look, const char *text)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
        struct cell *grown = reallocarray(table->cells, capacity, sizeof *grown);
        if (grown == NULL) {
            table->out_of_memory = true;
            return;
        }
        table->cells = grown;
        table->capacity = capacity;
    }
    char *copy = strdup(text[0] != '\0' ? text : "-");
    if (copy == NULL) {
        table->out_of_memory = true;
        return;
    }
    /* Labels and command lines are other people's words; the terminal must not obey them. */
    sl_text_clean(copy, strlen(copy) + 1, copy, strlen(copy));
    table->cells[table->count++] = (struct cell){.text = copy, .width = width_of(copy), .look = look};
}

void cli_table_add_number(struct cli_table *table, enum cli_look look, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    cli_table_add(table, look, text);
}

const char *cli_duration(int64_t ms, char text[16])
{
    long long s = ms / 1000;
    if (ms < 1000)
        snprintf(text, 16, "%dms", (int)(ms < 0 ? 0 : ms));
    else if (s < 60)
        snprintf(text, 16, "%llds", s);
    else if (s < 3600)
        snprintf(text, 16, "%lldm%02llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, 16, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        snprintf(text, 16, "%lldd%02lldh", s / 86400 % 1000000, s / 3600 % 24);
    return text;
}

void cli_table_add_duration(struct cli_table *table, enum cli_look look, int64_t ms)
{
    char text[16];
    cli_table_add(table, look, cli_duration(ms, text));
}

/* --- layout ------------------------------------------------------------------------------------------------------- */

struct layout {
    const struct cli_table *table;
    const struct cli_style *style;
    size_t in_row; /* the columns of a row; the others go beneath it */
    size_t *width;
};

/* The bytes of the first characters of `text` that take up to `room` columns, and the columns they take. */
static size_t fitting(const char *text, size_t room, size_t *ret_width)
{
    size_t bytes = 0, one;
    *ret_width = 0;
    while (text[bytes] != '\0') {
        size_t count = next_character(text + bytes, &one);
        if (one > room - *ret_width)
            break;
        *ret_width += one;
        bytes += count;
    }
    return bytes;
}

static size_t row_width(const struct layout *l)
{
    size_t width = l->in_row > 0 ? (l->in_row - 1) * GAP : 0;
    for (size_t c = 0; c < l->in_row; c++)
        width += l->width[c];
    return width;
}

static bool is_beneath(const struct cli_column *column)
{
    return column->kind == CLI_NOTE || column->kind == CLI_DETAIL;
}

/* Takes from the widest name first. */
static void shorten_names(struct layout *l)
{
    for (size_t excess = row_width(l) - l->style->width; excess > 0; excess--) {
        size_t *widest = NULL;
        for (size_t c = 0; c < l->in_row; c++)
            if (l->table->column[c].kind == CLI_NAME && l->width[c] > NAME_MIN &&
                (widest == NULL || l->width[c] > *widest))
                widest = &l->width[c];
        if (widest == NULL)
            return; /* the terminal wraps its lines */
        (*widest)--;
    }
}

static void lay_out(struct layout *l)
{
    const struct cli_table *table = l->table;
    for (size_t c = 0; c < table->columns; c++)
        l->width[c] = width_of(table->column[c].heading);
    for (size_t i = 0; i < table->count; i++)
        if (table->cells[i].width > l->width[i % table->columns])
            l->width[i % table->columns] = table->cells[i].width;
    l->in_row = table->columns;
    if (l->style->width == 0 || row_width(l) <= l->style->width)
        return;
    while (l->in_row > 0 && is_beneath(&table->column[l->in_row - 1]))
        l->in_row--;
    if (row_width(l) > l->style->width)
        shorten_names(l);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void print_text(const struct layout *l, enum cli_look look, const char *text, size_t bytes)
{
    const bool coloured = l->style->colours && look != CLI_PLAIN && bytes > 0;
    printf("%s%.*s%s", coloured ? looks[look] : "", (int)bytes, text, coloured ? "\033[0m" : "");
}

/* The beginning and the end of it, which say more than the middle: "build@a-far…-site.example". */
static size_t print_shortened(const struct layout *l, const struct cell *cell, size_t width)
{
    char text[1024];
    size_t head_width, tail_width, one, head = fitting(cell->text, width / 2, &head_width);
    const char *tail = cell->text + head;
    for (tail_width = cell->width - head_width; tail_width > width - head_width - 1; tail_width -= one)
        tail += next_character(tail, &one);
    snprintf(text, sizeof text, "%.*s" ELLIPSIS "%s", (int)head, cell->text, tail);
    print_text(l, cell->look, text, strlen(text));
    return head_width + 1 + tail_width;
}

static void print_row(const struct layout *l, const struct cell *row)
{
    for (size_t c = 0; c < l->in_row; c++) {
        const bool right = l->table->column[c].kind == CLI_NUMBER, last = c + 1 == l->in_row;
        size_t width = row[c].width;
        if (right)
            printf("%*s", (int)(l->width[c] - width), "");
        if (width > l->width[c])
            width = print_shortened(l, &row[c], l->width[c]);
        else
            print_text(l, row[c].look, row[c].text, strlen(row[c].text));
        if (!last)
            printf("%*s", (int)((right ? 0 : l->width[c] - width) + GAP), "");
    }
    putchar('\n');
}

/* All of it, in lines that break at blanks where there are any; returns where the last one ends. */
static size_t print_wrapped(const struct layout *l, const struct cell *cell, size_t at)
{
    const char *text = cell->text;
    for (;;) {
        size_t width, bytes = fitting(text, l->style->width > at ? l->style->width - at : 1, &width);
        size_t end = bytes;
        if (text[bytes] == '\0') {
            print_text(l, cell->look, text, bytes);
            return at + width;
        }
        while (end > 0 && text[end] != ' ')
            end--;
        if (end == 0 && (end = bytes) == 0) /* a word longer than a line; a character wider than one */
            end = next_character(text, &width);
        print_text(l, cell->look, text, end);
        text += end + (text[end] == ' ');
        at = NOTE_INDENT + 2;
        printf("\n%*s", (int)at, "");
    }
}

static size_t print_detail(const struct layout *l, const struct cell *cell, size_t at)
{
    const size_t room = l->style->width > at + 1 ? l->style->width - at : 1;
    size_t width = cell->width, bytes = strlen(cell->text);
    if (width > room)
        bytes = fitting(cell->text, room - 1, &width);
    print_text(l, cell->look, cell->text, bytes);
    if (cell->width > room)
        printf(ELLIPSIS);
    return at + width;
}

/* "label: nightly  command: pytest -n 4", and nothing where there is nothing to say. */
static void print_beneath(const struct layout *l, const struct cell *row)
{
    size_t at = 0;
    for (size_t c = l->in_row; c < l->table->columns; c++) {
        const struct cli_column *column = &l->table->column[c];
        const size_t name = width_of(column->heading) + 2;
        const size_t wanted =
            name + (column->kind == CLI_DETAIL && row[c].width > DETAIL_MIN ? DETAIL_MIN : row[c].width);
        if (strcmp(row[c].text, "-") == 0)
            continue;
        if (at == 0 || at + GAP + wanted > l->style->width) {
            printf("%s%*s", at == 0 ? "" : "\n", (int)NOTE_INDENT, "");
            at = NOTE_INDENT;
        } else {
            at += (size_t)printf("%*s", GAP, "");
        }
        for (const char *letter = column->heading; *letter != '\0'; letter++)
            putchar(tolower((unsigned char)*letter));
        printf(": ");
        at = column->kind == CLI_NOTE ? print_wrapped(l, &row[c], at + name) : print_detail(l, &row[c], at + name);
    }
    if (at > 0)
        putchar('\n');
}

bool cli_table_print(const struct cli_table *table, const struct cli_style *style)
{
    struct layout l = {.table = table, .style = style, .width = calloc(table->columns, sizeof *l.width)};
    struct cell *heading = calloc(table->columns, sizeof *heading);
    const bool done = !table->out_of_memory && l.width != NULL && heading != NULL;
    if (done)
        lay_out(&l);
    for (size_t c = 0; done && c < table->columns; c++) {
        const char *text = table->column[c].heading;
        heading[c] = (struct cell){.text = (char *)(uintptr_t)text, .width = width_of(text), .look = CLI_BOLD};
    }
    if (done)
        print_row(&l, heading);
    for (size_t i = 0; done && i + table->columns <= table->count; i += table->columns) {
        print_row(&l, table->cells + i);
        print_beneath(&l, table->cells + i);
    }
    free(l.width);
    free(heading);
    return done;
}
