#include "gateway/cli/reduced_archive.h"

#include "base/buf.h"
#include "image/archive.h"
#include "image/tar_header.h"
#include "image/tar_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_BYTES ((size_t)1 << 20)
#define PIECE 700 /* bytes a pull: not a multiple of a block */

/* A tar in memory, which can be begun again. */
struct memory {
    struct buf bytes;
    size_t at;
};

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct memory *memory = self;
    size_t left = memory->bytes.size - memory->at;
    (void)err;
    *data = (const uint8_t *)buf_cstr(&memory->bytes) + memory->at;
    *size = left < PIECE ? left : PIECE;
    memory->at += *size;
    return ERR_OK;
}

static enum errc begin_again(void *self, struct error *err)
{
    struct memory *memory = self;
    (void)err;
    memory->at = 0;
    return ERR_OK;
}

static struct source source_of(struct memory *memory)
{
    return (struct source){.pull = pull, .self = memory, .rewind = begin_again};
}

static void add(struct buf *tar, const char *name, const char *content, const char *target)
{
    static const char zeros[TAR_BLOCK_BYTES];
    struct error err = ERROR_INIT;
    size_t size = strlen(content);
    assert_int_equal(tar_write_header(tar, name, size, target, &err), ERR_OK);
    buf_append(tar, content, size);
    buf_append(tar, zeros, (size_t)tar_padding(size));
}

static void end(struct buf *tar)
{
    static const char zeros[TAR_END_BYTES];
    buf_append(tar, zeros, sizeof zeros);
}

/* "NAME=CONTENT", or "NAME>TARGET", one a line. */
static void list(struct source source, struct buf *out)
{
    struct error err = ERROR_INIT;
    struct archive_reader *reader = NULL;
    struct archive_entry_info info;
    bool ended = false;
    assert_int_equal(archive_reader_open(source, LIMIT_BYTES, &reader, &err), ERR_OK);
    for (;;) {
        if (archive_reader_next(reader, &info, &ended, &err) != ERR_OK)
            fail_msg("%s", err.text);
        if (ended)
            break;
        buf_format(out, "%s%c", info.name, info.target ? '>' : '=');
        buf_text(out, info.target ? info.target : "");
        const uint8_t *data = NULL;
        size_t size = info.target ? 0 : 1;
        while (size > 0) {
            assert_int_equal(archive_reader_read(reader, &data, &size, &err), ERR_OK);
            buf_append(out, data, size);
        }
        buf_text(out, "\n");
    }
    archive_reader_close(reader);
}

static bool leaves_out(void *self, const char *name, uint64_t size, const uint8_t *start,
                       size_t start_size)
{
    /* What it is told fits what is there. */
    assert_true(size == 0 ? start_size == 0 : start_size > 0 && start[0] == 'c');
    return strstr(name, self) != NULL;
}

static void what_stays_is_as_it_was(void **state)
{
    (void)state;
    char far[160];
    char content[3000];
    struct error err = ERROR_INIT;
    struct memory archive = {.bytes = BUF_INIT(LIMIT_BYTES)};
    autobuf struct buf kept = BUF_INIT(LIMIT_BYTES);
    autobuf struct buf wanted = BUF_INIT(LIMIT_BYTES);
    snprintf(far, sizeof far, "blobs/sha256/%0120d", 7);
    memset(content, 'c', sizeof content);
    content[sizeof content - 1] = '\0';
    add(&archive.bytes, "manifest.json", "content", NULL);
    add(&archive.bytes, "layer-1.tar", content, NULL);
    add(&archive.bytes, "empty", "", NULL);
    add(&archive.bytes, far, content, NULL);
    add(&archive.bytes, "again", "", "manifest.json");
    add(&archive.bytes, "layer-2.tar", "c", NULL);
    end(&archive.bytes);
    for (int round = 0; round < 2; round++) {
        struct reduced_archive *reduced = NULL;
        assert_int_equal(
            reduced_archive_open(source_of(&archive), leaves_out, (void *)"layer", &reduced, &err),
            ERR_OK);
        buf_clear(&kept);
        list(reduced_archive_source(reduced), &kept);
        reduced_archive_close(reduced);
        buf_clear(&wanted);
        buf_format(&wanted, "manifest.json=content\nempty=\n%s=%s\nagain>manifest.json\n", far,
                   content);
        assert_string_equal(buf_cstr(&kept), buf_cstr(&wanted));
    }
    buf_deinit(&archive.bytes);
}

static void damage_is_the_archives(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct memory archive = {.bytes = BUF_INIT(LIMIT_BYTES)};
    struct reduced_archive *reduced = NULL;
    const uint8_t *data = NULL;
    size_t size = 1;
    add(&archive.bytes, "manifest.json", "content", NULL);
    archive.bytes.size -= 100;
    assert_int_equal(
        reduced_archive_open(source_of(&archive), leaves_out, (void *)"layer", &reduced, &err),
        ERR_OK);
    const struct source source = reduced_archive_source(reduced);
    while (size > 0 && source_pull(&source, &data, &size, &err) == ERR_OK)
        continue;
    assert_int_equal(err.code, ERR_ARCHIVE_TRUNCATED);
    reduced_archive_close(reduced);
    reduced_archive_close(NULL);
    buf_deinit(&archive.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stays_is_as_it_was),
        cmocka_unit_test(damage_is_the_archives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
