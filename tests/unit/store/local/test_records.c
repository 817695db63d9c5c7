#include "tests/unit/store/store_test.h"

#include "store/local/kv/change.h"
#include "store/local/records.h"

/* Everything on disk is pinned here byte by byte: a test that must be changed means that
 * STORE_SCHEMA or a version must be, too. */

static struct digest digest_of_byte(enum digest_algorithm algorithm, uint8_t byte)
{
    struct digest digest = {.algorithm = algorithm};
    memset(digest.bytes, byte, digest_size(algorithm));
    return digest;
}

static void expect_bytes(struct kv_slice got, const char *hex)
{
    char text[2 * RECORD_VALUE_MAX + 1] = "";
    assert_true(got.size <= RECORD_VALUE_MAX);
    for (size_t i = 0; i < got.size; i++)
        snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)got.data)[i]);
    assert_string_equal(text, hex);
}

#define X32(byte)                                                                                  \
    byte byte byte byte byte byte byte byte byte byte byte byte byte byte byte byte byte byte byte \
        byte byte byte byte byte byte byte byte byte byte byte byte byte

static struct reference reference_of(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_ok(reference_parse(text, &ref, &err), &err);
    return ref;
}

static void keys_are_pinned(void **state)
{
    (void)state;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    struct digest large = digest_of_byte(DIGEST_SHA512, 0xcd);
    struct reference tagged = reference_of("r.example.com:5000/a/b:t");
    struct reference named = reference_of("localhost/a");
    named.digest = small;
    struct record_key key = schema_key();
    expect_bytes(record_key_slice(&key), "736368656d61");
    key = state_key();
    expect_bytes(record_key_slice(&key), "7374617465");
    key = blob_key(&small);
    expect_bytes(record_key_slice(&key), "01" X32("ab"));
    key = blob_key(&large);
    expect_bytes(record_key_slice(&key), "02" X32("cd") X32("cd"));
    key = layer_key(&small, CODEC_ZSTD, EFFORT_AS_CAME);
    expect_bytes(record_key_slice(&key), "01" X32("ab") "02ff");
    key = reference_key(&tagged);
    expect_bytes(record_key_slice(&key), "722e6578616d706c652e636f6d3a353030302f612f62003a74");
    key = reference_key(&named);
    expect_bytes(record_key_slice(&key), "6c6f63616c686f73742f610040"
                                         "01" X32("ab"));
}

static void values_are_pinned(void **state)
{
    (void)state;
    struct digest digest = digest_of_byte(DIGEST_SHA256, 0xab);
    struct record_value value = schema_value(0x01020304);
    expect_bytes(record_value_slice(&value), "0101020304");
    value = state_value(&(struct state_record){.clean = true, .boot_id = "id"});
    expect_bytes(record_value_slice(&value), "01016964");
    value = blob_value(&(struct blob_record){BLOB_DURABLE, 0x0102030405060708, 3, 4});
    expect_bytes(record_value_slice(&value), "0102"
                                             "0102030405060708"
                                             "0000000000000003"
                                             "0000000000000004");
    value = layer_value(&(struct layer_form){.digest = digest, .size = 5, .raw_size = 6});
    expect_bytes(record_value_slice(&value), "0101" X32("ab") "0000000000000005"
                                                              "0000000000000006");
    value = reference_value(&digest, 7, "a/b");
    expect_bytes(record_value_slice(&value), "0101" X32("ab") "0000000000000007"
                                                              "612f62");
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_byte(DIGEST_SHA512, 0x11);
    struct blob_record blob = {BLOB_VOLATILE, UINT64_MAX, 1, 2};
    struct blob_record blob_back;
    struct record_value value = blob_value(&blob);
    assert_ok(blob_decode(record_value_slice(&value), &blob_back, &err), &err);
    assert_int_equal(blob_back.state, BLOB_VOLATILE);
    assert_true(blob_back.size == UINT64_MAX);
    assert_int_equal(blob_back.created_s, 1);
    assert_int_equal(blob_back.last_use_s, 2);

    struct layer_form form = {CODEC_GZIP, EFFORT_BEST, digest, 10, 20};
    struct layer_form form_back;
    struct record_key key = layer_key(&digest, form.codec, form.effort);
    value = layer_value(&form);
    assert_ok(layer_decode(record_key_slice(&key), record_value_slice(&value), &form_back, &err),
              &err);
    assert_int_equal(form_back.codec, CODEC_GZIP);
    assert_int_equal(form_back.effort, EFFORT_BEST);
    assert_true(digest_equal(&form_back.digest, &digest));
    assert_int_equal(form_back.size, 10);
    assert_int_equal(form_back.raw_size, 20);

    static const char *const names[] = {"r.example.com:5000/a/b:t", "ubuntu:22.04"};
    for (size_t i = 0; i < 2; i++) {
        struct reference ref = reference_of(names[i]);
        struct named_manifest back;
        char given[REFERENCE_TEXT_MAX];
        char got[REFERENCE_TEXT_MAX];
        key = reference_key(&ref);
        value = reference_value(&digest, 1, MEDIA_OCI_INDEX);
        assert_ok(reference_decode(record_key_slice(&key), record_value_slice(&value), &back, &err),
                  &err);
        assert_string_equal(reference_text(&back.reference, got), reference_text(&ref, given));
        assert_string_equal(back.media_type, MEDIA_OCI_INDEX);
        assert_true(digest_equal(&back.manifest, &digest));
    }
}

/* A value of any other length or version is refused; one that is open-ended ends in three bytes of
 * text. */
static void refuses_all_but(struct record_value good, bool open_ended,
                            enum errc (*decode)(struct kv_slice value, struct error *err))
{
    struct error err = ERROR_INIT;
    assert_ok(decode(record_value_slice(&good), &err), &err);
    for (size_t size = 0; size < good.size; size++) {
        if (open_ended && size >= good.size - 3)
            break;
        error_clear(&err);
        assert_code(decode((struct kv_slice){good.bytes, size}, &err), ERR_STORE, &err);
    }
    good.bytes[good.size] = 0;
    error_clear(&err);
    assert_code(decode((struct kv_slice){good.bytes, good.size + 1}, &err), ERR_STORE, &err);
    for (int version = 0; version < 256; version += version == 0 ? 2 : 253) {
        good.bytes[0] = (uint8_t)version;
        error_clear(&err);
        assert_code(decode(record_value_slice(&good), &err), ERR_STORE, &err);
    }
}

static enum errc decode_schema(struct kv_slice value, struct error *err)
{
    uint32_t schema;
    return schema_decode(value, &schema, err);
}

static enum errc decode_state(struct kv_slice value, struct error *err)
{
    struct state_record record;
    return state_decode(value, &record, err);
}

static enum errc decode_blob(struct kv_slice value, struct error *err)
{
    struct blob_record record;
    return blob_decode(value, &record, err);
}

static enum errc decode_layer(struct kv_slice value, struct error *err)
{
    struct digest digest = digest_of_byte(DIGEST_SHA256, 1);
    struct record_key key = layer_key(&digest, CODEC_GZIP, EFFORT_FAST);
    struct layer_form form;
    return layer_decode(record_key_slice(&key), value, &form, err);
}

static enum errc decode_reference(struct kv_slice value, struct error *err)
{
    struct reference ref = reference_of("ubuntu:22.04");
    struct record_key key = reference_key(&ref);
    struct named_manifest named;
    return reference_decode(record_key_slice(&key), value, &named, err);
}

static void damaged_values_are_refused(void **state)
{
    (void)state;
    struct digest digest = digest_of_byte(DIGEST_SHA256, 0xab);
    refuses_all_but(schema_value(1), false, decode_schema);
    refuses_all_but(state_value(&(struct state_record){.clean = true, .boot_id = "abc"}), true,
                    decode_state);
    refuses_all_but(blob_value(&(struct blob_record){BLOB_DURABLE, 1, 3, 4}), false, decode_blob);
    refuses_all_but(layer_value(&(struct layer_form){.digest = digest, .size = 5}), false,
                    decode_layer);
    refuses_all_but(reference_value(&digest, 7, "abc"), true, decode_reference);
}

static void unknown_states_and_algorithms_are_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_byte(DIGEST_SHA256, 0xab);
    struct record_value value = blob_value(&(struct blob_record){BLOB_DURABLE, 1, 3, 4});
    value.bytes[1] = 0;
    assert_code(decode_blob(record_value_slice(&value), &err), ERR_STORE, &err);
    value.bytes[1] = 3;
    assert_code(decode_blob(record_value_slice(&value), &err), ERR_STORE, &err);
    struct record_key key = blob_key(&digest);
    struct digest back;
    key.bytes[0] = 3;
    assert_code(blob_key_decode(record_key_slice(&key), &back, &err), ERR_STORE, &err);
    key.bytes[0] = 0;
    assert_code(blob_key_decode(record_key_slice(&key), &back, &err), ERR_STORE, &err);
    key.bytes[0] = DIGEST_SHA512;
    assert_code(blob_key_decode(record_key_slice(&key), &back, &err), ERR_STORE, &err);
}

static void damaged_reference_keys_are_refused(void **state)
{
    (void)state;
    static const struct kv_slice bad[] = {
        {"x", 1},      {"h/p", 3},    {"h/p\0", 4},  {"h/p\0?t", 6},
        {"hp\0:t", 5}, {"h\0/:t", 5}, {"h/p\0@", 5}, {"h/p\0@\1short", 11},
    };
    struct digest digest = digest_of_byte(DIGEST_SHA256, 0xab);
    struct record_value value = reference_value(&digest, 7, "a/b");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = ERROR_INIT;
        struct named_manifest named;
        assert_code(reference_decode(bad[i], record_value_slice(&value), &named, &err), ERR_STORE,
                    &err);
    }
}

static struct known_location location_of(enum digest_algorithm algorithm, size_t source_size,
                                         size_t hmac_size)
{
    struct known_location made = {.digest = digest_of_byte(algorithm, 0xab)};
    memset(made.source, 's', source_size);
    memset(made.hmac, 'f', hmac_size);
    return made;
}

static void known_locations_are_pinned(void **state)
{
    (void)state;
    autofree struct known_location_list *list = xcalloc(1, sizeof *list);
    autofree uint8_t *value = xmalloc(KNOWN_LOCATIONS_VALUE_MAX);
    struct digest layer = digest_of_byte(DIGEST_SHA512, 0xcd);
    list->items[0] = location_of(DIGEST_SHA256, 3, 0);
    list->items[1] = location_of(DIGEST_SHA256, 0, 2);
    list->count = 2;
    struct kv_slice slice = {value, known_locations_value(list, value)};
    expect_bytes(slice, "01"
                        "01" X32("ab") "0003737373"
                                       "00"
                                       "01" X32("ab") "0000"
                                                      "026666");
    struct record_value associated = associated_value(&layer);
    expect_bytes(record_value_slice(&associated), "0102" X32("cd") X32("cd"));
}

static void expect_same_list(const struct known_location_list *a,
                             const struct known_location_list *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        assert_true(location_equal(&a->items[i], &b->items[i]));
}

static void the_longest_associations_fit_and_damaged_ones_are_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofree struct known_location_list *list = xcalloc(2, sizeof *list);
    autofree uint8_t *value = xmalloc(KNOWN_LOCATIONS_VALUE_MAX + 1);
    while (list->count < KNOWN_LOCATIONS_MAX)
        list->items[list->count++] = location_of(DIGEST_SHA512, REFERENCE_NAME_MAX, HMAC_HEX_SIZE);
    struct kv_slice slice = {value, known_locations_value(list, value)};
    assert_int_equal(slice.size, KNOWN_LOCATIONS_VALUE_MAX);
    assert_true(slice.size <= CHANGE_VALUE_MAX);
    assert_ok(known_locations_decode(slice, &list[1], &err), &err);
    expect_same_list(&list[0], &list[1]);
    slice.size++; /* one more than fifty */
    assert_code(known_locations_decode(slice, &list[1], &err), ERR_STORE, &err);
    list->count = 1;
    size_t whole = known_locations_value(list, value);
    for (slice.size = 2; slice.size < whole; slice.size++)
        assert_code(known_locations_decode(slice, &list[1], &err), ERR_STORE, &err);
    value[0] = 2; /* an unknown version */
    slice.size = whole;
    assert_code(known_locations_decode(slice, &list[1], &err), ERR_STORE, &err);
}

static void the_longest_reference_fits(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref = {.host = "h"};
    struct digest digest = digest_of_byte(DIGEST_SHA512, 0xab);
    char type[MEDIA_TYPE_MAX];
    memset(ref.path, 'p', REFERENCE_NAME_MAX - 2);
    memset(ref.tag, 't', REFERENCE_TAG_MAX);
    memset(type, 'm', sizeof type - 1);
    type[sizeof type - 1] = '\0';
    struct record_key key = reference_key(&ref);
    struct record_value value = reference_value(&digest, 7, type);
    struct named_manifest back;
    assert_ok(reference_decode(record_key_slice(&key), record_value_slice(&value), &back, &err),
              &err);
    assert_string_equal(back.reference.path, ref.path);
    assert_string_equal(back.reference.tag, ref.tag);
    assert_string_equal(back.media_type, type);
    ref.digest = digest;
    key = reference_key(&ref);
    assert_ok(reference_decode(record_key_slice(&key), record_value_slice(&value), &back, &err),
              &err);
    assert_string_equal(back.reference.tag, "");
    assert_true(digest_equal(&back.reference.digest, &digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_pinned),
        cmocka_unit_test(values_are_pinned),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(damaged_values_are_refused),
        cmocka_unit_test(unknown_states_and_algorithms_are_refused),
        cmocka_unit_test(damaged_reference_keys_are_refused),
        cmocka_unit_test(known_locations_are_pinned),
        cmocka_unit_test(the_longest_associations_fit_and_damaged_ones_are_refused),
        cmocka_unit_test(the_longest_reference_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
