#include "upstream/push/schema1_push.h"

#include "base/clock.h"
#include "base/mem.h"
#include "image/image_config.h"
#include "store/blob.h"
#include "store/trust_key.h"
#include "upstream/client/registry.h"
#include "upstream/push/schema1/jws.h"
#include "upstream/push/schema1/schema1.h"
#include "upstream/upload/upload.h"

#include <string.h>

bool schema1_push_applies(const struct target_push *push, const struct manifest *image)
{
    if (!push->repository->endpoint->host->schema1_fallback ||
        strcmp(image->media_type, MEDIA_DOCKER_MANIFEST) != 0)
        return false;
    for (size_t i = 0; i < image->layer_count; i++)
        if (image->layers[i].foreign)
            return false;
    return true;
}

static enum errc send_empty_layer(struct target_push *push, struct registry_client *client,
                                  struct error *err)
{
    struct digest digest = schema1_empty_layer_digest();
    bool exists = target_push_knows(push, &digest);
    if (!exists && registry_blob_exists(client, &digest, &exists, err) != ERR_OK)
        return err->code;
    const struct http_body body = {
        .data = schema1_empty_layer, .fd = -1, .size = SCHEMA1_EMPTY_LAYER_BYTES};
    const struct upload_blob upload = {.digest = &digest, .body = &body};
    if (!exists && upload_blob(client, NULL, &upload, err) != ERR_OK)
        return err->code;
    if (!exists)
        target_push_count(push, &(struct layer_outcome){.sent_bytes = SCHEMA1_EMPTY_LAYER_BYTES});
    target_push_learn(push, &digest);
    return ERR_OK;
}

static enum errc build(struct target_push *push, const struct manifest *image, const char *tag,
                       struct buf *canonical, bool *needs_empty, struct error *err)
{
    autofree char *config = NULL;
    size_t size = 0;
    if (blob_read_all(push->store, &image->config.digest, IMAGE_CONFIG_LIMIT_BYTES, "config",
                      &config, &size, err) != ERR_OK)
        return err->code;
    const struct schema1_image source = {
        .name = push->repository->path,
        .tag = tag,
        .config = config,
        .config_size = size,
        .layers = image->layers,
        .layer_count = image->layer_count,
    };
    return schema1_build(&source, canonical, needs_empty, err);
}

static enum errc sign(struct target_push *push, const struct buf *canonical, struct buf *out,
                      struct error *err)
{
    char *key = NULL;
    char now[CLOCK_TEXT_MAX];
    if (trust_key_get(push->store, jws_key_new, &key, err) != ERR_OK)
        return error_wrap(err, "trust key");
    enum errc code = jws_sign(key, buf_cstr(canonical), canonical->size, clock_text(now), out, err);
    explicit_bzero(key, strlen(key));
    free(key);
    if (code == ERR_OK && out->overflowed)
        code = fail(err, ERR_JSON_TOO_LARGE, 0, "the signed manifest has more than %zu bytes",
                    out->limit_bytes);
    return code;
}

void schema1_document_deinit(struct schema1_document *document)
{
    buf_deinit(&document->canonical);
    buf_deinit(&document->bytes);
}

enum errc schema1_push_prepare(struct target_push *push, struct registry_client *client,
                               const struct manifest *image, const char *tag,
                               struct schema1_document *out, struct error *err)
{
    bool needs_empty = false;
    *out = (struct schema1_document){.canonical = BUF_INIT(MANIFEST_LIMIT_BYTES),
                                     .bytes = BUF_INIT(MANIFEST_LIMIT_BYTES)};
    if (build(push, image, tag, &out->canonical, &needs_empty, err) != ERR_OK ||
        sign(push, &out->canonical, &out->bytes, err) != ERR_OK ||
        (needs_empty && send_empty_layer(push, client, err) != ERR_OK)) {
        schema1_document_deinit(out);
        return err->code;
    }
    out->outgoing = (struct outgoing_manifest){
        .bytes = {out->bytes.data, out->bytes.size, MEDIA_DOCKER_SCHEMA1_SIGNED},
        .canonical = out->canonical.data,
        .canonical_size = out->canonical.size,
        .digest = digest_of(DIGEST_SHA256, out->canonical.data, out->canonical.size),
    };
    return ERR_OK;
}
