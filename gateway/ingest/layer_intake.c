#include "gateway/ingest/layer_intake.h"

#include "image/decoder.h"
#include "image/tar_check.h"

#include <string.h>

/* Looks at the bytes of a layer as they pass. */
struct watch {
    const struct layer_order *order;
    struct source source;
    struct cancel *cancel;
    uint64_t size; /* bytes that came */
    uint8_t peek[CONTENT_PEEK_BYTES];
    size_t peeked;
    bool settled; /* `content` is known */
    enum content content;
    struct tar_check tar;
    struct decoder *decoder;  /* of what comes compressed */
    struct digester *diff_id; /* of what comes out of it */
    uint64_t raw_size;
};

static enum errc too_large(const struct watch *watch, const char *what, struct error *err)
{
    return fail(err, ERR_ARCHIVE_TOO_LARGE, 0, "the layer %s more than %llu bytes (limits.archive)",
                what, (unsigned long long)watch->order->limit_bytes);
}

static enum errc take_decoded(void *self, const void *data, size_t size, struct error *err)
{
    struct watch *watch = self;
    watch->raw_size += size;
    if (watch->raw_size > watch->order->limit_bytes)
        return too_large(watch, "unpacks to", err);
    if (cancel_check(watch->cancel, err) !=
        ERR_OK) /* a piece may unpack to a thousand times as much */
        return err->code;
    digester_update(watch->diff_id, data, size);
    return tar_check_write(&watch->tar, data, size, err);
}

static enum errc look_at(struct watch *watch, const uint8_t *data, size_t size, struct error *err)
{
    return watch->decoder ? decoder_write(watch->decoder, data, size, err)
                          : tar_check_write(&watch->tar, data, size, err);
}

static enum errc unrecognised(const struct watch *watch, struct error *err)
{
    const char *form = content_compression(watch->peek, watch->peeked);
    return fail(err, ERR_ARCHIVE_UNRECOGNISED, 0,
                "the layer is no tar, neither plain nor in gzip or zstd%s%s%s",
                form ? ": it is in " : "", form ? form : "",
                form ? ", which no runtime takes; send the tar, or compress it with gzip or zstd"
                     : "");
}

/* The first bytes are together, or there are no more. */
static enum errc settle(struct watch *watch, struct error *err)
{
    watch->settled = true;
    watch->content = content_of(watch->peek, watch->peeked);
    switch (watch->content) {
    case CONTENT_EMPTY:
        return fail(err, ERR_ARCHIVE_EMPTY, 0,
                    "the layer is empty: an empty layer is two zero "
                    "blocks of a tar");
    case CONTENT_OTHER:
        return unrecognised(watch, err);
    case CONTENT_GZIP:
    case CONTENT_ZSTD:
        watch->decoder = decoder_new(watch->content == CONTENT_GZIP ? CODEC_GZIP : CODEC_ZSTD,
                                     (struct sink){.write = take_decoded, .self = watch});
        watch->diff_id = digester_new(DIGEST_SHA256);
        break;
    case CONTENT_TAR:
        break;
    }
    return look_at(watch, watch->peek, watch->peeked, err);
}

static enum errc watch_bytes(struct watch *watch, const uint8_t *data, size_t size,
                             struct error *err)
{
    if (!watch->settled) {
        size_t room = sizeof watch->peek - watch->peeked;
        size_t n = size < room ? size : room;
        memcpy(watch->peek + watch->peeked, data, n);
        watch->peeked += n;
        data += n;
        size -= n;
        if (watch->peeked < sizeof watch->peek)
            return ERR_OK;
        if (settle(watch, err) != ERR_OK)
            return err->code;
    }
    return look_at(watch, data, size, err);
}

static enum errc watch_end(struct watch *watch, struct error *err)
{
    if (!watch->settled && settle(watch, err) != ERR_OK)
        return err->code;
    if (watch->decoder && decoder_finish(watch->decoder, err) != ERR_OK)
        return err->code;
    return tar_check_finish(&watch->tar, err);
}

static enum errc watched_pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct watch *watch = self;
    if (cancel_check(watch->cancel, err) != ERR_OK ||
        source_pull(&watch->source, data, size, err) != ERR_OK)
        return err->code;
    watch->size += *size;
    if (watch->size > watch->order->limit_bytes)
        return too_large(watch, "has", err);
    enum errc rc = *size > 0 ? watch_bytes(watch, *data, *size, err) : watch_end(watch, err);
    return rc == ERR_OK ? ERR_OK : error_wrap(err, "layer");
}

static enum errc check_diff_id(const struct digest *wanted, const struct digest *diff_id,
                               struct error *err)
{
    char want[DIGEST_TEXT_MAX];
    char have[DIGEST_TEXT_MAX];
    if (wanted->algorithm == DIGEST_NONE || digest_equal(wanted, diff_id))
        return ERR_OK;
    return fail(err, ERR_DIFFID_MISMATCH, 0, "the layer's diffID is %s, not %s",
                digest_text(diff_id, have), digest_text(wanted, want));
}

/* What came as a tar is in the form that was asked for, what came compressed is as it came. */
static struct stored_layer describe(struct watch *watch, const struct layer_result *result)
{
    const struct file_intake_options *files = &watch->order->files;
    struct stored_layer layer = {
        .diff_id = result->diff_id,
        .form = {.codec = files->codec,
                 .effort = file_intake_effort(files->codec, files->effort),
                 .digest = result->digest,
                 .size = result->size,
                 .raw_size = result->raw_size},
    };
    if (watch->decoder) {
        layer.diff_id = digester_finish(watch->diff_id);
        layer.form.codec = watch->content == CONTENT_GZIP ? CODEC_GZIP : CODEC_ZSTD;
        layer.form.effort = EFFORT_AS_CAME;
        layer.form.raw_size = watch->raw_size;
    }
    return layer;
}

static enum errc take(struct watch *watch, struct batch *batch, struct stored_layer *out,
                      struct error *err)
{
    const struct layer_order *order = watch->order;
    const struct file_promise promise = {.digest = order->diff_id, .size = order->size};
    struct layer_result result;
    struct file_intake *intake = file_intake_new(&order->files, watch->cancel, batch);
    enum errc rc = file_intake_take(intake, (struct source){.pull = watched_pull, .self = watch},
                                    &promise, &result, err);
    file_intake_free(intake);
    if (rc != ERR_OK)
        return rc;
    struct stored_layer layer = describe(watch, &result);
    if (check_diff_id(&order->diff_id, &layer.diff_id, err) != ERR_OK)
        return err->code;
    batch_put_layer(batch, &layer.diff_id, &layer.form);
    if (result.start.algorithm != DIGEST_NONE)
        batch_put_start(batch, &result.start, &layer.diff_id);
    *out = layer;
    return ERR_OK;
}

static void watch_deinit(struct watch *watch)
{
    decoder_free(watch->decoder);
    digester_free(watch->diff_id);
    tar_check_deinit(&watch->tar);
}

enum errc layer_take(const struct layer_order *order, struct source source, struct cancel *cancel,
                     struct batch *batch, struct stored_layer *out, struct error *err)
{
    struct watch watch = {.order = order, .source = source, .cancel = cancel};
    tar_check_init(&watch.tar);
    enum errc rc = take(&watch, batch, out, err);
    watch_deinit(&watch);
    return rc;
}

static enum errc unpack(struct watch *watch, struct digest *diff_id, struct error *err)
{
    const uint8_t *data = NULL;
    size_t size = 0;
    do {
        if (watched_pull(watch, &data, &size, err) != ERR_OK)
            return err->code;
    } while (size > 0);
    if (watch->diff_id == NULL)
        return fail(err, ERR_ARCHIVE_UNRECOGNISED, 0, "the layer is not compressed");
    *diff_id = digester_finish(watch->diff_id);
    return ERR_OK;
}

enum errc layer_unpack(struct source source, struct cancel *cancel, uint64_t *limit_bytes,
                       struct digest *diff_id, uint64_t *raw_size, struct error *err)
{
    const struct layer_order order = {.limit_bytes = *limit_bytes};
    struct watch watch = {.order = &order, .source = source, .cancel = cancel};
    tar_check_init(&watch.tar);
    enum errc rc = unpack(&watch, diff_id, err);
    if (rc == ERR_OK)
        *raw_size = watch.raw_size;
    *limit_bytes -= watch.raw_size < *limit_bytes ? watch.raw_size : *limit_bytes;
    watch_deinit(&watch);
    return rc;
}
