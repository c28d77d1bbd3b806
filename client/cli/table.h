/* SPDX-License-Identifier: MIT */
/* table.h - rows of cells, printed in aligned columns. For a person at a terminal or for awk: a cell is never empty. */
#ifndef SSHLEASE_CLI_TABLE_H
#define SSHLEASE_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How it is to be printed. */
struct cli_style {
    bool colours;
    size_t width; /* rows that are longer are laid out anew, so that nothing that matters is hidden; 0: none is */
};
/* For standard output; colours only on a terminal, and not when NO_COLOR is set (no-color.org). */
struct cli_style cli_style(void);

enum cli_look { CLI_PLAIN, CLI_BOLD, CLI_GOOD, CLI_WARNING, CLI_BAD };

/* What becomes of a column whose table is too wide. Notes and details are the last ones. */
enum cli_column_kind {
    CLI_TEXT,   /* nothing */
    CLI_NUMBER, /* nothing; aligned to the right */
    CLI_NAME,   /* an ellipsis takes the place of the middle of long ones */
    CLI_NOTE,   /* it goes beneath its row, the whole of it */
    CLI_DETAIL, /* it goes beneath its row, an ellipsis at its end when one line does not hold it */
};
struct cli_column {
    const char *heading;
    enum cli_column_kind kind;
};

struct cli_table;
/* `columns`: static, `count` of them. NULL: out of memory. */
struct cli_table *cli_table_new(const struct cli_column *columns, size_t count);
void cli_table_free(struct cli_table *table);
/* The next cell, row by row. Copies `text` without control characters; "" becomes "-". Out of memory shows in
 * cli_table_print(). */
void cli_table_add(struct cli_table *table, enum cli_look look, const char *text);
void cli_table_add_number(struct cli_table *table, enum cli_look look, int64_t number);
/* "850ms", "12s", "3m07s", "2h05m", "4d03h". */
void cli_table_add_duration(struct cli_table *table, enum cli_look look, int64_t ms);
/* To standard output. False: out of memory before. */
bool cli_table_print(const struct cli_table *table, const struct cli_style *style);

/* As cli_table_add_duration() writes it, into 16 bytes. */
const char *cli_duration(int64_t ms, char text[16]);

#endif
