/*
 * Manifests and configs: what parses can be built anew and have its parts replaced, and the result
 * parses again and says what was put in.
 */
#include "base/mem.h"
#include "image/image_config.h"
#include "image/manifest.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct manifest parse_again(const struct buf *text, const char *media_type)
{
    struct error err = ERROR_INIT;
    struct manifest manifest;
    assert(!text->overflowed);
    enum errc rc = manifest_parse(text->data, text->size, media_type, "again", &manifest, &err);
    assert(rc == ERR_OK);
    return manifest;
}

/* New content for every second entry, so that both kinds are there. */
static void change(struct descriptor *entries, size_t count)
{
    for (size_t i = 0; i < count; i += 2) {
        entries[i].digest = digest_of(DIGEST_SHA256, &i, sizeof i);
        entries[i].size = i;
    }
}

static void same(const struct descriptor *a, const struct descriptor *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert(digest_equal(&a[i].digest, &b[i].digest) && a[i].size == b[i].size);
        assert(strcmp(a[i].media_type, b[i].media_type) == 0);
    }
}

static void check_image(const uint8_t *data, size_t size, struct manifest *image)
{
    struct error err = ERROR_INIT;
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    change(image->layers, image->layer_count);
    enum errc rc =
        manifest_replace_layers(data, size, image->layers, image->layer_count, &out, &err);
    assert(rc == ERR_OK);
    struct manifest again = parse_again(&out, image->media_type);
    assert(again.kind == MANIFEST_IMAGE && again.layer_count == image->layer_count);
    assert(again.has_subject == image->has_subject);
    same(image->layers, again.layers, again.layer_count);
    same(&image->config, &again.config, 1);
    manifest_deinit(&again);

    buf_clear(&out);
    manifest_build_schema2(&image->config, image->layers, image->layer_count, &out);
    again = parse_again(&out, MEDIA_DOCKER_MANIFEST);
    same(image->layers, again.layers, image->layer_count);
    manifest_deinit(&again);

    buf_clear(&out);
    manifest_build_oci(&image->config, image->layers, image->layer_count, &out);
    again = parse_again(&out, MEDIA_OCI_MANIFEST);
    same(image->layers, again.layers, image->layer_count);
    manifest_deinit(&again);
}

static void check_index(const uint8_t *data, size_t size, struct manifest *index)
{
    struct error err = ERROR_INIT;
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    change(index->children, index->child_count);
    enum errc rc =
        manifest_replace_children(data, size, index->children, index->child_count, &out, &err);
    assert(rc == ERR_OK);
    struct manifest again = parse_again(&out, index->media_type);
    assert(again.kind == MANIFEST_INDEX && again.child_count == index->child_count);
    same(index->children, again.children, again.child_count);
    manifest_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct manifest manifest;
    struct image_config config;
    if (manifest_parse(data, size, NULL, "fuzz", &manifest, &err) == ERR_OK) {
        if (manifest.kind == MANIFEST_IMAGE)
            check_image(data, size, &manifest);
        else
            check_index(data, size, &manifest);
        manifest_deinit(&manifest);
    }
    if (manifest_parse(data, size, MEDIA_DOCKER_LIST, "fuzz", &manifest, &err) == ERR_OK)
        manifest_deinit(&manifest);
    if (manifest_parse_any(data, size, NULL, "fuzz", &manifest, &err) == ERR_OK) {
        assert(media_type_valid(manifest.media_type));
        assert(manifest.kind != MANIFEST_OPAQUE ||
               (manifest.layer_count + manifest.child_count == 0 && !manifest.has_subject));
        manifest_deinit(&manifest);
    }
    if (image_config_parse(data, size, "fuzz", &config, &err) == ERR_OK) {
        assert(config.diff_id_count <= IMAGE_LAYERS_MAX);
        image_config_deinit(&config);
    }
    return 0;
}
