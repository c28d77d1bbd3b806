/* SPDX-License-Identifier: MIT */
/* PROTOCOL.md against the code: its tables of messages, limits and status codes, and its example. */
#include "proto/msg.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 1024
#define CELLS          5

struct document {
    FILE *file;
    char line[LINE_MAX_BYTES];
    char *cell[CELLS]; /* of a table's row, trimmed */
};

/* Opens the document and goes to the line behind `heading`. */
static void open_at(struct document *doc, const char *heading)
{
    doc->file = fopen(DOCUMENT, "re");
    assert_non_null(doc->file);
    while (fgets(doc->line, sizeof doc->line, doc->file) != NULL) {
        doc->line[strcspn(doc->line, "\n")] = '\0';
        if (strcmp(doc->line, heading) == 0)
            return;
    }
    fail_msg("%s has no line '%s'", DOCUMENT, heading);
}

/* The next line of the section; false at its end. */
static bool next_line(struct document *doc)
{
    if (fgets(doc->line, sizeof doc->line, doc->file) == NULL || strncmp(doc->line, "## ", 3) == 0)
        return false;
    assert_non_null(strchr(doc->line, '\n'));
    doc->line[strcspn(doc->line, "\n")] = '\0';
    return true;
}

static char *trimmed(char *text)
{
    text += strspn(text, " `");
    for (size_t len = strlen(text); len > 0 && strchr(" `", text[len - 1]) != NULL; len--)
        text[len - 1] = '\0';
    return text;
}

/* The next row whose last (`number_first`: first) cell is a number; false at the section's end. */
static bool next_row(struct document *doc, bool number_first)
{
    while (next_line(doc)) {
        size_t count = 0;
        char *rest = doc->line + 1;

        if (doc->line[0] != '|')
            continue;
        while (count < CELLS && strchr(rest, '|') != NULL)
            doc->cell[count++] = trimmed(strsep(&rest, "|"));
        if (count < 2)
            continue;
        const char *number = doc->cell[number_first ? 0 : count - 1];
        if (number[0] != '\0' && strspn(number, "0123456789") == strlen(number))
            return true;
    }
    fclose(doc->file);
    return false;
}

static uint32_t number_of(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

/* The numbers say who sends what. */
static bool is_daemons(uint32_t type)
{
    return type >= SL_MSG_DATA;
}

TEST(every_status_stands_there_as_it_is)
{
    struct document doc;
    size_t rows = 0, codes = 0;
    open_at(&doc, "## Status codes");
    for (; next_row(&doc, true); rows++) {
        int status = -(int)number_of(doc.cell[0]);
        assert_string_equal(doc.cell[1], sl_status_name(status));
        assert_string_equal(doc.cell[2], sl_status_text(status));
        assert_string_equal(doc.cell[3], sl_status_retryable(status) ? "yes" : "no");
    }
    for (int code = 1; code <= (int)SL_MSG_CODE_MAX; code++)
        codes += strcmp(sl_status_name(-code), "unknown") != 0;
    assert_int_equal(rows, codes);
}

TEST(every_message_stands_there_as_it_is)
{
    struct document doc;
    size_t rows = 0, types = 0;
    open_at(&doc, "## Messages");
    for (; next_row(&doc, true); rows++) {
        uint32_t type = number_of(doc.cell[0]);
        assert_string_equal(doc.cell[1], sl_msg_type_name(type));
        assert_int_equal(strchr(doc.cell[2], 'C') != NULL, sl_msg_from_client(type));
        assert_int_equal(strchr(doc.cell[2], 'D') != NULL, is_daemons(type));
    }
    for (uint32_t type = 0; type < 1000; type++)
        types += strcmp(sl_msg_type_name(type), "unknown") != 0;
    assert_int_equal(rows, types);
}

/* In the order of the document. */
TEST(limits_are_the_code_s)
{
    static const struct {
        const char *starts;
        uint32_t limit;
    } limits[] = {
        {"length of a frame", SL_FRAME_MAX},
        {"program, daemon, target, path", SL_MSG_NAME_MAX},
        {"text of ERROR", SL_MSG_TEXT_MAX},
        {"command of exec", SL_MSG_COMMAND_MAX},
        {"variables of a stream", SL_MSG_ENV_MAX},
        {"value of a variable", SL_MSG_ENV_VALUE_MAX},
        {"terminal modes", SL_MSG_MODES_MAX},
        {"bytes of one DATA", SL_MSG_DATA_MAX},
        {"json of one STATUS_REPLY", SL_MSG_PART_MAX},
        {"credit on a stream", SL_MSG_WINDOW_MAX},
        {"streams of a lease", SL_MSG_STREAMS_MAX},
        {"a status code", SL_MSG_CODE_MAX},
    };
    struct document doc;
    size_t rows = 0;
    open_at(&doc, "## Limits");
    for (; next_row(&doc, false); rows++) {
        assert_true(rows < sizeof limits / sizeof limits[0]);
        assert_memory_equal(doc.cell[0], limits[rows].starts, strlen(limits[rows].starts));
        assert_int_equal(number_of(doc.cell[1]), limits[rows].limit);
    }
    assert_int_equal(rows, sizeof limits / sizeof limits[0]);
}

/* One message of the example: its first line "C HELLO 0000…", more of it on lines that begin with a space. */
struct example {
    char side, type[32];
    uint8_t bytes[512];
    size_t len;
};

static void add_hex(struct example *example, const char *hex)
{
    unsigned value;
    for (hex += strspn(hex, " "); *hex != '\0'; hex += 2, hex += strspn(hex, " ")) {
        assert_true(example->len < sizeof example->bytes);
        assert_int_equal(sscanf(hex, "%2x", &value), 1);
        example->bytes[example->len++] = (uint8_t)value;
    }
}

static void check_example(const struct example *example)
{
    uint8_t again[sizeof example->bytes];
    struct sl_frame frame;
    struct sl_writer w;
    struct sl_msg msg;
    assert_int_equal(sl_frame_parse(example->bytes, example->len, SL_FRAME_MAX, &frame), example->len);
    assert_int_equal(sl_msg_decode(&frame, &msg), 0);
    assert_string_equal(example->type, sl_msg_type_name(msg.type));
    assert_true(example->side == 'C' ? sl_msg_from_client(msg.type) : is_daemons(msg.type));
    sl_writer_init(&w, again, sizeof again);
    sl_msg_encode(&w, &msg);
    assert_false(w.overflow);
    assert_int_equal(w.at, example->len);
    assert_memory_equal(again, example->bytes, example->len);
}

TEST(the_example_decodes)
{
    struct example example = {.len = 0};
    struct document doc;
    size_t messages = 0;
    int text_at;
    open_at(&doc, "## Example");
    while (next_line(&doc)) {
        bool begins = (doc.line[0] == 'C' || doc.line[0] == 'D') && doc.line[1] == ' ';
        if (begins && example.len > 0)
            check_example(&example);
        if (begins) {
            example = (struct example){.len = 0};
            assert_int_equal(sscanf(doc.line, "%c %31s %n", &example.side, example.type, &text_at), 2);
            add_hex(&example, doc.line + text_at);
            messages++;
        } else if (doc.line[0] == ' ') {
            add_hex(&example, doc.line);
        }
    }
    check_example(&example);
    assert_true(messages > 10);
    fclose(doc.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_stands_there_as_it_is),
        cmocka_unit_test(every_message_stands_there_as_it_is),
        cmocka_unit_test(limits_are_the_code_s),
        cmocka_unit_test(the_example_decodes),
    };
    return cmocka_run_group_tests_name("proto.document", tests, NULL, NULL);
}
