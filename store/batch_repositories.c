#include "base/mem.h"
#include "store/batch_internal.h"

#include <stdio.h>
#include <string.h>

bool repository_name_fits(const char *repository)
{
    return repository[0] != '\0' &&
           strnlen(repository, REPOSITORY_NAME_MAX + 1) <= REPOSITORY_NAME_MAX;
}

bool tag_fits(const char *tag)
{
    return tag[0] != '\0' && strnlen(tag, REFERENCE_TAG_MAX + 1) <= REFERENCE_TAG_MAX;
}

static bool name_fits(struct batch *batch, const char *repository)
{
    if (repository_name_fits(repository))
        return true;
    fail(&batch->error, ERR_NAME_INVALID, 0, "a repository's name has 1 to %d characters",
         REPOSITORY_NAME_MAX);
    return false;
}

void batch_put_member(struct batch *batch, const char *repository, const struct digest *digest)
{
    if (!name_fits(batch, repository))
        return;
    void *grown = batch_grow(batch->members, batch->member_count, &batch->member_capacity,
                             sizeof *batch->members, &batch->error);
    if (grown == NULL)
        return;
    batch->members = grown;
    batch->members[batch->member_count++] =
        (struct batch_member){.repository = xstrdup(repository), .digest = *digest};
}

static bool entry_fits(struct batch *batch, const struct manifest_entry *entry)
{
    if (!name_fits(batch, entry->repository))
        return false;
    if (entry->tag != NULL && !tag_fits(entry->tag)) {
        fail(&batch->error, ERR_TAG_INVALID, 0, "a tag has 1 to %d characters", REFERENCE_TAG_MAX);
        return false;
    }
    return true;
}

void batch_put_manifest(struct batch *batch, const struct manifest_entry *entry)
{
    if (!entry_fits(batch, entry))
        return;
    void *grown = batch_grow(batch->manifests, batch->manifest_count, &batch->manifest_capacity,
                             sizeof *batch->manifests, &batch->error);
    if (grown == NULL)
        return;
    batch->manifests = grown;
    struct batch_manifest *manifest = &batch->manifests[batch->manifest_count++];
    *manifest = (struct batch_manifest){.repository = xstrdup(entry->repository),
                                        .manifest = entry->manifest};
    if (entry->tag != NULL)
        manifest->tag = xstrdup(entry->tag);
    if (entry->subject == NULL)
        return;
    manifest->subject = *entry->subject;
    batch_put_referrer(batch, entry->repository, entry->subject, &entry->manifest.digest,
                       entry->descriptor);
}

void batch_put_referrer(struct batch *batch, const char *repository, const struct digest *subject,
                        const struct digest *manifest, const char *descriptor)
{
    if (!name_fits(batch, repository))
        return;
    if (strnlen(descriptor, MANIFEST_DESCRIPTOR_MAX + 1) > MANIFEST_DESCRIPTOR_MAX) {
        fail(&batch->error, ERR_MANIFEST_INVALID, 0,
             "the annotations and types of a manifest with a subject take more than %zu bytes",
             MANIFEST_DESCRIPTOR_MAX);
        return;
    }
    void *grown = batch_grow(batch->referrers, batch->referrer_count, &batch->referrer_capacity,
                             sizeof *batch->referrers, &batch->error);
    if (grown == NULL)
        return;
    batch->referrers = grown;
    batch->referrers[batch->referrer_count++] =
        (struct batch_referrer){.repository = xstrdup(repository),
                                .subject = *subject,
                                .manifest = *manifest,
                                .descriptor = xstrdup(descriptor)};
}

void batch_end_session(struct batch *batch, const char *id)
{
    void *grown = batch_grow(batch->sessions, batch->session_count, &batch->session_capacity,
                             sizeof *batch->sessions, &batch->error);
    if (grown == NULL)
        return;
    batch->sessions = grown;
    struct batch_session *session = &batch->sessions[batch->session_count++];
    snprintf(session->id, sizeof session->id, "%s", id);
}

void batch_free_repositories(struct batch *batch)
{
    for (size_t i = 0; i < batch->member_count; i++)
        free(batch->members[i].repository);
    for (size_t i = 0; i < batch->manifest_count; i++) {
        free(batch->manifests[i].repository);
        free(batch->manifests[i].tag);
    }
    for (size_t i = 0; i < batch->referrer_count; i++) {
        free(batch->referrers[i].repository);
        free(batch->referrers[i].descriptor);
    }
    free(batch->members);
    free(batch->manifests);
    free(batch->referrers);
    free(batch->sessions);
}
