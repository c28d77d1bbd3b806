/* SPDX-License-Identifier: MIT */
/* Collects rows of cells, measures their widths in characters, and prints them in columns. */
#include "client/cli/table.h"

#include "base/text.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define GAP           2
#define CHARACTER_MAX 4u /* bytes of UTF-8 */

struct cell {
    char *text;
    size_t width; /* in columns of the terminal */
    enum cli_look look;
};

struct cli_table {
    const char *const *headings;
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

struct cli_table *cli_table_new(const char *const *headings, size_t columns)
{
    struct cli_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for next_character(); without it each character is one column wide */
        table->headings = headings;
        table->columns = columns;
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

/* Prints one cell, cut to `room` columns; returns how many it took. */
static size_t print_cell(const struct cli_style *style, enum cli_look look, const char *text, size_t room)
{
    bool coloured = style->colours && look != CLI_PLAIN;
    size_t bytes = 0, width = 0;
    while (text[bytes] != '\0') {
        size_t one, count = next_character(text + bytes, &one);
        if (one > room - width)
            break;
        width += one;
        bytes += count;
    }
    if (bytes > 0)
        printf("%s%.*s%s", coloured ? looks[look] : "", (int)bytes, text, coloured ? "\033[0m" : "");
    return width;
}

static size_t print_gap(size_t width, size_t room)
{
    if (width > room)
        width = room;
    printf("%*s", (int)width, "");
    return width;
}

static void print_row(
    const struct cli_table *table, const struct cli_style *style, const size_t *widths, const struct cell *row)
{
    size_t room = style->width == 0 ? SIZE_MAX : style->width;
    for (size_t c = 0; c < table->columns; c++) {
        size_t gap = widths[c] - row[c].width;
        bool right = table->headings[c][0] == '>', last = c + 1 == table->columns;
        if (right)
            room -= print_gap(gap, room);
        room -= print_cell(style, row[c].look, row[c].text, room);
        if (!last)
            room -= print_gap((right ? 0 : gap) + GAP, room);
    }
    putchar('\n');
}

bool cli_table_print(const struct cli_table *table, const struct cli_style *style)
{
    size_t *widths = calloc(table->columns, sizeof *widths);
    struct cell *heading = calloc(table->columns, sizeof *heading);
    bool done = !table->out_of_memory && widths != NULL && heading != NULL;
    for (size_t c = 0; done && c < table->columns; c++) {
        const char *text = table->headings[c] + (table->headings[c][0] == '>');
        heading[c] = (struct cell){.text = (char *)(uintptr_t)text, .width = width_of(text), .look = CLI_BOLD};
        widths[c] = heading[c].width;
    }
    for (size_t i = 0; done && i < table->count; i++)
        if (table->cells[i].width > widths[i % table->columns])
            widths[i % table->columns] = table->cells[i].width;
    if (done)
        print_row(table, style, widths, heading);
    for (size_t i = 0; done && i + table->columns <= table->count; i += table->columns)
        print_row(table, style, widths, table->cells + i);
    free(widths);
    free(heading);
    return done;
}
