#include "image/manifest.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEX_A "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEX_B "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ENTRY(type, hex, size)                                                                     \
    "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" hex "\",\"size\":" size "}"
#define CONFIG "\"config\":" ENTRY(MEDIA_OCI_CONFIG, HEX_A, "10")
#define LAYER ENTRY(MEDIA_OCI_LAYER, HEX_B, "20")
#define LAYERS "\"layers\":[" LAYER "]"
#define CHILD ENTRY(MEDIA_OCI_MANIFEST, HEX_A, "30")
#define CHILDREN "\"manifests\":[" CHILD "]"
#define V2 "\"schemaVersion\":2"
#define OWN(type) "\"mediaType\":\"" type "\""

static enum errc parse(const char *text, const char *type, struct manifest *out, struct error *err)
{
    return manifest_parse(text, strlen(text), type, "index.json", out, err);
}

static void an_image_is_read(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct manifest got;
    assert_int_equal(parse("{" V2 "," OWN(MEDIA_OCI_MANIFEST) "," CONFIG ",\"layers\":[" LAYER
                                                              "," LAYER "],\"subject\":" CHILD
                                                              ",\"annotations\":{}}",
                           MEDIA_OCI_MANIFEST, &got, &err),
                     ERR_OK);
    assert_int_equal(got.kind, MANIFEST_IMAGE);
    assert_string_equal(got.media_type, MEDIA_OCI_MANIFEST);
    assert_string_equal(got.config.media_type, MEDIA_OCI_CONFIG);
    assert_int_equal(got.config.size, 10);
    assert_int_equal(got.layer_count, 2);
    assert_int_equal(got.layers[1].size, 20);
    assert_true(got.has_subject);
    assert_int_equal(got.subject.size, 30);
    manifest_deinit(&got);
    assert_null(got.layers);
    manifest_deinit(&got);
}

static void an_index_is_read(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct manifest got;
    assert_int_equal(parse("{" V2 "," CHILDREN ",\"subject\":null}", NULL, &got, &err), ERR_OK);
    assert_int_equal(got.kind, MANIFEST_INDEX);
    assert_string_equal(got.media_type, MEDIA_OCI_INDEX);
    assert_int_equal(got.child_count, 1);
    assert_int_equal(got.children[0].size, 30);
    assert_int_equal(got.layer_count, 0);
    assert_false(got.has_subject);
    manifest_deinit(&got);
}

static void the_type_comes_from_the_document_the_caller_or_the_shape(void **state)
{
    (void)state;
    static const struct {
        const char *text, *given, *type;
    } table[] = {
        {"{" V2 "," CONFIG "," LAYERS "}", NULL, MEDIA_OCI_MANIFEST},
        {"{" V2 "," CONFIG "," LAYERS "}", MEDIA_DOCKER_MANIFEST, MEDIA_DOCKER_MANIFEST},
        {"{" V2 ",\"config\":" ENTRY(MEDIA_DOCKER_CONFIG, HEX_A, "1") "," LAYERS "}", NULL,
         MEDIA_DOCKER_MANIFEST},
        {"{" V2 ",\"config\":" ENTRY(MEDIA_OCI_EMPTY, HEX_A, "2") "," LAYERS "}", NULL,
         MEDIA_OCI_MANIFEST},
        {"{" V2 "," OWN(MEDIA_DOCKER_MANIFEST) "," CONFIG "," LAYERS "}", NULL,
         MEDIA_DOCKER_MANIFEST},
        {"{" V2 "," OWN(MEDIA_OCI_MANIFEST) "," CONFIG "," LAYERS "}",
         MEDIA_OCI_MANIFEST "; charset=utf-8", MEDIA_OCI_MANIFEST},
        {"{" V2 "," CHILDREN "}", MEDIA_DOCKER_LIST, MEDIA_DOCKER_LIST},
        {"{" V2 "," CHILDREN "}", MEDIA_OCI_INDEX ";x=y", MEDIA_OCI_INDEX},
        {"{" V2 "," OWN(MEDIA_DOCKER_LIST) "," CHILDREN "}", MEDIA_DOCKER_LIST, MEDIA_DOCKER_LIST},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct manifest got;
        if (parse(table[i].text, table[i].given, &got, &err) != ERR_OK)
            fail_msg("%zu: %s", i, err.text);
        assert_string_equal(got.media_type, table[i].type);
        manifest_deinit(&got);
    }
}

static void null_lists_are_empty(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct manifest got;
    assert_int_equal(parse("{" V2 "," CONFIG ",\"layers\":null}", NULL, &got, &err), ERR_OK);
    assert_int_equal(got.layer_count, 0);
    manifest_deinit(&got);
    assert_int_equal(parse("{" V2 "," CONFIG ",\"layers\":[]}", NULL, &got, &err), ERR_OK);
    manifest_deinit(&got);
    assert_int_equal(parse("{" V2 ",\"manifests\":null}", NULL, &got, &err), ERR_OK);
    assert_int_equal(got.kind, MANIFEST_INDEX);
    assert_int_equal(got.child_count, 0);
    manifest_deinit(&got);
}

static void malformed_manifests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *given;
        enum errc code;
        const char *says;
    } table[] = {
        {"", NULL, ERR_JSON_INVALID, "JSON"},
        {"{" V2 "," V2 "," CHILDREN "}", NULL, ERR_JSON_INVALID, "duplicate"},
        {"{" V2 "," CONFIG
         ",\"layers\":[" ENTRY(MEDIA_OCI_LAYER, HEX_A, "9223372036854775808") "]}",
         NULL, ERR_JSON_INVALID, "too big"},
        {"[]", NULL, ERR_MANIFEST_INVALID, "object"},
        {"{}", NULL, ERR_MANIFEST_INVALID, "schemaVersion"},
        {"{" CHILDREN "}", NULL, ERR_MANIFEST_INVALID, "schemaVersion"},
        {"{\"schemaVersion\":\"2\"," CHILDREN "}", NULL, ERR_MANIFEST_INVALID, "schemaVersion"},
        {"{\"schemaVersion\":3," CHILDREN "}", NULL, ERR_MANIFEST_INVALID, "not 2"},
        {"{\"schemaVersion\":1,\"name\":\"a\",\"tag\":\"b\",\"fsLayers\":[],\"history\":[]}", NULL,
         ERR_MANIFEST_INVALID, "schema1"},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}",
         "application/vnd.docker.distribution.manifest.v1+prettyjws", ERR_MANIFEST_INVALID,
         "schema1"},
        /* kinds */
        {"{" V2 "," CONFIG "," LAYERS "," CHILDREN "}", NULL, ERR_MANIFEST_INVALID, "ambiguous"},
        {"{" V2 "," LAYERS "," CHILDREN "}", MEDIA_OCI_INDEX, ERR_MANIFEST_INVALID, "ambiguous"},
        {"{" V2 "," CONFIG "," CHILDREN "}", NULL, ERR_MANIFEST_INVALID, "ambiguous"},
        {"{" V2 "," CONFIG "," LAYERS ",\"manifests\":null}", NULL, ERR_MANIFEST_INVALID,
         "ambiguous"},
        {"{" V2 "," CONFIG "," LAYERS ",\"fsLayers\":[]}", NULL, ERR_MANIFEST_INVALID, "ambiguous"},
        {"{" V2 "," CHILDREN ",\"history\":[]}", NULL, ERR_MANIFEST_INVALID, "ambiguous"},
        {"{" V2 "," CONFIG "," LAYERS "}", MEDIA_OCI_INDEX, ERR_MANIFEST_INVALID, "manifests"},
        {"{" V2 "," CHILDREN "}", MEDIA_OCI_MANIFEST, ERR_MANIFEST_INVALID, "config"},
        {"{" V2 "," OWN(MEDIA_OCI_INDEX) "," CONFIG "," LAYERS "}", NULL, ERR_MANIFEST_INVALID,
         "manifests"},
        /* media types */
        {"{" V2 "," OWN(MEDIA_OCI_MANIFEST) "," CONFIG "," LAYERS "}", MEDIA_DOCKER_MANIFEST,
         ERR_MANIFEST_INVALID, "says of itself"},
        {"{" V2 "," OWN(MEDIA_OCI_INDEX) "," CHILDREN "}", MEDIA_DOCKER_LIST, ERR_MANIFEST_INVALID,
         "says of itself"},
        {"{" V2 "," OWN(MEDIA_OCI_MANIFEST) "," CONFIG "," LAYERS "}", "application/json",
         ERR_MANIFEST_INVALID, "says of itself"},
        {"{" V2 "," CONFIG "," LAYERS "}", "application/json", ERR_MANIFEST_INVALID,
         "\"application/json\" is not"},
        {"{" V2 "," CONFIG "," LAYERS "}", "", ERR_MANIFEST_INVALID, "\"\" is not"},
        {"{" V2 ",\"mediaType\":\"\"," CONFIG "," LAYERS "}", NULL, ERR_MANIFEST_INVALID, "is not"},
        {"{" V2 ",\"mediaType\":7," CONFIG "," LAYERS "}", NULL, ERR_MANIFEST_INVALID, "string"},
        {"{" V2 ",\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\"}", NULL,
         ERR_MANIFEST_INVALID, "artifact"},
        /* content */
        {"{" V2 "}", NULL, ERR_MANIFEST_INVALID, "config"},
        {"{" V2 "," LAYERS "}", NULL, ERR_MANIFEST_INVALID, "config"},
        {"{" V2 "," LAYERS ",\"config\":null}", NULL, ERR_MANIFEST_INVALID, "config"},
        {"{" V2 "," LAYERS ",\"config\":{}}", NULL, ERR_MANIFEST_INVALID, "config"},
        {"{" V2 "," CONFIG "}", NULL, ERR_MANIFEST_INVALID, "no \"layers\""},
        {"{" V2 "," CONFIG ",\"layers\":{}}", NULL, ERR_MANIFEST_INVALID, "array"},
        {"{" V2 "," CONFIG ",\"layers\":[" LAYER ",null]}", NULL, ERR_MANIFEST_INVALID,
         "layers[1]"},
        {"{" V2 "," CONFIG ",\"layers\":[" ENTRY(MEDIA_OCI_LAYER, HEX_A, "-1") "]}", NULL,
         ERR_MANIFEST_INVALID, "layers[0]"},
        {"{" V2 "," CONFIG ",\"layers\":[" ENTRY(MEDIA_OCI_LAYER, HEX_A, "1.5") "]}", NULL,
         ERR_MANIFEST_INVALID, "layers[0]"},
        {"{" V2 ",\"manifests\":[7]}", NULL, ERR_MANIFEST_INVALID, "manifests[0]"},
        {"{" V2 ",\"manifests\":\"\"}", NULL, ERR_MANIFEST_INVALID, "array"},
        {"{" V2 "," CONFIG "," LAYERS ",\"subject\":{}}", NULL, ERR_MANIFEST_INVALID, "subject"},
        {"{" V2 "," CHILDREN ",\"subject\":7}", NULL, ERR_MANIFEST_INVALID, "subject"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct manifest got = {.layer_count = 99};
        enum errc rc = parse(table[i].text, table[i].given, &got, &err);
        if (rc != table[i].code || strstr(err.text, table[i].says) == NULL)
            fail_msg("%s: %s", table[i].text, rc ? err.text : "taken");
        assert_non_null(strstr(err.text, "index.json"));
        assert_int_equal(got.layer_count, 99);
    }
}

#define FOREIGN_TYPE "application/vnd.example.thing.v1+json"

static enum errc parse_any(const char *text, const char *type, struct manifest *out,
                           struct error *err)
{
    return manifest_parse_any(text, strlen(text), type, "index.json", out, err);
}

static void what_a_registry_keeps_goes_by_its_shape(void **state)
{
    (void)state;
    static const struct {
        const char *text, *given, *type;
        enum manifest_kind kind;
        bool strict; /* manifest_parse() takes it, too */
    } table[] = {
        {"{" V2 "," CONFIG "," LAYERS "}", NULL, MEDIA_OCI_MANIFEST, MANIFEST_IMAGE, true},
        {"{" V2 "," CHILDREN "}", MEDIA_DOCKER_LIST, MEDIA_DOCKER_LIST, MANIFEST_INDEX, true},
        {"{" V2 "," CONFIG "," LAYERS "}", FOREIGN_TYPE "; charset=utf-8", FOREIGN_TYPE,
         MANIFEST_IMAGE, false},
        {"{" V2 "," OWN(FOREIGN_TYPE) "," CHILDREN "}", NULL, FOREIGN_TYPE, MANIFEST_INDEX, false},
        {"{" V2 "," OWN(FOREIGN_TYPE) ",\"blobs\":[]}", FOREIGN_TYPE, FOREIGN_TYPE, MANIFEST_OPAQUE,
         false},
        {"{\"history\":1,\"subject\":2}", FOREIGN_TYPE, FOREIGN_TYPE, MANIFEST_OPAQUE, false},
        {"{}", "a/b", "a/b", MANIFEST_OPAQUE, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct manifest got;
        if (parse_any(table[i].text, table[i].given, &got, &err) != ERR_OK)
            fail_msg("%zu: %s", i, err.text);
        assert_int_equal(got.kind, table[i].kind);
        assert_string_equal(got.media_type, table[i].type);
        assert_int_equal(got.layer_count, table[i].kind == MANIFEST_IMAGE);
        assert_int_equal(got.child_count, table[i].kind == MANIFEST_INDEX);
        assert_false(got.has_subject);
        manifest_deinit(&got);
        enum errc strict = parse(table[i].text, table[i].given, &got, &err);
        assert_int_equal(strict, table[i].strict ? ERR_OK : ERR_MANIFEST_INVALID);
        if (strict == ERR_OK)
            manifest_deinit(&got);
    }
}

static void what_no_registry_keeps_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *given;
        enum errc code;
        const char *says;
    } table[] = {
        {"[]", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "object"},
        {"", FOREIGN_TYPE, ERR_JSON_INVALID, "JSON"},
        {"{}", NULL, ERR_MANIFEST_INVALID, "config"},
        {"{}", MEDIA_OCI_INDEX, ERR_MANIFEST_INVALID, "manifests"},
        {"{}", "", ERR_MANIFEST_INVALID, "not a media type"},
        {"{}", "json", ERR_MANIFEST_INVALID, "not a media type"},
        {"{\"mediaType\":\"a b\"}", NULL, ERR_MANIFEST_INVALID, "not a media type"},
        {"{\"mediaType\":1}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "string"},
        {"{" OWN("a/b") "}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "says of itself"},
        {"{" V2 "," CONFIG "," LAYERS "," CHILDREN "}", FOREIGN_TYPE, ERR_MANIFEST_INVALID,
         "ambiguous"},
        {"{" V2 "," LAYERS "}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "config"},
        {"{" V2 "," CONFIG "}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "layers"},
        {"{" V2 ",\"manifests\":[1]}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "manifests[0]"},
        {"{" CHILDREN "}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "schemaVersion"},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", FOREIGN_TYPE, ERR_MANIFEST_INVALID, "schema1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct manifest got = {.layer_count = 99};
        enum errc rc = parse_any(table[i].text, table[i].given, &got, &err);
        if (rc != table[i].code || strstr(err.text, table[i].says) == NULL)
            fail_msg("%s: %s", table[i].text, rc ? err.text : "taken");
        assert_int_equal(got.layer_count, 99);
    }
}

static enum errc parse_many(const char *start, const char *entry, size_t count, struct error *err)
{
    struct buf text autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct manifest got;
    buf_text(&text, start);
    for (size_t i = 0; i < count; i++)
        buf_format(&text, "%s%s", i ? "," : "", entry);
    buf_text(&text, "]}");
    enum errc rc = parse(buf_cstr(&text), NULL, &got, err);
    if (rc == ERR_OK) {
        assert_int_equal(got.child_count + got.layer_count, count);
        manifest_deinit(&got);
    }
    return rc;
}

static void members_that_are_manifests(void **state)
{
    (void)state;
    static const struct {
        const char *type, *bytes;
        bool manifest;
    } table[] = {
        {MEDIA_OCI_MANIFEST, "", true},
        {MEDIA_DOCKER_LIST, "", true},
        {"application/vnd.docker.distribution.manifest.v1+prettyjws", "", true},
        {MEDIA_OCI_LAYER_GZIP, "{\"schemaVersion\":2}", false},
        {MEDIA_DOCKER_LAYER_FOREIGN, "{}", false},
        {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "{}", false},
        {"application/vnd.buildkit.cacheconfig.v0", "{\"layers\":[],\"records\":[]}", false},
        {"application/x", "{\"schemaVersion\":2}", true},
        {"application/x", "{\"schemaVersion\":\"2\"}", false},
        {"application/x", "{\"mediaType\":\"application/x\"}", true},
        {"application/x", "{\"mediaType\":\"application/y\"}", false},
        {"application/x", "[{\"schemaVersion\":2}]", false},
        {"application/x", "{", false},
        {"application/x", "", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (manifest_is_member(table[i].type, table[i].bytes, strlen(table[i].bytes)) !=
            table[i].manifest)
            fail_msg("%s %s", table[i].type, table[i].bytes);
}

static void members_are_counted_and_layers_are_not(void **state)
{
    (void)state;
    for (size_t count = MANIFEST_CHILDREN_MAX - 1; count <= MANIFEST_CHILDREN_MAX + 1; count++) {
        struct error err = ERROR_INIT;
        enum errc want = count <= MANIFEST_CHILDREN_MAX ? ERR_OK : ERR_MANIFEST_INVALID;
        assert_int_equal(parse_many("{" V2 ",\"manifests\":[", CHILD, count, &err), want);
        assert_int_equal(parse_many("{" V2 "," CONFIG ",\"layers\":[", LAYER, count, &err), ERR_OK);
    }
}

static void there_are_4_mebibytes_at_most(void **state)
{
    (void)state;
    static const char index[] = "{" V2 "," CHILDREN "}";
    struct error err = ERROR_INIT;
    struct manifest got;
    autofree char *text = xmalloc(MANIFEST_LIMIT_BYTES + 1);
    memset(text, ' ', MANIFEST_LIMIT_BYTES + 1);
    memcpy(text, index, strlen(index));
    assert_int_equal(manifest_parse(text, MANIFEST_LIMIT_BYTES, NULL, "m", &got, &err), ERR_OK);
    manifest_deinit(&got);
    assert_int_equal(manifest_parse(text, MANIFEST_LIMIT_BYTES + 1, NULL, "m", &got, &err),
                     ERR_JSON_TOO_LARGE);
}

static struct descriptor descriptor(const char *type, const char *content, uint64_t size)
{
    struct descriptor made = {.size = size,
                              .digest = digest_of(DIGEST_SHA256, content, strlen(content))};
    memcpy(made.media_type, type, strlen(type) + 1);
    return made;
}

static void schema2_is_written_as_docker_writes_it(void **state)
{
    (void)state;
    static const char want[] =
        "{\n"
        "   \"schemaVersion\": 2,\n"
        "   \"mediaType\": \"application/vnd.docker.distribution.manifest.v2+json\",\n"
        "   \"config\": {\n"
        "      \"mediaType\": \"application/vnd.docker.container.image.v1+json\",\n"
        "      \"size\": 7023,\n"
        "      \"digest\": \"sha256:" HEX_A "\"\n"
        "   },\n"
        "   \"layers\": [\n"
        "      {\n"
        "         \"mediaType\": \"application/vnd.docker.image.rootfs.diff.tar.gzip\",\n"
        "         \"size\": 9223372036854775807,\n"
        "         \"digest\": \"sha256:" HEX_B "\"\n"
        "      },\n"
        "      {\n"
        "         \"mediaType\": \"application/vnd.docker.image.rootfs.diff.tar.gzip\",\n"
        "         \"size\": 0,\n"
        "         \"digest\": \"sha256:" HEX_A "\"\n"
        "      }\n"
        "   ]\n"
        "}";
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct descriptor config = descriptor(MEDIA_DOCKER_CONFIG, "abc", 7023);
    struct descriptor layers[] = {descriptor(MEDIA_DOCKER_LAYER_GZIP, "", INT64_MAX),
                                  descriptor(MEDIA_DOCKER_LAYER_GZIP, "abc", 0)};
    manifest_build_schema2(&config, layers, 2, &out);
    assert_string_equal(buf_cstr(&out), want);

    struct error err = ERROR_INIT;
    struct manifest got;
    assert_int_equal(parse(want, MEDIA_DOCKER_MANIFEST, &got, &err), ERR_OK);
    assert_int_equal(got.layer_count, 2);
    manifest_deinit(&got);

    buf_clear(&out);
    manifest_build_schema2(&config, NULL, 0, &out);
    assert_non_null(strstr(buf_cstr(&out), "   },\n   \"layers\": []\n}"));
    assert_int_equal(parse(buf_cstr(&out), NULL, &got, &err), ERR_OK);
    manifest_deinit(&got);
}

static void an_oci_manifest_is_compact(void **state)
{
    (void)state;
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct descriptor config = descriptor(MEDIA_OCI_CONFIG, "abc", 10);
    struct descriptor layers[] = {descriptor(MEDIA_OCI_LAYER, "", 20),
                                  descriptor(MEDIA_OCI_LAYER, "", 20)};
    manifest_build_oci(&config, layers, 2, &out);
    assert_string_equal(buf_cstr(&out),
                        "{" V2 "," OWN(MEDIA_OCI_MANIFEST) "," CONFIG ",\"layers\":[" LAYER
                                                           "," LAYER "]}");
    buf_clear(&out);
    manifest_build_oci(&config, NULL, 0, &out);
    struct error err = ERROR_INIT;
    struct manifest got;
    assert_int_equal(parse(buf_cstr(&out), MEDIA_OCI_MANIFEST, &got, &err), ERR_OK);
    assert_int_equal(got.layer_count, 0);
    manifest_deinit(&got);
}

static void replaced_layers_keep_everything_else(void **state)
{
    (void)state;
    static const char original[] =
        "{ " V2 ", \"annotations\": {\"z\":\"\\u00e4\",\"a\":\"<&>\"}, \"artifactType\":\"a/b\","
        "\"layers\":["
        "{\"annotations\":{\"k\":\"v\"},\"size\":20,\"digest\":\"sha256:" HEX_B
        "\",\"mediaType\":\"" MEDIA_OCI_LAYER "\",\"data\":\"QUJD\",\"urls\":[\"https://x\"],"
        "\"x\":1},"
        "{\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP "\",\"digest\":\"sha256:" HEX_B
        "\",\"size\":5,\"urls\":[\"https://y\"],\"data\":\"QUJE\"}]," CONFIG ",\"subject\":" CHILD
        "}\n";
    static const char want[] =
        "{" V2 ",\"annotations\":{\"z\":\"\xc3\xa4\",\"a\":\"<&>\"},\"artifactType\":\"a/b\","
        "\"layers\":["
        "{\"annotations\":{\"k\":\"v\"},\"size\":8,\"digest\":\"sha256:" HEX_A
        "\",\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP "\",\"x\":1},"
        "{\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP "\",\"digest\":\"sha256:" HEX_B
        "\",\"size\":5,\"urls\":[\"https://y\"],\"data\":\"QUJE\"}]," CONFIG ",\"subject\":" CHILD
        "}";
    struct error err = ERROR_INIT;
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct descriptor layers[] = {descriptor(MEDIA_OCI_LAYER_GZIP, "abc", 8),
                                  descriptor(MEDIA_OCI_LAYER_GZIP, "", 5)};
    assert_int_equal(manifest_replace_layers(original, strlen(original), layers, 2, &out, &err),
                     ERR_OK);
    assert_string_equal(buf_cstr(&out), want);
}

static void replaced_children_keep_their_type_and_platform(void **state)
{
    (void)state;
    static const char original[] =
        "{" V2 "," OWN(MEDIA_OCI_INDEX) ",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                        "\",\"digest\":\"sha256:" HEX_A
                                        "\",\"size\":1,\"platform\":{\"os\":\"linux\"}}," CHILD
                                        "]}";
    static const char want[] =
        "{" V2 "," OWN(MEDIA_OCI_INDEX) ",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                        "\",\"digest\":\"sha256:" HEX_B
                                        "\",\"size\":2,\"platform\":{\"os\":\"linux\"}}," CHILD
                                        "]}";
    struct error err = ERROR_INIT;
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct descriptor children[] = {descriptor(MEDIA_DOCKER_MANIFEST, "", 2),
                                    descriptor(MEDIA_DOCKER_MANIFEST, "abc", 30)};
    assert_int_equal(manifest_replace_children(original, strlen(original), children, 2, &out, &err),
                     ERR_OK);
    assert_string_equal(buf_cstr(&out), want);
}

static void replacing_checks_the_original(void **state)
{
    (void)state;
    static const char image[] = "{" V2 "," CONFIG "," LAYERS "}";
    static const char odd[] = "{" V2 "," CONFIG ",\"layers\":[7]}";
    static const char empty[] = "{" V2 "," CONFIG ",\"layers\":null}";
    struct error err = ERROR_INIT;
    struct buf out autobuf = BUF_INIT(MANIFEST_LIMIT_BYTES);
    struct descriptor layers[] = {descriptor(MEDIA_OCI_LAYER, "a", 1),
                                  descriptor(MEDIA_OCI_LAYER, "b", 2)};
    assert_int_equal(manifest_replace_layers(image, strlen(image), layers, 2, &out, &err),
                     ERR_MANIFEST_INVALID);
    assert_int_equal(manifest_replace_layers(image, strlen(image), layers, 0, &out, &err),
                     ERR_MANIFEST_INVALID);
    assert_int_equal(manifest_replace_children(image, strlen(image), layers, 1, &out, &err),
                     ERR_MANIFEST_INVALID);
    assert_int_equal(manifest_replace_layers(odd, strlen(odd), layers, 1, &out, &err),
                     ERR_MANIFEST_INVALID);
    assert_int_equal(manifest_replace_layers("[]", 2, layers, 0, &out, &err), ERR_MANIFEST_INVALID);
    assert_int_equal(manifest_replace_layers("{", 1, layers, 0, &out, &err), ERR_JSON_INVALID);
    assert_int_equal(out.size, 0);
    assert_int_equal(manifest_replace_layers(empty, strlen(empty), layers, 0, &out, &err), ERR_OK);
    assert_string_equal(buf_cstr(&out), empty);

    struct buf small autobuf = BUF_INIT(sizeof image);
    assert_int_equal(manifest_replace_layers(image, strlen(image), layers, 1, &small, &err),
                     ERR_OK);
    struct buf smaller autobuf = BUF_INIT(strlen(buf_cstr(&small)) - 1);
    assert_int_equal(manifest_replace_layers(image, strlen(image), layers, 1, &smaller, &err),
                     ERR_JSON_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_read),
        cmocka_unit_test(an_index_is_read),
        cmocka_unit_test(the_type_comes_from_the_document_the_caller_or_the_shape),
        cmocka_unit_test(null_lists_are_empty),
        cmocka_unit_test(malformed_manifests_are_refused),
        cmocka_unit_test(what_a_registry_keeps_goes_by_its_shape),
        cmocka_unit_test(what_no_registry_keeps_is_refused),
        cmocka_unit_test(members_that_are_manifests),
        cmocka_unit_test(members_are_counted_and_layers_are_not),
        cmocka_unit_test(there_are_4_mebibytes_at_most),
        cmocka_unit_test(schema2_is_written_as_docker_writes_it),
        cmocka_unit_test(an_oci_manifest_is_compact),
        cmocka_unit_test(replaced_layers_keep_everything_else),
        cmocka_unit_test(replaced_children_keep_their_type_and_platform),
        cmocka_unit_test(replacing_checks_the_original),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
