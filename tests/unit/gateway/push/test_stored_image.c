/* What is held, by every name that a client may use, and what goes with it. */
#include "tests/unit/store/store_test.h"

#include "gateway/push/stored_image.h"
#include "image/manifest.h"
#include "store/references.h"
#include "store/repositories.h"

static struct batch *begin(struct store *store)
{
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    return batch;
}

/* The bytes of an OCI manifest that differ by `name`, with a subject or without. */
static char *manifest_text(const char *name, const struct digest *subject)
{
    char config[DIGEST_TEXT_MAX];
    char text[DIGEST_TEXT_MAX];
    struct digest digest = digest_of_text(name);
    autofree char *more = subject ? xasprintf(",\"subject\":{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                              "\",\"digest\":\"%s\",\"size\":1}",
                                              digest_text(subject, text))
                                  : xstrdup("");
    return xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                     "\",\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
                     "\",\"digest\":\"%s\",\"size\":2},\"layers\":[]%s}",
                     digest_text(&digest, config), more);
}

static char *index_text(const struct digest *child)
{
    char text[DIGEST_TEXT_MAX];
    return xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                     "\",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                     "\",\"digest\":\"%s\",\"size\":1}]}",
                     digest_text(child, text));
}

/* Put it into a repository of the front; `repository` NULL: into the store only. */
static struct digest put(struct store *store, const char *repository, const char *tag,
                         const char *text, const char *media_type, const struct digest *subject)
{
    struct error err = ERROR_INIT;
    struct batch *batch = begin(store);
    struct manifest_entry entry = {.repository = repository, .tag = tag, .subject = subject};
    struct digest digest;
    char name[DIGEST_TEXT_MAX];
    assert_ok(batch_put_blob(batch, text, strlen(text), &digest, &err), &err);
    autofree char *descriptor =
        xasprintf("{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu,\"artifactType\":\"a/b\"}",
                  media_type, digest_text(&digest, name), strlen(text));
    entry.manifest.digest = digest;
    entry.manifest.size = strlen(text);
    snprintf(entry.manifest.media_type, sizeof entry.manifest.media_type, "%s", media_type);
    entry.descriptor = subject ? descriptor : NULL;
    if (repository)
        batch_put_manifest(batch, &entry);
    assert_ok(batch_commit(batch, &err), &err);
    return digest;
}

static struct digest put_image(struct store *store, const char *repository, const char *tag,
                               const char *name, const struct digest *subject)
{
    autofree char *text = manifest_text(name, subject);
    return put(store, repository, tag, text, MEDIA_OCI_MANIFEST, subject);
}

static void name_it(struct store *store, const char *name, const struct digest *manifest)
{
    struct error err = ERROR_INIT;
    struct reference reference;
    assert_ok(reference_parse(name, &reference, &err), &err);
    assert_ok(references_put(store, &reference, manifest, MEDIA_OCI_MANIFEST, &err), &err);
}

static void assert_finds(struct store *store, const char *text, const struct digest *manifest,
                         const char *tag)
{
    struct error err = ERROR_INIT;
    struct stored_image image;
    assert_ok(stored_image_find(store, text, &image, &err), &err);
    assert_true(digest_equal(&image.manifest.digest, manifest));
    assert_string_equal(image.manifest.media_type, MEDIA_OCI_MANIFEST);
    assert_true(image.manifest.size > 0);
    assert_int_equal(image.config.algorithm, DIGEST_SHA256);
    assert_string_equal(image.tag, tag);
    stored_image_deinit(&image);
}

static void assert_refused(struct store *store, const char *text, enum errc code)
{
    struct error err = ERROR_INIT;
    struct stored_image image;
    assert_code(stored_image_find(store, text, &image, &err), code, &err);
}

static void names(void **state)
{
    struct store *store = open_store(*state);
    struct digest front = put_image(store, "team/app", "1.0", "front", NULL);
    struct digest hosted = put_image(store, "r.example.com:5000/team/app", "1.0", "hosted", NULL);
    struct digest single = put_image(store, "app", "1.0", "single", NULL);
    struct digest archive = put_image(store, NULL, NULL, "archive", NULL);
    char text[DIGEST_TEXT_MAX];
    name_it(store, "team/app:1.0", &archive); /* the front goes first */
    name_it(store, "team/app:2.0", &archive);
    name_it(store, "ubuntu:22.04", &archive);
    assert_finds(store, "team/app:1.0", &front, "1.0");
    assert_finds(store, "docker.io/team/app:1.0", &archive, "1.0");
    assert_finds(store, "team/app:2.0", &archive, "2.0");
    assert_finds(store, "docker.io/library/ubuntu:22.04", &archive, "22.04");
    assert_finds(store, "ubuntu:22.04", &archive, "22.04");
    assert_finds(store, "r.example.com:5000/team/app:1.0", &hosted, "1.0");
    assert_finds(store, "app:1.0", &single, "1.0");
    digest_text(&front, text);
    assert_finds(store, text, &front, "");
    autofree char *pinned = xasprintf("team/app@%s", text);
    autofree char *both = xasprintf("team/app:9.9@%s", text);
    autofree char *elsewhere = xasprintf("app@%s", text);
    assert_finds(store, pinned, &front, "");
    assert_finds(store, both, &front, "9.9");
    assert_refused(store, elsewhere, ERR_IMAGE_UNKNOWN);
    assert_finds(store, digest_text(&archive, text), &archive, "");
    store_close(store);
}

static void what_is_no_image(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct batch *batch = begin(store);
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    assert_ok(batch_put_blob(batch, "no manifest", 11, &digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    assert_refused(store, digest_text(&digest, text), ERR_IMAGE_UNKNOWN);
    digest = digest_of_text("nobody's");
    assert_refused(store, digest_text(&digest, text), ERR_IMAGE_UNKNOWN);
    assert_refused(store, "team/app:1.0", ERR_IMAGE_UNKNOWN);
    assert_refused(store, "team/app", ERR_REFERENCE_INVALID);
    assert_refused(store, "r.example.com:5000/app", ERR_REFERENCE_INVALID);
    assert_refused(store, "", ERR_REFERENCE_INVALID);
    assert_refused(store, ":1", ERR_REFERENCE_INVALID);
    assert_refused(store, "app:", ERR_REFERENCE_INVALID);
    assert_refused(store, "team/App:1", ERR_REFERENCE_INVALID);
    assert_refused(store, "team/../app:1", ERR_REFERENCE_INVALID);
    assert_refused(store, "app@sha256:12", ERR_DIGEST_INVALID);
    store_close(store);
}

static bool goes_along(const struct stored_image *image, const struct digest *digest,
                       const char *tag, size_t *place)
{
    for (*place = 0; *place < image->referrer_count; ++*place)
        if (digest_equal(&image->referrers[*place].manifest.digest, digest))
            return strcmp(image->referrers[*place].tag, tag) == 0;
    return false;
}

static void referrers_go_along(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct stored_image image;
    char hex[DIGEST_TEXT_MAX];
    struct digest member = put_image(store, "team/app", NULL, "member", NULL);
    autofree char *index = index_text(&member);
    put(store, "team/app", "1.0", index, MEDIA_OCI_INDEX, NULL);
    struct digest signature = put_image(store, "team/app", NULL, "signature", &member);
    struct digest again = put_image(store, "team/app", NULL, "of the signature", &signature);
    autofree char *tag = xasprintf("sha256-%s.sig", digest_hex(&member, hex));
    struct digest cosign = put_image(store, "team/app", tag, "cosign's", NULL);
    put_image(store, "team/other", NULL, "elsewhere", &member);
    struct digest stranger = digest_of_text("stranger");
    put_image(store, "team/app", NULL, "of another image", &stranger);

    assert_ok(stored_image_find(store, "team/app:1.0", &image, &err), &err);
    assert_int_equal(image.config.algorithm, DIGEST_NONE);
    assert_int_equal(image.referrer_count, 3);
    size_t first = 0;
    size_t second = 0;
    assert_true(goes_along(&image, &cosign, tag, &first));
    assert_true(goes_along(&image, &signature, "", &first));
    assert_true(goes_along(&image, &again, "", &second));
    assert_true(first < second);
    stored_image_deinit(&image);

    /* By its bare digest it is of no repository. */
    char text[DIGEST_TEXT_MAX];
    assert_ok(stored_image_find(store, digest_text(&member, text), &image, &err), &err);
    assert_int_equal(image.referrer_count, 0);
    stored_image_deinit(&image);
    store_close(store);
}

/* Two that refer to each other cannot be made, but one that is in its own family can. */
static void a_referrer_that_is_a_member(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct stored_image image;
    struct digest subject = put_image(store, "app", NULL, "subject", NULL);
    struct digest member = put_image(store, "app", NULL, "member", &subject);
    char one[DIGEST_TEXT_MAX];
    char two[DIGEST_TEXT_MAX];
    autofree char *index =
        xasprintf("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                  "\",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                  "\",\"digest\":\"%s\",\"size\":1},{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                  "\",\"digest\":\"%s\",\"size\":1}]}",
                  digest_text(&subject, one), digest_text(&member, two));
    put(store, "app", "1", index, MEDIA_OCI_INDEX, NULL);
    assert_ok(stored_image_find(store, "app:1", &image, &err), &err);
    assert_int_equal(image.referrer_count, 0);
    stored_image_deinit(&image);
    store_close(store);
}

/* `direct` of them refer to the image, the others to the first of those. */
static void check_referrers(struct store *store, const char *repository, int direct)
{
    struct error err = ERROR_INIT;
    struct stored_image image;
    autofree char *name = xasprintf("%s:1", repository);
    struct digest subject = put_image(store, repository, "1", "subject", NULL);
    struct digest first = {0};
    for (int i = 0; i <= REFERRERS_MAX; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        struct digest one =
            put_image(store, repository, NULL, text, i < direct ? &subject : &first);
        first = i == 0 ? one : first;
        if (i < REFERRERS_MAX - 2 || i == REFERRERS_MAX)
            continue;
        assert_ok(stored_image_find(store, name, &image, &err), &err);
        assert_int_equal(image.referrer_count, i + 1);
        stored_image_deinit(&image);
    }
    assert_refused(store, name, ERR_UNSUPPORTED);
}

static void too_many_referrers(void **state)
{
    struct store *store = open_store(*state);
    check_referrers(store, "half", REFERRERS_MAX / 2);
    check_referrers(store, "all", REFERRERS_MAX + 1);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(names),
        folder_test(what_is_no_image),
        folder_test(referrers_go_along),
        folder_test(a_referrer_that_is_a_member),
        folder_test(too_many_referrers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
