#include "gateway/registry/document.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX_A "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEX_B "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ENTRY(type, hex) "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" hex "\",\"size\":7}"
#define V2 "{\"schemaVersion\":2"
#define OWN(type) ",\"mediaType\":\"" type "\""
#define CONFIG ",\"config\":" ENTRY(MEDIA_OCI_CONFIG, HEX_A)
#define LAYERS ",\"layers\":[" ENTRY(MEDIA_OCI_LAYER_GZIP, HEX_B) "]"
#define NO_LAYERS ",\"layers\":[]"
#define CHILDREN                                                                                   \
    ",\"manifests\":[" ENTRY(MEDIA_OCI_MANIFEST, HEX_A) "," ENTRY(MEDIA_OCI_INDEX, HEX_B) "]"
#define SUBJECT ",\"subject\":" ENTRY(MEDIA_OCI_MANIFEST, HEX_B)
#define IMAGE V2 CONFIG LAYERS "}"
#define INDEX V2 CHILDREN "}"

static enum errc parse(const char *text, const char *type, struct v2_document *out,
                       struct error *err)
{
    return v2_document_parse(text, strlen(text), type, out, err);
}

/* ---- media types ---- */

static void assert_type(const char *text, const char *header, const char *expected)
{
    struct error err = ERROR_INIT;
    struct v2_document document;
    assert_int_equal(parse(text, header, &document, &err), ERR_OK);
    assert_string_equal(document.manifest.media_type, expected);
    v2_document_deinit(&document);
}

static void the_type_is_the_headers(void **state)
{
    (void)state;
    assert_type(IMAGE, MEDIA_OCI_MANIFEST, MEDIA_OCI_MANIFEST);
    assert_type(V2 OWN(MEDIA_OCI_MANIFEST) CONFIG LAYERS "}", MEDIA_OCI_MANIFEST,
                MEDIA_OCI_MANIFEST);
    assert_type(IMAGE, " " MEDIA_DOCKER_MANIFEST "; charset=utf-8", MEDIA_DOCKER_MANIFEST);
    assert_type(IMAGE, MEDIA_DOCKER_MANIFEST ";charset=utf-8", MEDIA_DOCKER_MANIFEST);
    assert_type(INDEX, MEDIA_DOCKER_LIST, MEDIA_DOCKER_LIST);
    assert_type(IMAGE, "application/vnd.Example.v1+JSON", "application/vnd.Example.v1+JSON");
    assert_type("{}", "text/x-anything", "text/x-anything");
}

static void without_a_header_the_document_says_it(void **state)
{
    (void)state;
    assert_type(V2 OWN(MEDIA_DOCKER_MANIFEST) CONFIG LAYERS "}", NULL, MEDIA_DOCKER_MANIFEST);
    assert_type(IMAGE, NULL, MEDIA_OCI_MANIFEST);
    assert_type(IMAGE, "", MEDIA_OCI_MANIFEST);
    assert_type(INDEX, NULL, MEDIA_OCI_INDEX);
    assert_type("{\"mediaType\":\"application/vnd.x+json\"}", NULL, "application/vnd.x+json");
    assert_type("{\"a\":1}", NULL, "application/json");
    assert_type("{\"a\":1}", "", "application/json");
}

static void assert_refused(const char *text, const char *header, enum errc code, const char *part)
{
    struct error err = ERROR_INIT;
    struct v2_document document;
    if (parse(text, header, &document, &err) != code)
        fail_msg("%s as %s: %s", text, header ? header : "(nothing)", err.text);
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void header_and_document_must_agree(void **state)
{
    (void)state;
    assert_refused(V2 OWN(MEDIA_OCI_MANIFEST) CONFIG LAYERS "}", MEDIA_DOCKER_MANIFEST,
                   ERR_MANIFEST_INVALID, MEDIA_DOCKER_MANIFEST);
    assert_refused(V2 OWN("application/a") "}", "application/b", ERR_MANIFEST_INVALID,
                   "application/a");
    assert_refused(V2 OWN(MEDIA_OCI_MANIFEST) CONFIG LAYERS "}", "application/json",
                   ERR_MANIFEST_INVALID, "application/json");
}

static void what_is_no_media_type_is_refused(void **state)
{
    (void)state;
    assert_refused("{}", "json", ERR_MANIFEST_INVALID, "json");
    assert_refused("{}", "a/b\x01", ERR_MANIFEST_INVALID, "media type");
    char long_type[2 * MEDIA_TYPE_MAX];
    memset(long_type, 'a', sizeof long_type);
    long_type[127] = '/';
    long_type[MEDIA_TYPE_MAX - 1] = '\0';
    assert_type("{}", long_type, long_type);
    long_type[MEDIA_TYPE_MAX - 1] = 'a';
    long_type[MEDIA_TYPE_MAX] = '\0';
    assert_refused("{}", long_type, ERR_MANIFEST_INVALID, "255");
}

static void schema1_is_refused_with_a_reason(void **state)
{
    (void)state;
    assert_refused("{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}",
                   "application/vnd.docker.distribution.manifest.v1+prettyjws",
                   ERR_MANIFEST_INVALID, "schema1");
    assert_refused("{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}", NULL,
                   ERR_MANIFEST_INVALID, "schema1");
    assert_refused("{\"schemaVersion\":1,\"fsLayers\":[]}", "application/json",
                   ERR_MANIFEST_INVALID, "schema1");
    assert_refused("{}", "application/vnd.docker.distribution.manifest.v1+json",
                   ERR_MANIFEST_INVALID, "schema1");
}

static void what_is_no_manifest_is_refused(void **state)
{
    (void)state;
    assert_refused("", MEDIA_OCI_MANIFEST, ERR_JSON_INVALID, "JSON");
    assert_refused("[]", "application/json", ERR_MANIFEST_INVALID, "object");
    assert_refused("{} {}", "application/json", ERR_JSON_INVALID, "JSON");
    assert_refused("{\"a\":1,\"a\":2}", "application/json", ERR_JSON_INVALID, "duplicate");
    assert_refused("{}", MEDIA_OCI_MANIFEST, ERR_MANIFEST_INVALID, "config");
    assert_refused(V2 CONFIG "}", MEDIA_OCI_MANIFEST, ERR_MANIFEST_INVALID, "layers");
    assert_refused(V2 CONFIG LAYERS CHILDREN "}", "application/x", ERR_MANIFEST_INVALID,
                   "ambiguous");
}

static void limits(void **state)
{
    (void)state;
    autofree char *brackets = xcalloc(1, JSON_VALUES_MAX + 1);
    memset(brackets, '[', JSON_VALUES_MAX);
    assert_refused(brackets, "application/json", ERR_MANIFEST_INVALID, "values");
    autofree char *large = xcalloc(1, MANIFEST_LIMIT_BYTES + 2);
    memset(large, ' ', MANIFEST_LIMIT_BYTES + 1);
    memcpy(large, "{}", 2);
    assert_refused(large, "application/json", ERR_JSON_TOO_LARGE, "4194304");
    large[MANIFEST_LIMIT_BYTES] = '\0';
    assert_type(large, "application/json", "application/json");
}

/* ---- references ---- */

static void all_it_refers_to_is_listed(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct v2_document document;
    assert_int_equal(parse(IMAGE, NULL, &document, &err), ERR_OK);
    assert_int_equal(document.reference_count, 2);
    assert_string_equal(document.references[0].member, "config");
    assert_int_equal(document.references[0].descriptor->digest.bytes[0], 0xba);
    assert_string_equal(document.references[1].member, "layers");
    assert_int_equal(document.references[1].descriptor->digest.bytes[0], 0xe3);
    assert_false(document.references[1].manifest);
    v2_document_deinit(&document);

    assert_int_equal(parse(INDEX, NULL, &document, &err), ERR_OK);
    assert_int_equal(document.reference_count, 2);
    assert_true(document.references[0].manifest);
    assert_string_equal(document.references[1].member, "manifests");
    assert_int_equal(document.references[1].position, 1);
    v2_document_deinit(&document);
}

static void foreign_layers_and_the_subject_need_not_be_there(void **state)
{
    (void)state;
    static const char text[] = V2 CONFIG SUBJECT
        ",\"layers\":["
        "{\"mediaType\":\"" MEDIA_OCI_LAYER "\",\"digest\":\"sha256:" HEX_B
        "\",\"size\":7,\"urls\":[\"https://x.example/\"]}," ENTRY(
            MEDIA_DOCKER_LAYER_FOREIGN,
            HEX_B) "," ENTRY("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                             HEX_B) "," ENTRY(MEDIA_OCI_LAYER, HEX_B) "]}";
    struct error err = ERROR_INIT;
    struct v2_document document;
    assert_int_equal(parse(text, MEDIA_OCI_MANIFEST, &document, &err), ERR_OK);
    assert_int_equal(document.reference_count, 2);
    assert_string_equal(document.references[1].member, "layers");
    assert_int_equal(document.references[1].position, 3);
    assert_true(document.manifest.has_subject);
    v2_document_deinit(&document);
}

static void an_unknown_kind_refers_to_nothing(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct v2_document document;
    assert_int_equal(parse("{\"blobs\":[{}]}", "application/x", &document, &err), ERR_OK);
    assert_int_equal(document.reference_count, 0);
    v2_document_deinit(&document);
    v2_document_deinit(&document);
}

/* ---- the descriptor in a list of referrers ---- */

static enum errc describe(const char *text, const char *type, char **out, struct error *err)
{
    struct v2_document document;
    const struct digest digest = digest_of(DIGEST_SHA256, "abc", 3);
    assert_int_equal(parse(text, type, &document, err), ERR_OK);
    enum errc rc = v2_document_descriptor(&document, &digest, 99, out, err);
    v2_document_deinit(&document);
    return rc;
}

static void assert_described(const char *text, const char *type, const char *rest)
{
    struct error err = ERROR_INIT;
    autofree char *got = NULL;
    autofree char *expected = xasprintf(
        "{\"mediaType\":\"%s\",\"size\":99,\"digest\":\"sha256:" HEX_A "\"%s}", type, rest);
    assert_int_equal(describe(text, type, &got, &err), ERR_OK);
    assert_string_equal(got, expected);
}

static void artifact_types(void **state)
{
    (void)state;
    assert_described(V2 CONFIG NO_LAYERS SUBJECT ",\"artifactType\":\"a/b\"}", MEDIA_OCI_MANIFEST,
                     ",\"artifactType\":\"a/b\"");
    assert_described(V2 CONFIG NO_LAYERS SUBJECT "}", MEDIA_OCI_MANIFEST,
                     ",\"artifactType\":\"" MEDIA_OCI_CONFIG "\"");
    assert_described(V2 CONFIG NO_LAYERS SUBJECT ",\"artifactType\":\"\"}", MEDIA_OCI_MANIFEST,
                     ",\"artifactType\":\"" MEDIA_OCI_CONFIG "\"");
    assert_described(V2 CHILDREN SUBJECT ",\"artifactType\":\"a/b\"}", MEDIA_OCI_INDEX,
                     ",\"artifactType\":\"a/b\"");
    assert_described(V2 CHILDREN SUBJECT "}", MEDIA_OCI_INDEX, "");
    assert_described(V2 CHILDREN SUBJECT ",\"artifactType\":\"\"}", MEDIA_OCI_INDEX, "");
}

static void annotations_are_carried_over(void **state)
{
    (void)state;
    assert_described(V2 CHILDREN SUBJECT ",\"annotations\":{\"b\":\"2\",\"a\":\"\u00fc\"}}",
                     MEDIA_OCI_INDEX, ",\"annotations\":{\"b\":\"2\",\"a\":\"\u00fc\"}");
    assert_described(V2 CHILDREN SUBJECT ",\"annotations\":null}", MEDIA_OCI_INDEX, "");
    assert_described(V2 CHILDREN SUBJECT ",\"annotations\":{}}", MEDIA_OCI_INDEX,
                     ",\"annotations\":{}");
}

static void assert_not_described(const char *text)
{
    struct error err = ERROR_INIT;
    char *got = NULL;
    assert_int_equal(describe(text, MEDIA_OCI_INDEX, &got, &err), ERR_MANIFEST_INVALID);
    assert_null(got);
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    assert_not_described(V2 CHILDREN SUBJECT ",\"artifactType\":1}");
    assert_not_described(V2 CHILDREN SUBJECT ",\"annotations\":[]}");
    assert_not_described(V2 CHILDREN SUBJECT ",\"annotations\":{\"a\":1}}");
}

static void descriptors_have_a_limit(void **state)
{
    (void)state;
    char *got = NULL;
    struct error err = ERROR_INIT;
    autofree char *bare = NULL;
    assert_int_equal(describe(V2 CHILDREN SUBJECT ",\"annotations\":{\"a\":\"\"}}", MEDIA_OCI_INDEX,
                              &bare, &err),
                     ERR_OK);
    size_t room = MANIFEST_DESCRIPTOR_MAX - strlen(bare);
    for (size_t more = 0; more <= 1; more++) {
        autofree char *text = xasprintf(V2 CHILDREN SUBJECT ",\"annotations\":{\"a\":\"%0*d\"}}",
                                        (int)(room + more), 0);
        enum errc rc = describe(text, MEDIA_OCI_INDEX, &got, &err);
        assert_int_equal(rc, more ? ERR_MANIFEST_INVALID : ERR_OK);
        if (rc == ERR_OK)
            assert_int_equal(strlen(got), MANIFEST_DESCRIPTOR_MAX);
        free(got);
        got = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_type_is_the_headers),
        cmocka_unit_test(without_a_header_the_document_says_it),
        cmocka_unit_test(header_and_document_must_agree),
        cmocka_unit_test(what_is_no_media_type_is_refused),
        cmocka_unit_test(schema1_is_refused_with_a_reason),
        cmocka_unit_test(what_is_no_manifest_is_refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(all_it_refers_to_is_listed),
        cmocka_unit_test(foreign_layers_and_the_subject_need_not_be_there),
        cmocka_unit_test(an_unknown_kind_refers_to_nothing),
        cmocka_unit_test(artifact_types),
        cmocka_unit_test(annotations_are_carried_over),
        cmocka_unit_test(other_shapes_are_refused),
        cmocka_unit_test(descriptors_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
