#include "gateway/ingest/config_image.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/ingest/layer_intake.h"
#include "gateway/ingest/unpacked.h"
#include "image/digest_map.h"
#include "image/image_config.h"
#include "image/manifest.h"

#include <string.h>

bool config_image_type(const char *content_type, bool *docker)
{
    if (content_type == NULL)
        return false;
    size_t size = strcspn(content_type, "; \t");
    for (int i = 0; i < 2; i++) {
        const char *type = i == 0 ? MEDIA_OCI_CONFIG : MEDIA_DOCKER_CONFIG;
        if (size == strlen(type) && strncasecmp(content_type, type, size) == 0) {
            *docker = i == 1;
            return true;
        }
    }
    return false;
}

void config_image_deinit(struct config_image *image)
{
    free(image->missing);
    image->missing = NULL;
    image->missing_count = 0;
}

/* ---- layers ---- */

struct making {
    const struct config_order *order;
    struct cancel *cancel;
    struct batch *batch;
    uint64_t left; /* of the limit */
    struct config_image *out;
};

static void note_missing(struct config_image *image, const struct digest *diff_id)
{
    image->missing = xrealloc(image->missing, image->missing_count + 1, sizeof *image->missing);
    image->missing[image->missing_count++] = *diff_id;
}

static enum errc unpack(struct making *making, const struct digest *digest, struct unpacked *out,
                        struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    struct file_source reader;
    char text[DIGEST_TEXT_MAX];
    uint64_t limit = making->left;
    if (blob_open(making->order->store, digest, &blob, err) != ERR_OK)
        return err->code;
    file_source_init(&reader, blob.fd, "layer");
    enum errc rc = layer_unpack(file_source(&reader), making->cancel, &making->left, &out->diff_id,
                                &out->raw_size, err);
    file_source_deinit(&reader);
    if (rc == ERR_OK)
        return ERR_OK;
    if (error_party(rc) != PARTY_CLIENT || rc == ERR_CANCELLED)
        return rc;
    log_warn("blob %s is no layer: %s", digest_text(digest, text), err->text);
    *out = (struct unpacked){.raw_size = rc == ERR_ARCHIVE_TOO_LARGE ? limit : UINT64_MAX};
    error_clear(err);
    return ERR_OK;
}

/* Is the blob of this form the layer that it is believed to be? Then its record says so from now
 * on. */
static enum errc check_form(struct making *making, const struct digest *diff_id,
                            struct layer_form *form, bool *right, struct error *err)
{
    struct unpacked unpacked;
    char text[DIGEST_TEXT_MAX];
    if (!unpacked_find(&form->digest, making->left, &unpacked)) {
        if (unpack(making, &form->digest, &unpacked, err) != ERR_OK)
            return err->code;
        unpacked_note(&form->digest, &unpacked);
    }
    *right = digest_equal(&unpacked.diff_id, diff_id);
    form->raw_size = unpacked.raw_size;
    if (*right)
        batch_put_layer(making->batch, diff_id, form);
    else
        log_info("blob %s is not the layer that a config says it is",
                 digest_text(&form->digest, text));
    return ERR_OK;
}

static void leave_out(struct layer_form *forms, size_t *count, const struct layer_form *form)
{
    size_t at = (size_t)(form - forms);
    memmove(&forms[at], &forms[at + 1], (*count - at - 1) * sizeof *forms);
    --*count;
}

static enum errc find_seen(struct making *making, const struct digest *diff_id, bool seen,
                           bool *found, struct layer_form *out, struct error *err)
{
    struct form_preference preference = making->order->preference;
    struct layer_form forms[LAYER_FORMS_MAX];
    size_t count = 0;
    *found = false;
    preference.seen = seen;
    if (layer_forms(making->order->store, diff_id, forms, &count, err) != ERR_OK)
        return err->code;
    while (!*found) {
        const struct layer_form *best = form_choose(&preference, forms, count);
        if (best == NULL)
            return ERR_OK;
        *out = *best;
        *found = out->raw_size > 0;
        if (!*found && check_form(making, diff_id, out, found, err) != ERR_OK)
            return err->code;
        if (!*found)
            leave_out(forms, &count, best);
    }
    return ERR_OK;
}

/* It is held, but in no form that the manifest can have. */
static enum errc held_as_zstd(struct making *making, const struct digest *diff_id, bool *held,
                              struct error *err)
{
    const struct form_preference any = {.codec = CODEC_ZSTD, .seen = true};
    struct layer_form forms[LAYER_FORMS_MAX];
    size_t count = 0;
    if (layer_forms(making->order->store, diff_id, forms, &count, err) != ERR_OK)
        return err->code;
    *held = making->order->preference.no_zstd && form_choose(&any, forms, count) != NULL;
    return ERR_OK;
}

static enum errc no_form(struct making *making, const struct digest *diff_id, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    bool zstd = false;
    if (held_as_zstd(making, diff_id, &zstd, err) != ERR_OK)
        return err->code;
    if (zstd)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "layer %s is held only as zstd, which a schema2 manifest cannot have: send the "
                    "config as " MEDIA_OCI_CONFIG ", or the layer with compression=gzip",
                    digest_text(diff_id, text));
    note_missing(making->out, diff_id);
    return ERR_OK;
}

static enum errc find_layer(struct making *making, const struct digest *diff_id,
                            struct descriptor *out, struct error *err)
{
    const struct config_order *order = making->order;
    struct layer_form form;
    bool found = false;
    if (order->may_use && !order->may_use(order->self, diff_id)) {
        note_missing(making->out, diff_id);
        return ERR_OK;
    }
    if (find_seen(making, diff_id, true, &found, &form, err) != ERR_OK ||
        (!found && find_seen(making, diff_id, false, &found, &form, err) != ERR_OK))
        return err->code;
    if (!found)
        return no_form(making, diff_id, err);
    *out = (struct descriptor){.digest = form.digest, .size = form.size};
    snprintf(out->media_type, sizeof out->media_type, "%s",
             media_type_of_layer(form.codec, making->order->docker));
    return batch_hold_blob(making->batch, &form.digest, err);
}

static enum errc fail_missing(const struct config_image *image, struct error *err)
{
    autobuf struct buf list = BUF_INIT(ERROR_TEXT_MAX);
    char text[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < image->missing_count && !list.overflowed; i++)
        buf_format(&list, "%s%s", i > 0 ? ", " : "", digest_text(&image->missing[i], text));
    return fail(err, ERR_LAYER_UNKNOWN, 0, "%zu layer%s not held: %s%s", image->missing_count,
                image->missing_count == 1 ? " is" : "s are", buf_cstr(&list),
                list.overflowed ? ", ..." : "");
}

static enum errc find_layers(struct making *making, const struct image_config *config,
                             struct descriptor *layers, struct error *err)
{
    struct digest_map first = {.first = NULL}; /* a layer that repeats is looked for once */
    for (size_t i = 0; i < config->diff_id_count && err->code == ERR_OK; i++) {
        struct digest_item *item = digest_map_add(&first, &config->diff_ids[i]);
        if (item->number > 0)
            layers[i] = layers[item->number - 1];
        else
            find_layer(making, &config->diff_ids[i], &layers[i], err);
        if (item->number == 0)
            item->number = i + 1;
    }
    digest_map_deinit(&first);
    if (err->code != ERR_OK)
        return err->code;
    return making->out->missing_count > 0 ? fail_missing(making->out, err) : ERR_OK;
}

/* ---- the manifest ---- */

static enum errc put_image(struct making *making, const struct descriptor *layers, size_t count,
                           struct error *err)
{
    const struct config_order *order = making->order;
    autobuf struct buf bytes = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct descriptor config = {.size = order->size};
    struct descriptor manifest = {0};
    snprintf(config.media_type, sizeof config.media_type, "%s",
             order->docker ? MEDIA_DOCKER_CONFIG : MEDIA_OCI_CONFIG);
    if (batch_put_blob(making->batch, order->data, order->size, &config.digest, err) != ERR_OK)
        return err->code;
    if (order->docker)
        manifest_build_schema2(&config, layers, count, &bytes);
    else
        manifest_build_oci(&config, layers, count, &bytes);
    if (bytes.overflowed)
        return fail(err, ERR_MANIFEST_INVALID, 0, "the manifest would be over %zu bytes",
                    MANIFEST_LIMIT_BYTES);
    manifest.size = bytes.size;
    snprintf(manifest.media_type, sizeof manifest.media_type, "%s",
             order->docker ? MEDIA_DOCKER_MANIFEST : MEDIA_OCI_MANIFEST);
    if (batch_put_blob(making->batch, bytes.data, bytes.size, &manifest.digest, err) != ERR_OK)
        return err->code;
    making->out->config = config.digest;
    making->out->manifest = manifest;
    return ERR_OK;
}

enum errc config_image_make(const struct config_order *order, struct cancel *cancel,
                            struct batch *batch, struct config_image *out, struct error *err)
{
    struct making making = {
        .order = order, .cancel = cancel, .batch = batch, .left = order->limit_bytes, .out = out};
    struct image_config config;
    *out = (struct config_image){0};
    if (image_config_parse(order->data, order->size, "config", &config, err) != ERR_OK)
        return err->code;
    autofree struct descriptor *layers = xcalloc(config.diff_id_count, sizeof *layers);
    enum errc rc = find_layers(&making, &config, layers, err);
    if (rc == ERR_OK)
        rc = put_image(&making, layers, config.diff_id_count, err);
    image_config_deinit(&config);
    return rc;
}
