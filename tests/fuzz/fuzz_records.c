/*
 * Records of the metadata as a damaged disk, or another version of slipway, may hand them back. The
 * first byte says which, the second how much of the rest is the key. What is taken is within the
 * bounds of its struct, and its texts end.
 */
#include "base/mem.h"
#include "store/local/records_open_uploads.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_store(unsigned which, struct kv_slice key, struct kv_slice value,
                       struct error *err)
{
    union {
        uint32_t schema;
        struct state_record state;
        struct blob_record blob;
        struct digest digest;
        struct layer_form form;
        struct named_manifest reference;
        struct known_location_list locations;
        struct capabilities capabilities;
    } out;
    memset(&out, 0, sizeof out);
    switch (which) {
    case 0:
        schema_decode(value, &out.schema, err);
        break;
    case 1:
        state_decode(value, &out.state, err);
        break;
    case 2:
        blob_key_decode(key, &out.digest, err);
        break;
    case 3:
        blob_decode(value, &out.blob, err);
        break;
    case 4:
        layer_decode(key, value, &out.form, err);
        break;
    case 5:
        start_decode(value, &out.digest, err);
        break;
    case 6:
        reference_decode(key, value, &out.reference, err);
        break;
    case 7:
        known_locations_decode(value, &out.locations, err);
        break;
    case 8:
        associated_decode(value, &out.digest, err);
        break;
    default:
        capabilities_decode(value, &out.capabilities, err);
        break;
    }
}

static void check_target(const struct push_target *target)
{
    char text[REFERENCE_TEXT_MAX];
    assert(strlen(reference_text(&target->reference, text)) < REFERENCE_TEXT_MAX);
    assert(strlen(target->name) <= TARGET_NAME_MAX);
    assert(strlen(target->error.text) < ERROR_TEXT_MAX);
    assert(push_state_name(target->state) != NULL);
}

static void check_push(struct push *push)
{
    for (size_t i = 0; i < push->referrer_count; i++)
        assert(strlen(push->referrers[i].tag) <= REFERENCE_TAG_MAX);
    push_deinit(push);
}

/* Of this schema, of the one before, and a target. */
static void read_push(struct kv_slice key, struct kv_slice value, struct error *err)
{
    struct push push = {.target_count = 0};
    struct push_target target;
    struct request_key request;
    char id[PUSH_ID_MAX];
    size_t index = 0;
    bool is_old = false;
    if (push_decode(key, value, &push, err) == ERR_OK)
        check_push(&push);
    error_clear(err);
    if (push_decode_schema_1(key, value, &is_old, &push, err) == ERR_OK && is_old) {
        for (size_t i = 0; i < push.target_count; i++)
            check_target(&push.targets[i]);
        check_push(&push);
    }
    error_clear(err);
    if (request_key_decode(value, &request, err) == ERR_OK) {
        const struct record_value again = request_key_value(&request);
        assert(record_value_slice(&again).size == value.size && request.pushes > 0);
    }
    error_clear(err);
    push_target_key_decode(key, id, &index, err);
    error_clear(err);
    if (push_target_decode(value, &target, err) == ERR_OK)
        check_target(&target);
}

/* What is taken is written as it was. */
static void read_target(struct kv_slice key, struct kv_slice value, struct error *err)
{
    struct target_record record;
    struct target_record_value again;
    if (target_record_decode(key, value, &record, err) != ERR_OK)
        return;
    assert(strlen(record.name) <= TARGET_LABEL_MAX);
    assert(strlen(record.failure.text) < ERROR_TEXT_MAX);
    target_record_value(&record, &again);
    struct target_record other;
    assert(target_record_decode(key, (struct kv_slice){again.bytes, again.size}, &other, err) ==
           ERR_OK);
    assert(other.failure_s == record.failure_s && other.failure.code == record.failure.code);
}

static void read_open_upload(struct kv_slice key, struct kv_slice value, struct error *err)
{
    struct open_upload upload = {.at_s = 0};
    if (open_upload_key_decode(key, &upload, err) == ERR_OK)
        assert(strlen(upload.source) <= REFERENCE_NAME_MAX && strlen(upload.hmac) <= HMAC_HEX_SIZE);
    error_clear(err);
    if (open_upload_decode(value, &upload, err) == ERR_OK)
        assert(strlen(upload.location) <= OPEN_UPLOAD_URL_MAX &&
               strlen(upload.endpoint) <= OPEN_UPLOAD_URL_MAX);
    open_upload_deinit(&upload);
    error_clear(err);
}

static void read_signing_key(struct kv_slice key, struct kv_slice value, struct error *err)
{
    struct signing_key signing = {.id = ""};
    if (signing_key_decode(key, value, &signing, err) == ERR_OK)
        assert(strlen(signing.id) < SIGNING_KEY_ID_MAX);
    error_clear(err);
}

static void read_front(unsigned which, struct kv_slice key, struct kv_slice value,
                       struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1] = "";
    char tag[REFERENCE_TAG_MAX + 1] = "";
    struct digest digest = {0};
    struct manifest_record manifest = {0};
    struct session_record session = {0};
    struct leases_record leases = {0};
    uint64_t number = 0;
    autofree char *text = NULL;
    switch (which) {
    case 0:
        repository_digest_decode(key, name, &digest, err);
        break;
    case 1:
        holder_decode(key, &digest, err);
        break;
    case 2:
        manifest_decode(key, value, &manifest, err);
        break;
    case 3:
        tag_decode(key, value, tag, &digest, err);
        break;
    case 4:
        referrer_key_decode(key, name, &digest, err);
        break;
    case 5:
        if (session_decode(value, &session, err) == ERR_OK)
            assert(strlen(session.repository) <= REPOSITORY_NAME_MAX);
        break;
    case 6:
        if (descriptor_decode(value, &text, err) == ERR_OK)
            assert(strlen(text) <= value.size);
        break;
    case 7:
        read_push(key, value, err);
        break;
    case 8:
        member_decode(value, &number, err);
        error_clear(err);
        if (holder_name_decode(key, name, err) == ERR_OK)
            assert(name[0] != '\0');
        break;
    case 9:
        referrer_subject_decode(key, &digest, err);
        error_clear(err);
        tomb_decode(value, &number, err);
        error_clear(err);
        leases_decode(value, &leases, err);
        break;
    case 10:
        read_target(key, value, err);
        break;
    default:
        read_open_upload(key, value, err);
        read_signing_key(key, value, err);
        break;
    }
    assert(strlen(name) <= REPOSITORY_NAME_MAX && strlen(tag) <= REFERENCE_TAG_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    if (size < 2)
        return 0;
    unsigned which = data[0] % 22;
    size_t key_size = data[1] < size - 2 ? data[1] : size - 2;
    /* Copies, so that a read beyond their ends is seen. */
    autofree uint8_t *key_bytes = xmalloc(key_size + 1);
    autofree uint8_t *value_bytes = xmalloc(size - 2 - key_size + 1);
    const struct kv_slice key = {key_bytes + 1, key_size};
    const struct kv_slice value = {value_bytes + 1, size - 2 - key_size};
    memcpy(key_bytes + 1, data + 2, key_size);
    memcpy(value_bytes + 1, data + 2 + key_size, value.size);
    if (which < 10)
        read_store(which, key, value, &err);
    else
        read_front(which - 10, key, value, &err);
    return 0;
}
