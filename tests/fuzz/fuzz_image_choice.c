/*
 * What an archive's tables of contents, manifests and configs say, and which image that is. The
 * first line is what the client asks for: "all", "image=NAME", "platform=OS/ARCHITECTURE" or
 * nothing. Files follow, each with its name in a line that begins with "== "; a digest cannot be
 * guessed, so
 * "@N" in them is that of file N, the first of which is 0, and "@" as a name its own.
 *
 * What is refused is the client's, and what is chosen is a manifest.
 */
#include "gateway/ingest/image_choice.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store_local.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX 10
#define TEXT_MAX ((size_t)64 << 10)

static struct store *store;
static struct pool *codecs;
static char folder[] = "/tmp/fuzz-image-choice-XXXXXX";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void close_store(void)
{
    struct error err = ERROR_INIT;
    store_close(store);
    pool_free(codecs);
    file_remove_tree(AT_FDCWD, folder, &err);
}

static void open_store(void)
{
    struct error err = ERROR_INIT;
    const struct store_options options = {.map_size_bytes = (uint64_t)8 << 20,
                                          .leave_volatile = true};
    assert(mkdtemp(folder));
    enum errc opened = store_open_local(folder, &options, &store, &err);
    enum errc made = pool_new(1, &codecs, &err);
    assert(opened == ERR_OK && made == ERR_OK);
    atexit(close_store);
}

struct archive {
    struct catalog *catalog;
    struct batch *batch;
    struct digest files[FILES_MAX];
    size_t count;
};

/* "@N" is the digest of file N. */
static void add_text(const struct archive *archive, const char *text, struct buf *out)
{
    for (; *text; text++) {
        char digest[DIGEST_TEXT_MAX];
        size_t number = (size_t)(text[1] - '0');
        if (*text == '@' && isdigit((unsigned char)text[1]) && number < archive->count) {
            buf_text(out, digest_text(&archive->files[number], digest));
            text++;
        } else {
            buf_append(out, text, 1);
        }
    }
}

static enum content kind_of(const char *name)
{
    const char *end = strrchr(name, '.');
    return end && strcmp(end, ".tar") == 0 ? CONTENT_TAR : CONTENT_OTHER;
}

/* False: the archive is refused for its entry. */
static bool add_file(struct archive *archive, const char *name, const char *text)
{
    autobuf struct buf bytes = BUF_INIT(TEXT_MAX);
    struct error err = ERROR_INIT;
    struct digest digest;
    char hex[DIGEST_TEXT_MAX];
    add_text(archive, text, &bytes);
    if (bytes.overflowed ||
        batch_put_blob(archive->batch, buf_cstr(&bytes), bytes.size, &digest, &err) != ERR_OK)
        return false;
    const struct layer_result content = {.content = kind_of(name),
                                         .digest = digest,
                                         .raw = digest,
                                         .diff_id = digest,
                                         .size = bytes.size,
                                         .raw_size = bytes.size};
    autofree char *path = strcmp(name, "@") == 0
                              ? xasprintf("blobs/sha256/%s", digest_hex(&digest, hex))
                              : xstrdup(name);
    archive->files[archive->count++] = digest;
    return catalog_add_file(archive->catalog, path, &content, &err) == ERR_OK;
}

/* `text` is cut up. False: an entry is refused. */
static bool add_files(struct archive *archive, char *text)
{
    char *name = text;
    while (name && archive->count < FILES_MAX) {
        char *body = strchr(name, '\n');
        if (body == NULL)
            return true;
        *body++ = '\0';
        char *next = strncmp(body, "== ", 3) == 0 ? body : strstr(body, "\n== ");
        bool is_empty = next == body;
        if (next)
            *next = '\0';
        if (name[0] && !add_file(archive, name, body))
            return false;
        name = next ? next + (is_empty ? 3 : 4) : NULL;
    }
    return true;
}

static void select_image(const char *text, struct platform *platform,
                         struct image_selector *selector)
{
    struct error ignored = ERROR_INIT;
    selector->several = strcmp(text, "all") == 0;
    if (strncmp(text, "image=", 6) == 0)
        selector->image = text + 6;
    if (strncmp(text, "platform=", 9) == 0 &&
        platform_parse(text + 9, platform, &ignored) == ERR_OK)
        selector->platform = platform;
}

static void choose(const struct archive *archive, const struct image_selector *selector)
{
    struct chosen_images chosen = {.count = 0};
    struct error err = ERROR_INIT;
    if (image_choose(archive->catalog, archive->batch, selector, &chosen, &err) != ERR_OK) {
        assert(error_party(err.code) == PARTY_CLIENT);
        return;
    }
    assert(chosen.count == 1 || (chosen.count > 1 && selector->several));
    for (size_t i = 0; i < chosen.count; i++)
        assert(chosen.items[i].manifest.size > 0);
    chosen_images_deinit(&chosen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive archive = {.count = 0};
    struct cancel cancel;
    struct platform platform;
    struct image_selector selector = {.cancel = &cancel, .codec = CODEC_GZIP};
    autofree char *text = xstrndup((const char *)data, size);
    char *files = strstr(text, "\n== ");
    if (files == NULL || size > TEXT_MAX)
        return 0;
    *files = '\0';
    if (store == NULL)
        open_store();
    selector.codecs = codecs;
    cancel_init(&cancel);
    select_image(text, &platform, &selector);
    archive.batch = batch_begin(store, BATCH_VOLATILE);
    archive.catalog = catalog_new();
    if (add_files(&archive, files + 4))
        choose(&archive, &selector);
    catalog_free(archive.catalog);
    batch_abort(archive.batch);
    cancel_deinit(&cancel);
    return 0;
}
