/*
 * Putting into repositories and looking at them, for the tests of store/repositories.h.
 */
#ifndef SLIPWAY_TESTS_REPOSITORIES_TEST_H
#define SLIPWAY_TESTS_REPOSITORIES_TEST_H

#include "tests/unit/store/store_test.h"

#include "store/local/internal.h"
#include "store/repositories.h"

static inline struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {.map_size_bytes = (uint64_t)16 << 20, .leave_volatile = true};
    assert_ok(store_open_in_boot(folder, &options, boot, &store, &err), &err);
    return store;
}

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

static inline void commit(struct batch *batch)
{
    struct error err = ERROR_INIT;
    assert_ok(batch_commit(batch, &err), &err);
}

static inline struct digest put_blob(struct store *store, const char *repository,
                                     const char *content)
{
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, content);
    batch_put_member(batch, repository, &digest);
    commit(batch);
    return digest;
}

static inline struct manifest_entry entry_of(const char *repository, const char *tag,
                                             const struct digest *digest)
{
    struct manifest_entry entry = {
        .repository = repository, .tag = tag, .manifest = {.digest = *digest, .size = 7}};
    strcpy(entry.manifest.media_type, MEDIA_OCI_MANIFEST);
    return entry;
}

static inline struct digest put_manifest(struct store *store, const char *repository,
                                         const char *tag, const char *content)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, content);
    struct manifest_entry entry = entry_of(repository, tag, &digest);
    batch_put_manifest(batch, &entry);
    commit(batch);
    return digest;
}

static inline struct digest put_referrer(struct store *store, const char *repository,
                                         const char *content, const struct digest *subject,
                                         const char *descriptor)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, content);
    struct manifest_entry entry = entry_of(repository, NULL, &digest);
    entry.subject = subject;
    entry.descriptor = descriptor;
    batch_put_manifest(batch, &entry);
    commit(batch);
    return digest;
}

static inline bool has_blob(struct store *store, const char *repository,
                            const struct digest *digest)
{
    struct error err = ERROR_INIT;
    bool held = false;
    assert_ok(repository_has_blob(store, repository, digest, &held, &err), &err);
    return held;
}

static inline bool any_has_blob(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    bool held = false;
    assert_ok(repositories_have_blob(store, digest, NULL, NULL, &held, &err), &err);
    return held;
}

static inline bool is_held(struct store *store, const char *repository)
{
    struct error err = ERROR_INIT;
    bool held = false;
    assert_ok(repository_held(store, repository, &held, &err), &err);
    return held;
}

static inline bool has_manifest(struct store *store, const char *repository,
                                const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct repository_manifest manifest;
    bool found = false;
    assert_ok(repository_manifest(store, repository, digest, &found, &manifest, &err), &err);
    if (found)
        assert_true(digest_equal(&manifest.digest, digest));
    return found;
}

static inline bool tag_is(struct store *store, const char *repository, const char *tag,
                          const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct repository_manifest manifest;
    bool found = false;
    assert_ok(repository_tag(store, repository, tag, &found, &manifest, &err), &err);
    if (digest == NULL)
        return !found;
    return found && digest_equal(&manifest.digest, digest);
}

/* The list's names, each followed by a space, and "..." when there is more. */
static inline const char *joined(struct name_list *list, char text[4096])
{
    text[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        strcat(text, list->names[i]);
        strcat(text, " ");
    }
    if (list->more)
        strcat(text, "...");
    name_list_deinit(list);
    return text;
}

static inline const char *tags_of(struct store *store, const char *repository, const char *after,
                                  size_t limit)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repository_tags(store, repository, after, limit, &list, &err), &err);
    return joined(&list, text);
}

static inline const char *catalog(struct store *store, const char *after, size_t limit)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repositories_list(store, after, limit, &list, &err), &err);
    return joined(&list, text);
}

static inline const char *referrers(struct store *store, const char *repository,
                                    const struct digest *subject)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repository_referrers(store, repository, subject, NULL, &list, &err), &err);
    return joined(&list, text);
}

static inline const char *past_referrers(struct store *store, const char *repository,
                                         const struct digest *subject)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repository_past_referrers(store, repository, subject, &list, &err), &err);
    return joined(&list, text);
}

/* `size` times the letter, owned. */
static inline char *letters(size_t size)
{
    char *text = xmalloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    return text;
}

#endif
