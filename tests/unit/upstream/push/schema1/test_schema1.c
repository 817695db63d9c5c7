#include "upstream/push/schema1/schema1.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CONFIG(history)                                                                            \
    "{\"architecture\":\"amd64\",\"config\":{\"Cmd\":[\"sh\"]},\"os\":\"linux\"," history          \
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"

struct built {
    json_t *root; /* owned */
    char *text;   /* owned */
    bool needs_empty;
};

static enum errc build(const char *config, const char *letters, struct built *out,
                       struct error *err)
{
    struct descriptor layers[16] = {0};
    for (size_t i = 0; letters[i]; i++) {
        layers[i].digest =
            digest_of(letters[i] == '5' ? DIGEST_SHA512 : DIGEST_SHA256, &letters[i], 1);
        layers[i].foreign = letters[i] == 'F';
    }
    const struct schema1_image image = {
        .name = "team/app",
        .tag = "1.0",
        .config = config,
        .config_size = strlen(config),
        .layers = layers,
        .layer_count = strlen(letters),
    };
    autobuf struct buf text = BUF_INIT(8 << 20);
    if (schema1_build(&image, &text, &out->needs_empty, err) != ERR_OK)
        return err->code;
    assert_int_equal(json_parse(text.data, text.size, 8 << 20, "built", &out->root, err), ERR_OK);
    out->text = buf_take(&text);
    return ERR_OK;
}

static struct built must_build(const char *config, const char *letters)
{
    struct error err = ERROR_INIT;
    struct built built = {0};
    if (build(config, letters, &built, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return built;
}

static void free_built(struct built *built)
{
    json_decref(built->root);
    free(built->text);
}

/* Oldest first, as the steps of a config are. */
static json_t *step(const struct built *built, size_t nth)
{
    struct error err = ERROR_INIT;
    const json_t *history = json_object_get(built->root, "history");
    const char *text =
        json_text(json_array_get(history, json_array_size(history) - 1 - nth), "v1Compatibility");
    json_t *value = NULL;
    assert_int_equal(json_parse(text, strlen(text), 1 << 20, "step", &value, &err), ERR_OK);
    return value;
}

static const char *blob(const struct built *built, size_t nth)
{
    const json_t *layers = json_object_get(built->root, "fsLayers");
    return json_text(json_array_get(layers, json_array_size(layers) - 1 - nth), "blobSum");
}

static void check_blob(const struct built *built, size_t nth, char letter)
{
    char text[DIGEST_TEXT_MAX];
    struct digest digest = digest_of(DIGEST_SHA256, &letter, 1);
    assert_string_equal(blob(built, nth), digest_text(&digest, text));
}

static void test_the_empty_layer_is_the_known_one(void **state)
{
    (void)state;
    char text[DIGEST_TEXT_MAX];
    struct digest digest = schema1_empty_layer_digest();
    assert_string_equal(digest_text(&digest, text),
                        "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4");
}

/* As the bytes are what is signed, their form matters: members in this order, three spaces, no
 * newline at the end. */
static void test_form(void **state)
{
    (void)state;
    struct built built = must_build(CONFIG(""), "a");
    static const char begin[] = "{\n   \"schemaVersion\": 1,\n   \"name\": \"team/app\",\n"
                                "   \"tag\": \"1.0\",\n   \"architecture\": \"amd64\",\n"
                                "   \"fsLayers\": [\n      {\n         \"blobSum\": \"sha256:";
    assert_int_equal(strncmp(built.text, begin, strlen(begin)), 0);
    assert_string_equal(built.text + strlen(built.text) - strlen("\n   ]\n}"), "\n   ]\n}");
    free_built(&built);
}

static void test_steps_without_layers(void **state)
{
    (void)state;
    static const char config[] = CONFIG("\"history\":[{\"created_by\":\"0\",\"empty_layer\":true},"
                                        "{\"created_by\":\"1\",\"author\":\"x\"},"
                                        "{\"empty_layer\":true},{\"created\":\"now\"}],");
    struct built built = must_build(config, "ab");
    assert_true(built.needs_empty);
    check_blob(&built, 1, 'a');
    check_blob(&built, 3, 'b');
    assert_string_equal(blob(&built, 0), blob(&built, 2));

    autojson json_t *first = step(&built, 0);
    autojson json_t *second = step(&built, 1);
    autojson json_t *third = step(&built, 2);
    autojson json_t *newest = step(&built, 3);
    assert_null(json_object_get(first, "parent"));
    assert_true(json_is_true(json_object_get(first, "throwaway")));
    assert_string_equal(json_text(second, "parent"), json_text(first, "id"));
    assert_string_equal(json_text(second, "author"), "x");
    assert_null(json_object_get(second, "throwaway"));
    assert_string_equal(json_text(third, "parent"), json_text(second, "id"));
    assert_string_equal(json_text(newest, "parent"), json_text(third, "id"));
    assert_int_equal(strlen(json_text(newest, "id")), 64);
    assert_string_equal(json_text(newest, "os"), "linux");
    assert_non_null(json_object_get(newest, "config"));
    assert_null(json_object_get(newest, "rootfs"));
    assert_null(json_object_get(newest, "history"));
    free_built(&built);
}

static void test_ids_follow_from_the_content(void **state)
{
    (void)state;
    struct built one = must_build(CONFIG(""), "abc");
    struct built same = must_build(CONFIG(""), "abc");
    struct built other_base = must_build(CONFIG(""), "xbc");
    struct built other_config = must_build(CONFIG("\"author\":\"y\","), "abc");
    assert_string_equal(one.text, same.text);
    for (size_t i = 0; i < 3; i++) {
        autojson json_t *ours = step(&one, i);
        autojson json_t *base = step(&other_base, i);
        autojson json_t *config = step(&other_config, i);
        assert_string_not_equal(json_text(ours, "id"), json_text(base, "id"));
        /* Of the config only the newest id depends: lower ones are shared. */
        assert_int_equal(strcmp(json_text(ours, "id"), json_text(config, "id")) != 0, i == 2);
    }
    free_built(&one);
    free_built(&same);
    free_built(&other_base);
    free_built(&other_config);
}

static void test_configs_without_history(void **state)
{
    (void)state;
    static const char *const configs[] = {CONFIG(""), CONFIG("\"history\":[],"),
                                          CONFIG("\"history\":null,")};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        struct built built = must_build(configs[i], "ab");
        assert_int_equal(json_array_size(json_object_get(built.root, "history")), 2);
        assert_false(built.needs_empty);
        free_built(&built);
        built = must_build(configs[i], "");
        assert_int_equal(json_array_size(json_object_get(built.root, "fsLayers")), 1);
        assert_true(built.needs_empty);
        free_built(&built);
    }
}

static char *config_of_steps(size_t count)
{
    struct buf text = BUF_INIT(1 << 20);
    buf_text(&text, "{\"history\":[");
    for (size_t i = 0; i < count; i++)
        buf_text(&text, i ? ",{\"empty_layer\":true}" : "{\"empty_layer\":true}");
    buf_text(&text, "]}");
    return buf_take(&text);
}

static void test_refusals(void **state)
{
    (void)state;
    autofree char *most = config_of_steps(SCHEMA1_HISTORY_MAX);
    autofree char *too_many = config_of_steps(SCHEMA1_HISTORY_MAX + 1);
    const struct {
        const char *config;
        const char *letters;
        enum errc code;
    } cases[] = {
        {CONFIG("\"history\":[{},{}],"), "a", ERR_CONFIG_INVALID},
        {CONFIG("\"history\":[{}],"), "ab", ERR_CONFIG_INVALID},
        {CONFIG("\"history\":[{},{\"empty_layer\":true}],"), "", ERR_CONFIG_INVALID},
        {too_many, "", ERR_CONFIG_INVALID},
        {"[]", "", ERR_CONFIG_INVALID},
        {"{", "", ERR_JSON_INVALID},
        {CONFIG(""), "aF", ERR_UNSUPPORTED},
        {CONFIG(""), "5", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        struct built built = {0};
        assert_int_equal(build(cases[i].config, cases[i].letters, &built, &err), cases[i].code);
        assert_null(built.root);
    }
    struct built built = must_build(most, "");
    assert_int_equal(json_array_size(json_object_get(built.root, "history")), SCHEMA1_HISTORY_MAX);
    free_built(&built);
}

static void test_the_limit_of_the_result(void **state)
{
    (void)state;
    struct built built = must_build(CONFIG(""), "a");
    size_t size = strlen(built.text);
    free_built(&built);
    struct descriptor layer = {.digest = digest_of(DIGEST_SHA256, "a", 1)};
    const struct schema1_image image = {.name = "team/app",
                                        .tag = "1.0",
                                        .config = CONFIG(""),
                                        .config_size = strlen(CONFIG("")),
                                        .layers = &layer,
                                        .layer_count = 1};
    for (size_t limit = size - 1; limit <= size + 1; limit++) {
        struct error err = ERROR_INIT;
        autobuf struct buf text = BUF_INIT(limit);
        bool needs_empty = false;
        assert_int_equal(schema1_build(&image, &text, &needs_empty, &err),
                         limit < size ? ERR_JSON_TOO_LARGE : ERR_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_empty_layer_is_the_known_one),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_steps_without_layers),
        cmocka_unit_test(test_ids_follow_from_the_content),
        cmocka_unit_test(test_configs_without_history),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_limit_of_the_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
