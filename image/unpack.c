#include "image/unpack.h"

#include "base/mem.h"

#include <bzlib.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define HEAD_BYTES 10
#define PIECE_BYTES ((size_t)256 * 1024)
#define INPUT_MAX ((size_t)1 << 30) /* at a time, of what zlib and libbz2 count in 32 bits */
#define GZIP_WINDOW (15 + 16)       /* the window's bits, and "with a gzip header" */
#define XZ_MEMORY_MAX (UNPACK_WINDOW_MAX + ((uint64_t)1 << 20)) /* the decoder's own is 64 KiB */

enum form { FORM_PLAIN, FORM_GZIP, FORM_ZSTD, FORM_XZ, FORM_BZIP2 };

struct unpack {
    struct unpack *inner; /* owned: what this one's source is; NULL: the caller's */
    struct source source;
    uint8_t head[HEAD_BYTES]; /* what the source begins with, pulled already */
    size_t head_size;
    size_t head_used;
    const uint8_t *rest; /* of the piece that was pulled last */
    size_t rest_size;
    bool source_ended;

    enum form form;
    const uint8_t *in;
    size_t in_size;
    bool in_ended;
    bool open;     /* a member has begun and not ended */
    bool any;      /* one has ended */
    bool finished; /* nothing more comes out */
    z_stream gzip;
    gz_header gzip_head;
    ZSTD_DCtx *zstd;
    lzma_stream xz;
    bz_stream bzip2;
    uint8_t *out;
};

/* ---- the source ---- */

static enum errc read_head(struct unpack *unpack, struct error *err)
{
    while (unpack->head_size < HEAD_BYTES) {
        if (source_pull(&unpack->source, &unpack->rest, &unpack->rest_size, err) != ERR_OK)
            return err->code;
        unpack->source_ended = unpack->rest_size == 0;
        if (unpack->source_ended)
            return ERR_OK;
        size_t room = HEAD_BYTES - unpack->head_size;
        size_t n = unpack->rest_size < room ? unpack->rest_size : room;
        memcpy(unpack->head + unpack->head_size, unpack->rest, n);
        unpack->head_size += n;
        unpack->rest += n;
        unpack->rest_size -= n;
    }
    return ERR_OK;
}

/* The source from its beginning, of which read_head() has taken a part already. */
static enum errc pull_input(struct unpack *unpack, const uint8_t **data, size_t *size,
                            struct error *err)
{
    if (unpack->head_used < unpack->head_size) {
        *data = unpack->head + unpack->head_used;
        *size = unpack->head_size - unpack->head_used;
        unpack->head_used = unpack->head_size;
        return ERR_OK;
    }
    if (unpack->rest_size > 0) {
        *data = unpack->rest;
        *size = unpack->rest_size;
        unpack->rest_size = 0;
        return ERR_OK;
    }
    *size = 0;
    return unpack->source_ended ? ERR_OK : source_pull(&unpack->source, data, size, err);
}

/* Of what passes as it is. */
static enum errc skip(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    struct unpack *unpack = self;
    size_t head = unpack->head_size - unpack->head_used;
    head = count < head ? (size_t)count : head;
    size_t rest = count - head < unpack->rest_size ? (size_t)(count - head) : unpack->rest_size;
    uint64_t more = 0;
    if (count > head + rest && !unpack->source_ended &&
        source_pass_over(&unpack->source, count - head - rest, &more, err) != ERR_OK)
        return err->code;
    unpack->head_used += head;
    unpack->rest += rest;
    unpack->rest_size -= rest;
    *skipped = head + rest + more;
    return ERR_OK;
}

static enum form form_of(const uint8_t *head, size_t size)
{
    static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z', 0};
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    static const uint8_t skippable[] = {0x2a, 0x4d, 0x18}; /* behind 0x50 to 0x5f */
    static const uint8_t block[] = {0x31, 0x41, 0x59, 0x26, 0x53, 0x59};
    static const uint8_t no_block[] = {0x17, 0x72, 0x45, 0x38, 0x50, 0x90};
    if (size >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == Z_DEFLATED)
        return FORM_GZIP;
    if (size >= sizeof xz && memcmp(head, xz, sizeof xz) == 0)
        return FORM_XZ;
    if (size >= sizeof zstd &&
        (memcmp(head, zstd, sizeof zstd) == 0 ||
         ((head[0] & 0xf0u) == 0x50 && memcmp(head + 1, skippable, sizeof skippable) == 0)))
        return FORM_ZSTD;
    if (size == HEAD_BYTES && memcmp(head, "BZh", 3) == 0 &&
        (memcmp(head + 4, block, sizeof block) == 0 ||
         memcmp(head + 4, no_block, sizeof no_block) == 0))
        return FORM_BZIP2;
    return FORM_PLAIN;
}

/* ---- the formats ---- */

static enum errc damaged(const char *form, const char *why, struct error *err)
{
    return fail(err, ERR_ARCHIVE_CORRUPT, 0, "%s data is damaged: %s", form,
                why ? why : "no reason given");
}

static enum errc no_memory(struct error *err)
{
    return fail(err, ERR_MEMORY, 0, "no memory to decompress");
}

static void input_used(struct unpack *unpack, size_t used)
{
    unpack->in += used;
    unpack->in_size -= used;
}

static void begin_gzip(struct unpack *unpack)
{
    inflateReset(&unpack->gzip);
    unpack->gzip_head = (gz_header){0};
    inflateGetHeader(&unpack->gzip, &unpack->gzip_head);
    unpack->open = true;
}

static enum errc run_gzip(struct unpack *unpack, size_t *made, struct error *err)
{
    z_stream *stream = &unpack->gzip;
    size_t size = unpack->in_size < INPUT_MAX ? unpack->in_size : INPUT_MAX;
    if (!unpack->open)
        begin_gzip(unpack);
    stream->next_in = (uint8_t *)(uintptr_t)unpack->in;
    stream->avail_in = (uInt)size;
    stream->next_out = unpack->out;
    stream->avail_out = PIECE_BYTES;
    int rc = inflate(stream, Z_NO_FLUSH);
    input_used(unpack, size - stream->avail_in);
    *made = PIECE_BYTES - stream->avail_out;
    if (rc == Z_STREAM_END) {
        unpack->open = false;
        unpack->any = true;
        return ERR_OK;
    }
    bool behind = unpack->any && unpack->gzip_head.done != 1; /* the last member, that is */
    if (rc == Z_DATA_ERROR && behind)
        unpack->finished = true;
    else if (rc == Z_MEM_ERROR)
        return no_memory(err);
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return damaged("gzip", stream->msg, err);
    if (behind && unpack->in_ended)
        unpack->finished = true;
    return ERR_OK;
}

static enum errc run_bzip2(struct unpack *unpack, size_t *made, struct error *err)
{
    bz_stream *stream = &unpack->bzip2;
    size_t size = unpack->in_size < INPUT_MAX ? unpack->in_size : INPUT_MAX;
    if (!unpack->open) {
        BZ2_bzDecompressEnd(stream);
        *stream = (bz_stream){0};
        if (BZ2_bzDecompressInit(stream, 0, 0) != BZ_OK)
            return no_memory(err);
        unpack->open = true;
    }
    stream->next_in = (char *)(uintptr_t)unpack->in;
    stream->avail_in = (unsigned)size;
    stream->next_out = (char *)unpack->out;
    stream->avail_out = PIECE_BYTES;
    int rc = BZ2_bzDecompress(stream);
    input_used(unpack, size - stream->avail_in);
    *made = PIECE_BYTES - stream->avail_out;
    if (rc == BZ_STREAM_END) {
        unpack->open = false;
        unpack->any = true;
        return ERR_OK;
    }
    if (rc == BZ_DATA_ERROR_MAGIC && unpack->any)
        unpack->finished = true;
    else if (rc == BZ_MEM_ERROR)
        return no_memory(err);
    else if (rc != BZ_OK)
        return damaged("bzip2", "a block is not as its checksum says, or is none", err);
    /* Fewer bytes than a stream's magic. */
    if (unpack->any && unpack->in_ended && stream->total_in_hi32 == 0 && stream->total_in_lo32 < 4)
        unpack->finished = true;
    return ERR_OK;
}

static enum errc window_too_large(const char *what, struct error *err)
{
    return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                "%s is over %llu bytes; compress it again with less, with zstd at most --long=%d",
                what, (unsigned long long)UNPACK_WINDOW_MAX, UNPACK_WINDOW_LOG_MAX);
}

static enum errc run_zstd(struct unpack *unpack, size_t *made, struct error *err)
{
    ZSTD_inBuffer in = {.src = unpack->in, .size = unpack->in_size};
    ZSTD_outBuffer out = {.dst = unpack->out, .size = PIECE_BYTES};
    size_t rc = ZSTD_decompressStream(unpack->zstd, &out, &in);
    input_used(unpack, in.pos);
    *made = out.pos;
    if (ZSTD_isError(rc)) {
        ZSTD_ErrorCode why = ZSTD_getErrorCode(rc);
        if (why == ZSTD_error_frameParameter_windowTooLarge)
            return window_too_large("the window that the zstd data asks for", err);
        return why == ZSTD_error_memory_allocation ? no_memory(err)
                                                   : damaged("zstd", ZSTD_getErrorString(why), err);
    }
    unpack->open = rc != 0;
    unpack->any = unpack->any || rc == 0;
    return ERR_OK;
}

static enum errc run_xz(struct unpack *unpack, size_t *made, struct error *err)
{
    lzma_stream *stream = &unpack->xz;
    unpack->open = true;
    stream->next_in = unpack->in;
    stream->avail_in = unpack->in_size;
    stream->next_out = unpack->out;
    stream->avail_out = PIECE_BYTES;
    lzma_ret rc = lzma_code(stream, unpack->in_ended ? LZMA_FINISH : LZMA_RUN);
    input_used(unpack, unpack->in_size - stream->avail_in);
    *made = PIECE_BYTES - stream->avail_out;
    switch (rc) {
    case LZMA_OK:
    case LZMA_BUF_ERROR: /* no progress: the caller sees */
        return ERR_OK;
    case LZMA_STREAM_END:
        unpack->open = false;
        unpack->any = unpack->finished = true;
        return ERR_OK;
    case LZMA_MEMLIMIT_ERROR:
        return window_too_large("the dictionary that the xz data asks for", err);
    case LZMA_MEM_ERROR:
        return no_memory(err);
    case LZMA_OPTIONS_ERROR:
        return damaged("xz", "options that the decoder does not know", err);
    default:
        return damaged("xz", "a block or index is not as its checksum says, or is none", err);
    }
}

static enum errc begin(struct unpack *unpack, struct error *err)
{
    bool begun = true;
    unpack->out = unpack->form == FORM_PLAIN ? NULL : xmalloc(PIECE_BYTES);
    switch (unpack->form) {
    case FORM_GZIP:
        begun = inflateInit2(&unpack->gzip, GZIP_WINDOW) == Z_OK;
        break;
    case FORM_ZSTD:
        unpack->zstd = ZSTD_createDCtx();
        begun = unpack->zstd != NULL &&
                !ZSTD_isError(ZSTD_DCtx_setParameter(unpack->zstd, ZSTD_d_windowLogMax,
                                                     UNPACK_WINDOW_LOG_MAX));
        break;
    case FORM_XZ:
        begun = lzma_stream_decoder(&unpack->xz, XZ_MEMORY_MAX, LZMA_CONCATENATED) == LZMA_OK;
        break;
    case FORM_BZIP2:
    case FORM_PLAIN:
        break;
    }
    return begun ? ERR_OK : no_memory(err);
}

static enum errc run(struct unpack *unpack, size_t *made, struct error *err)
{
    switch (unpack->form) {
    case FORM_GZIP:
        return run_gzip(unpack, made, err);
    case FORM_ZSTD:
        return run_zstd(unpack, made, err);
    case FORM_XZ:
        return run_xz(unpack, made, err);
    default:
        return run_bzip2(unpack, made, err);
    }
}

/* ---- what comes out ---- */

static enum errc refill(struct unpack *unpack, struct error *err)
{
    if (unpack->in_size > 0 || unpack->in_ended)
        return ERR_OK;
    if (pull_input(unpack, &unpack->in, &unpack->in_size, err) != ERR_OK)
        return err->code;
    unpack->in_ended = unpack->in_size == 0;
    return ERR_OK;
}

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct unpack *unpack = self;
    if (unpack->form == FORM_PLAIN)
        return pull_input(unpack, data, size, err);
    *size = 0;
    while (*size == 0 && !unpack->finished) {
        if (refill(unpack, err) != ERR_OK)
            return err->code;
        size_t before = unpack->in_size;
        bool between = unpack->any && !unpack->open;
        if (unpack->in_ended && between && unpack->form != FORM_XZ) {
            unpack->finished = true;
            break;
        }
        if (run(unpack, size, err) != ERR_OK)
            return err->code;
        if (unpack->in_ended && *size == 0 && before == unpack->in_size && !unpack->finished)
            return fail(err, ERR_ARCHIVE_TRUNCATED, 0, "the compressed data ends early");
    }
    *data = unpack->out;
    return ERR_OK;
}

struct source unpack_source(struct unpack *unpack)
{
    bool skips = unpack->form == FORM_PLAIN && unpack->source.pass_over;
    return (struct source){.pull = pull, .self = unpack, .pass_over = skips ? skip : NULL};
}

enum errc unpack_open(struct source source, struct unpack **out, struct error *err)
{
    struct unpack *outer = NULL;
    for (unsigned depth = 0;; depth++) {
        struct unpack *unpack = xcalloc(1, sizeof *unpack);
        unpack->inner = outer;
        unpack->source = outer ? unpack_source(outer) : source;
        outer = unpack;
        enum errc rc = read_head(unpack, err);
        if (rc == ERR_OK) {
            unpack->form = form_of(unpack->head, unpack->head_size);
            rc = unpack->form != FORM_PLAIN && depth == UNPACK_DEPTH_MAX
                     ? fail(err, ERR_ARCHIVE_UNRECOGNISED, 0, "it is compressed more than %d times",
                            UNPACK_DEPTH_MAX)
                     : begin(unpack, err);
        }
        if (rc != ERR_OK) {
            unpack_close(unpack);
            return rc;
        }
        if (unpack->form == FORM_PLAIN) {
            *out = unpack;
            return ERR_OK;
        }
    }
}

void unpack_close(struct unpack *unpack)
{
    while (unpack != NULL) {
        struct unpack *inner = unpack->inner;
        if (unpack->gzip.state != NULL)
            inflateEnd(&unpack->gzip);
        if (unpack->bzip2.state != NULL)
            BZ2_bzDecompressEnd(&unpack->bzip2);
        lzma_end(&unpack->xz);
        ZSTD_freeDCtx(unpack->zstd);
        free(unpack->out);
        free(unpack);
        unpack = inner;
    }
}
