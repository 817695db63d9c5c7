#include "tests/unit/store/store_test.h"

#include "store/local/kv/change.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

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

static void keys_are_pinned(void **state)
{
    (void)state;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    struct digest large = digest_of_byte(DIGEST_SHA512, 0xcd);
    struct record_key key = repository_prefix("a/b");
    expect_bytes(record_key_slice(&key), "612f6200");
    key = repository_end("a/b");
    expect_bytes(record_key_slice(&key), "612f6201");
    key = repository_digest_key("a/b", &small);
    expect_bytes(record_key_slice(&key), "612f6200"
                                         "01" X32("ab"));
    key = holder_key(&small, "a/b");
    expect_bytes(record_key_slice(&key), "01" X32("ab") "612f62");
    key = tag_key("a/b", "1.0");
    expect_bytes(record_key_slice(&key), "612f6200312e30");
    key = tag_end("a/b", "1.0");
    expect_bytes(record_key_slice(&key), "612f6200312e3001");
    key = referrers_prefix("a/b", &small);
    expect_bytes(record_key_slice(&key), "612f6200"
                                         "01" X32("ab"));
    key = referrer_key("a/b", &small, &large);
    expect_bytes(record_key_slice(&key), "612f6200"
                                         "01" X32("ab") "02" X32("cd") X32("cd"));
    key = referrer_end("a/b", &small, &small);
    expect_bytes(record_key_slice(&key), "612f6200"
                                         "01" X32("ab") "01" X32("ab") "00");
    key = session_key("0123");
    expect_bytes(record_key_slice(&key), "30313233");
    key = push_key("0123");
    expect_bytes(record_key_slice(&key), "30313233");
}

static struct manifest_record manifest_of(const struct digest *subject)
{
    struct manifest_record record = {.manifest = {.size = 0x1122, .media_type = "a/b"},
                                     .put_s = 0x33,
                                     .put_number = 0x44,
                                     .subject = *subject};
    return record;
}

static void values_are_pinned(void **state)
{
    (void)state;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    struct digest none = {.algorithm = DIGEST_NONE};
    struct record_value value = holder_value();
    expect_bytes(record_value_slice(&value), "01");
    uint64_t used_s = 1;
    struct error err = ERROR_INIT;
    assert_int_equal(member_decode(record_value_slice(&value), &used_s, &err), ERR_OK);
    assert_int_equal(used_s, 0);
    value = member_value(0x55);
    expect_bytes(record_value_slice(&value), "02"
                                             "0000000000000055");
    assert_int_equal(member_decode(record_value_slice(&value), &used_s, &err), ERR_OK);
    assert_int_equal(used_s, 0x55);
    value.bytes[0] = 3;
    assert_int_equal(member_decode(record_value_slice(&value), &used_s, &err), ERR_STORE);
    struct manifest_record manifest = manifest_of(&none);
    value = manifest_value(&manifest);
    expect_bytes(record_value_slice(&value), "01"
                                             "0000000000001122"
                                             "0000000000000033"
                                             "0000000000000044"
                                             "00"
                                             "612f62");
    manifest = manifest_of(&small);
    value = manifest_value(&manifest);
    expect_bytes(record_value_slice(&value), "01"
                                             "0000000000001122"
                                             "0000000000000033"
                                             "0000000000000044"
                                             "01"
                                             "01" X32("ab") "612f62");
    value = tag_value(&small);
    expect_bytes(record_value_slice(&value), "0101" X32("ab"));
    struct session_record session = {.created_s = 0x55, .repository = "a/b"};
    value = session_value(&session);
    expect_bytes(record_value_slice(&value), "010000000000000055612f62");
    autofree uint8_t *bytes = NULL;
    struct kv_slice slice = {.size = descriptor_value("{}", &bytes)};
    slice.data = bytes;
    expect_bytes(slice, "017b7d");
}

static void a_push_is_pinned(void **state)
{
    (void)state;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    struct push_referrer referrer = {.manifest = {.media_type = "a/b", .digest = small, .size = 2},
                                     .tag = "s"};
    const struct push push = {.id = "1",
                              .created_s = 0x55,
                              .manifest = {.media_type = "a/b", .digest = small, .size = 1},
                              .config = small,
                              .repository = "r/a",
                              .target_count = 3,
                              .referrers = &referrer,
                              .referrer_count = 1};
    autofree uint8_t *bytes = NULL;
    struct kv_slice slice = {.size = push_value(&push, &bytes)};
    slice.data = bytes;
    expect_bytes(slice, "02"
                        "0000000000000055"
                        "01" X32("ab") "0000000000000001"
                                       "03612f62"
                                       "01"
                                       "01" X32("ab") "03722f61"
                                                      "0003"
                                                      "0001"
                                                      "01" X32("ab") "0000000000000002"
                                                                     "03612f62"
                                                                     "0173");
}

static void targets_of_a_push_are_pinned(void **state)
{
    (void)state;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    const struct push_target plain = {.reference = {.host = "h", .path = "p", .tag = "t"},
                                      .state = PUSH_QUEUED};
    const struct push_target full = {
        .reference = {.host = "h", .path = "p", .digest = small},
        .state = PUSH_WAITING,
        .optional = true,
        .stored = true,
        .converged = true,
        .name = "n",
        .tries = 2,
        .deadline_s = 14,
        .first_s = 3,
        .next_s = 4,
        .ended_s = 5,
        .layers = {6, 7, 8, 9},
        .bytes_uploaded = 10,
        .attempts = 11,
        .digest = small,
        .size = 12,
        .media_type = "a/b",
        .error = {.code = ERR_DENIED, .status = 403, .text = "no"},
    };
    struct push_target_value value;
    struct record_key key = push_target_key("01", 258);
    expect_bytes(record_key_slice(&key), "3031000102");
    push_target_value(&plain, &value);
    expect_bytes((struct kv_slice){value.bytes, value.size}, "010100"
                                                             "03682f70"
                                                             "0174"
                                                             "0000"
                                                             "00000000"
                                                             "0000000000000000"
                                                             "0000000000000000"
                                                             "0000000000000000"
                                                             "0000000000000000"
                                                             "00000000000000000000000000000000"
                                                             "0000000000000000"
                                                             "00000000");
    push_target_value(&full, &value);
    expect_bytes((struct kv_slice){value.bytes, value.size},
                 "01061f"
                 "03682f70"
                 "00"
                 "01"
                 "01" X32("ab") "016e"
                                "00000002"
                                "000000000000000e"
                                "0000000000000003"
                                "0000000000000004"
                                "0000000000000005"
                                "00000006000000070000000800000009"
                                "000000000000000a"
                                "0000000b"
                                "01" X32("ab") "000000000000000c"
                                               "03612f62"
                                               "0644454e494544"
                                               "0193"
                                               "00026e6f");
}

static char *letters(size_t size)
{
    char *text = xmalloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    return text;
}

static void the_longest_records_fit(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofree char *name = letters(REPOSITORY_NAME_MAX);
    autofree char *far = letters(100000);
    struct digest large = digest_of_byte(DIGEST_SHA512, 0xcd);
    struct record_key key = referrer_key(name, &large, &large);
    assert_int_equal(key.size, 386);
    assert_true(key.size <= KV_KEY_MAX);
    key = tag_end(name, far);
    assert_int_equal(key.size, REPOSITORY_NAME_MAX + 1 + REFERENCE_TAG_MAX + 2);
    key = repository_end(far);
    assert_int_equal(key.size, REPOSITORY_NAME_MAX + 2);

    struct manifest_record manifest = manifest_of(&large);
    manifest.manifest.digest = large;
    memset(manifest.manifest.media_type, 'm', MEDIA_TYPE_MAX - 1);
    struct record_value value = manifest_value(&manifest);
    assert_int_equal(value.size, RECORD_VALUE_MAX - 1);
    struct manifest_record got;
    key = repository_digest_key(name, &large);
    assert_ok(manifest_decode(record_key_slice(&key), record_value_slice(&value), &got, &err),
              &err);
    assert_string_equal(got.manifest.media_type, manifest.manifest.media_type);
    assert_true(digest_equal(&got.manifest.digest, &large));
    assert_true(digest_equal(&got.subject, &large));
    assert_true(got.manifest.size == 0x1122 && got.put_s == 0x33 && got.put_number == 0x44);
    assert_true(1 + MANIFEST_DESCRIPTOR_MAX <= CHANGE_VALUE_MAX);
}

/* Every beginning of the bytes goes through `decode`, which is to refuse those that are shorter
 * than `least`, and all when the version is not known. */
static void refuses_damage(struct kv_slice good, size_t least,
                           enum errc (*decode)(struct kv_slice, struct error *))
{
    for (size_t size = 0; size <= good.size; size++) {
        struct error err = ERROR_INIT;
        autofree uint8_t *copy = xmalloc(size + 1);
        memcpy(copy, good.data, size);
        enum errc rc = decode((struct kv_slice){copy, size}, &err);
        assert_int_equal(rc, size < least ? ERR_STORE : ERR_OK);
    }
}

static void refuses_versions(struct kv_slice good,
                             enum errc (*decode)(struct kv_slice, struct error *))
{
    for (unsigned version = 0; version < 4; version++) {
        struct error err = ERROR_INIT;
        autofree uint8_t *copy = xmalloc(good.size);
        memcpy(copy, good.data, good.size);
        copy[0] = (uint8_t)version;
        enum errc rc = decode((struct kv_slice){copy, good.size}, &err);
        assert_int_equal(rc, version == 1 ? ERR_OK : ERR_STORE);
    }
}

static enum errc decode_manifest_value(struct kv_slice value, struct error *err)
{
    struct digest digest = digest_of_byte(DIGEST_SHA256, 1);
    struct record_key key = repository_digest_key("a", &digest);
    struct manifest_record record;
    return manifest_decode(record_key_slice(&key), value, &record, err);
}

static enum errc decode_tag_value(struct kv_slice value, struct error *err)
{
    char tag[REFERENCE_TAG_MAX + 1];
    struct record_key key = tag_key("a", "t");
    struct digest digest;
    return tag_decode(record_key_slice(&key), value, tag, &digest, err);
}

static enum errc decode_session_value(struct kv_slice value, struct error *err)
{
    struct session_record record;
    return session_decode(value, &record, err);
}

static enum errc decode_descriptor_value(struct kv_slice value, struct error *err)
{
    char *text = NULL;
    enum errc rc = descriptor_decode(value, &text, err);
    free(text);
    return rc;
}

static enum errc decode_repository_digest(struct kv_slice key, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    return repository_digest_decode(key, name, &digest, err);
}

static enum errc decode_holder(struct kv_slice key, struct error *err)
{
    struct digest digest;
    return holder_decode(key, &digest, err);
}

static enum errc decode_referrer(struct kv_slice key, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    return referrer_key_decode(key, name, &digest, err);
}

static void damaged_values_are_refused(void **state)
{
    (void)state;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    struct manifest_record manifest = manifest_of(&small);
    struct record_value value = manifest_value(&manifest);
    refuses_damage(record_value_slice(&value), value.size - 3, decode_manifest_value);
    refuses_versions(record_value_slice(&value), decode_manifest_value);
    value = tag_value(&small);
    refuses_damage(record_value_slice(&value), value.size, decode_tag_value);
    refuses_versions(record_value_slice(&value), decode_tag_value);
    struct session_record session = {.repository = "a"};
    value = session_value(&session);
    refuses_damage(record_value_slice(&value), value.size - 1, decode_session_value);
    refuses_versions(record_value_slice(&value), decode_session_value);
    autofree uint8_t *bytes = NULL;
    struct kv_slice slice = {.size = descriptor_value("{}", &bytes)};
    slice.data = bytes;
    refuses_damage(slice, 1, decode_descriptor_value);
    refuses_versions(slice, decode_descriptor_value);
}

static void damaged_keys_are_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest small = digest_of_byte(DIGEST_SHA256, 0xab);
    struct record_key key = repository_digest_key("a", &small);
    refuses_damage(record_key_slice(&key), key.size, decode_repository_digest);
    key.bytes[key.size++] = 0;
    assert_code(decode_repository_digest(record_key_slice(&key), &err), ERR_STORE, &err);
    key = holder_key(&small, "a");
    refuses_damage(record_key_slice(&key), key.size - 1, decode_holder);
    key = referrer_key("a", &small, &small);
    refuses_damage(record_key_slice(&key), key.size, decode_referrer);
    /* A name that is longer than any. */
    memset(key.bytes, 'x', REPOSITORY_NAME_MAX + 1);
    key.bytes[REPOSITORY_NAME_MAX + 1] = 0;
    memset(key.bytes + REPOSITORY_NAME_MAX + 2, 1, 33);
    key.size = REPOSITORY_NAME_MAX + 2 + 33;
    assert_code(decode_repository_digest(record_key_slice(&key), &err), ERR_STORE, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_pinned),          cmocka_unit_test(values_are_pinned),
        cmocka_unit_test(a_push_is_pinned),         cmocka_unit_test(targets_of_a_push_are_pinned),
        cmocka_unit_test(the_longest_records_fit),  cmocka_unit_test(damaged_values_are_refused),
        cmocka_unit_test(damaged_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
