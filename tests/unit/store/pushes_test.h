/*
 * Pushes as values and as what a store has of them, for the tests of store/pushes.h.
 */
#ifndef SLIPWAY_TESTS_PUSHES_TEST_H
#define SLIPWAY_TESTS_PUSHES_TEST_H

#include "tests/unit/store/store_test.h"

#include "store/pushes.h"
#include "tests/support/recorded_pushes.h"

static inline struct batch *begin(struct store *store, enum durability durability)
{
    struct batch *batch = batch_begin(store, durability);
    return batch;
}

static inline struct digest bring(struct batch *batch, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, &err), &err);
    return digest;
}

static inline struct descriptor manifest_of(const struct digest *digest)
{
    struct descriptor manifest = {.digest = *digest, .size = 123};
    strcpy(manifest.media_type, MEDIA_OCI_MANIFEST);
    return manifest;
}

static inline struct reference parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_ok(reference_parse(text, &ref, &err), &err);
    return ref;
}

static inline void add_target(struct push *push, const char *text, bool optional, bool stored)
{
    struct error err = ERROR_INIT;
    const struct reference reference = parse(text);
    assert_ok(push_add_target(push, &reference, optional, stored, &err), &err);
}

static inline struct push push_of(const char *id, const struct digest *manifest)
{
    struct push push = {.created_s = 1700000000, .manifest = manifest_of(manifest)};
    strcpy(push.id, id);
    strcpy(push.via, "0123456789abcdef, 0000000000000000");
    push.by = (struct push_by){.kind = "robot", .name = "robot:ci-a"};
    add_target(&push, "r.example.com/team/app:1.0", false, true);
    add_target(&push, "[::1]:5000/app:2", true, true);
    push.targets[1].state = PUSH_FAILED;
    push.targets[1].reference.digest = *manifest;
    return push;
}

static inline struct push *list(struct store *store, size_t expected)
{
    struct push *pushes = NULL;
    assert_int_equal(recorded_pushes(store, &pushes), expected);
    return pushes;
}

static inline void free_list(struct push *pushes, size_t count)
{
    recorded_pushes_free(pushes, count);
}

struct open_list {
    size_t count;
    struct open_target items[8];
};

static inline void note_open(void *self, const struct open_target *open)
{
    struct open_list *list = self;
    if (list->count < 8)
        list->items[list->count] = *open;
    list->count++;
}

static inline struct open_list open_targets(struct store *store)
{
    struct error err = ERROR_INIT;
    struct open_list list = {.count = 0};
    assert_ok(pushes_each_open(store, note_open, &list, &err), &err);
    return list;
}

#endif
