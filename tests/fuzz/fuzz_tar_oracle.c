/* The tar reader beside libarchive's: kind, name, target, size and content of each entry are the
 * same as long as both have one, and both end or refuse at the same place. What they are known to
 * see in different ways ends the comparison:
 *
 * slipway refuses, libarchive does not (slipway_may_refuse):
 * - a pax record that is malformed, of which libarchive warns; behind a long name it only has words
 * - a name with a NUL, or a size that is no number, in a pax record
 * - digits of a size behind a NUL, or behind anything else: libarchive reads what stands before it
 * - a checksum without digits, which to libarchive is 0
 * libarchive refuses, slipway does not (libarchive_may_refuse):
 * - a first header whose other fields are no numbers (mode, owner, time, device)
 * - a pax record with an empty key, at which it ends without a word
 * both take it, in different ways (is_taken_otherwise):
 * - a sparse file: slipway reads no map and its callers refuse it; to libarchive a map in the place
 *   where GNU tar has one makes any type sparse, to slipway and GNU tar only type S
 * - an empty pax name or link, or one of GNU: to libarchive it is that, to slipway the header's
 * counts
 * - a hard link with a size outside of pax, or to nothing; a folder with content, which callers
 * refuse
 * - a pax size of what has no content, as a folder: 0 to slipway and Go
 * - what libarchive warns of, as names that are not UTF-8; of those before another long name it
 * does not even warn */
#include "base/mem.h"
#include "base/utf8.h"
#include "image/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES 1000
#define CHECKSUM_AT 148
#define CHECKSUM_BYTES 8
#define GNU_MAP_AT 386
#define GNU_REAL_SIZE_AT 483

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    const uint8_t *data;
    size_t size;
};

enum outcome { OUTCOME_ENTRY, OUTCOME_END, OUTCOME_REFUSED };

struct pair {
    struct tar_reader tar;
    struct archive *archive;
    struct tar_entry entry;
    struct archive_entry *theirs;
    struct error err;
    const uint8_t *input; /* a block at least, where an entry was read */
    bool first;
};

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    *size = memory->size < PIECE_BYTES ? memory->size : PIECE_BYTES;
    *data = memory->data;
    memory->data += *size;
    memory->size -= *size;
    return ERR_OK;
}

static const char *their_words(const struct pair *pair)
{
    const char *why = archive_error_string(pair->archive);
    return why ? why : "";
}

static void finding(const struct pair *pair, const char *what)
{
    fprintf(stderr, "FINDING %s: entry \"%s\"; slipway: %s; libarchive: %s\n", what,
            pair->entry.name ? pair->entry.name : "", pair->err.text, their_words(pair));
    abort();
}

/* ---- one entry ---- */

static enum tar_kind their_kind(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry) != NULL)
        return TAR_KIND_HARDLINK;
    switch (archive_entry_filetype(entry)) {
    case AE_IFDIR:
        return TAR_KIND_FOLDER;
    case AE_IFLNK:
        return TAR_KIND_SYMLINK;
    case AE_IFIFO:
        return TAR_KIND_FIFO;
    case AE_IFCHR:
    case AE_IFBLK:
        return TAR_KIND_DEVICE;
    default:
        return TAR_KIND_FILE;
    }
}

static void compare_entry(const struct pair *pair)
{
    const struct tar_entry *ours = &pair->entry;
    const char *name = archive_entry_pathname(pair->theirs);
    const char *hard = archive_entry_hardlink(pair->theirs);
    const char *target = hard ? hard : archive_entry_symlink(pair->theirs);
    if (name == NULL || strcmp(name, ours->name) != 0)
        finding(pair, "name");
    if (their_kind(pair->theirs) != ours->kind)
        finding(pair, "kind");
    if (target != NULL && strcmp(target, ours->target) != 0)
        finding(pair, "target");
    if ((uint64_t)archive_entry_size(pair->theirs) != ours->size)
        finding(pair, "size");
}

/* False when both end here. */
static bool compare_content(struct pair *pair)
{
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (tar_reader_read(&pair->tar, &data, &size, &pair->err) != ERR_OK)
            return false;
        if (size == 0)
            return true;
        while (size > 0) {
            uint8_t theirs[PIECE_BYTES];
            la_ssize_t n =
                archive_read_data(pair->archive, theirs, size < PIECE_BYTES ? size : PIECE_BYTES);
            if (n < 0)
                return false;
            if (n == 0)
                finding(pair, "content is shorter");
            if (memcmp(theirs, data, (size_t)n) != 0)
                finding(pair, "content");
            data += n;
            size -= (size_t)n;
        }
    }
}

static enum outcome our_next(struct pair *pair)
{
    bool end = false;
    if (tar_reader_next(&pair->tar, &pair->entry, &end, &pair->err) != ERR_OK)
        return OUTCOME_REFUSED;
    return end ? OUTCOME_END : OUTCOME_ENTRY;
}

static enum outcome their_next(struct pair *pair, bool *warned)
{
    int rc = archive_read_next_header(pair->archive, &pair->theirs);
    *warned = rc == ARCHIVE_WARN;
    if (rc == ARCHIVE_EOF)
        return OUTCOME_END;
    return rc == ARCHIVE_OK || *warned ? OUTCOME_ENTRY : OUTCOME_REFUSED;
}

/* ---- the classes ---- */

/* Spaces, octal digits, then spaces and NULs. */
static bool is_octal(const uint8_t *field, size_t size)
{
    size_t at = 0;
    while (at < size && field[at] == ' ')
        at++;
    while (at < size && field[at] >= '0' && field[at] <= '7')
        at++;
    while (at < size && (field[at] == ' ' || field[at] == 0))
        at++;
    return at == size;
}

static bool has_digits(const uint8_t *field)
{
    field += strspn((const char *)field, " ");
    return *field >= '0' && *field <= '7';
}

/* Mode, owner, size, time, device. */
static bool has_odd_field(const uint8_t *header)
{
    static const struct {
        size_t at;
        size_t size;
    } fields[] = {{100, 8}, {108, 8}, {116, 8}, {124, 12}, {136, 12}, {329, 8}, {337, 8}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!is_octal(header + fields[i].at, fields[i].size))
            return true;
    return !is_octal(header + CHECKSUM_AT, CHECKSUM_BYTES) ||
           (header[TAR_TYPE_AT] != 0 && !isalnum(header[TAR_TYPE_AT]));
}

static bool has_gnu_map(const uint8_t *header)
{
    return memcmp(header + TAR_MAGIC_AT, "ustar  ", 8) == 0 &&
           (header[GNU_MAP_AT] != 0 || header[GNU_REAL_SIZE_AT] != 0);
}

static bool slipway_may_refuse(const struct pair *pair, bool warned)
{
    static const char malformed[] = "Ignoring malformed pax extended attribute";
    static const char *const texts[] = {"a pax record has a name with a NUL in it",
                                        "a pax record has a size that is no number",
                                        "a header's size is no number"};
    if (strcmp(pair->err.text, "a pax record is malformed") == 0 &&
        (warned || strncmp(their_words(pair), malformed, strlen(malformed)) == 0))
        return true;
    if (!has_digits(pair->tar.block + CHECKSUM_AT))
        return true;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(pair->err.text, texts[i]) == 0)
            return true;
    return false;
}

static bool libarchive_may_refuse(const struct pair *pair)
{
    return has_gnu_map(pair->tar.block) || *their_words(pair) == 0 ||
           (pair->first && has_odd_field(pair->input) &&
            strcmp(their_words(pair), "Unrecognized archive format") == 0);
}

static bool is_utf8(const char *text)
{
    bool control;
    size_t size = 1;
    while (*text && (size = utf8_next(text, &control)) > 0)
        text += size;
    return size > 0;
}

static bool is_taken_otherwise(const struct pair *pair)
{
    const struct tar_entry *ours = &pair->entry;
    const char *name = archive_entry_pathname(pair->theirs);
    const char *target = archive_entry_symlink(pair->theirs);
    bool nameless = (name && *name == 0) || (target && *target == 0);
    bool hard = ours->kind == TAR_KIND_HARDLINK && (!pair->tar.is_pax || *ours->target == 0);
    bool empty =
        ours->kind != TAR_KIND_FILE && ours->size == 0 && archive_entry_size(pair->theirs) > 0;
    return nameless || hard || empty || (ours->kind == TAR_KIND_FOLDER && ours->size > 0) ||
           has_gnu_map(pair->tar.block) || !is_utf8(ours->name) ||
           (ours->target && !is_utf8(ours->target));
}

static void compare(struct pair *pair)
{
    for (pair->first = true;; pair->first = false) {
        bool warned = false;
        enum outcome ours = our_next(pair);
        enum outcome theirs = their_next(pair, &warned);
        if (ours == OUTCOME_ENTRY && pair->entry.sparse)
            return;
        if (ours == OUTCOME_REFUSED && slipway_may_refuse(pair, warned))
            return;
        if (theirs == OUTCOME_REFUSED && ours == OUTCOME_ENTRY && libarchive_may_refuse(pair))
            return;
        if (ours != theirs)
            finding(pair, "end");
        if (ours != OUTCOME_ENTRY || warned || is_taken_otherwise(pair))
            return;
        compare_entry(pair);
        if (!compare_content(pair))
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory memory = {data, size};
    struct pair pair = {.err = ERROR_INIT, .input = data, .archive = archive_read_new()};
    static const char *locale;
    if (locale == NULL && (locale = setlocale(LC_CTYPE, "C.UTF-8")) == NULL)
        abort();
    tar_reader_init(&pair.tar, (struct source){.pull = pull, .self = &memory}, UINT64_MAX);
    archive_read_support_format_tar(pair.archive);
    if (archive_read_open_memory(pair.archive, data, size) == ARCHIVE_OK) /* not for 0 bytes */
        compare(&pair);
    archive_read_free(pair.archive);
    tar_reader_deinit(&pair.tar);
    return 0;
}
