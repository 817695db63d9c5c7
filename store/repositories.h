/*
 * What registry clients have pushed into the gateway, as its registry front shows it: repositories,
 * each with the blobs and manifests that were put into it, its tags, and which manifest refers to
 * which. OCI distribution-spec 1.1.
 *
 * A repository is a name of at most REPOSITORY_NAME_MAX bytes; it needs no making and is there as
 * long as something is in it. A blob or manifest is held once in the store, whatever the number of
 * repositories that it is in; being in a repository is a record. What came in archives is in no
 * repository (store/references.h has its names).
 *
 * Writing goes through a batch, so that what a client was told is there is on the disk in the order
 * of store/batch.h: batch_put_member, batch_put_manifest. Taking out is one durable change each;
 * the bytes stay until they are collected.
 *
 * Any thread. Beside the errors named, each call may return ERR_STORE, ERR_STORE_FULL, ERR_BUSY and
 * ERR_IO. Lists are read in one transaction and bounded by their limit.
 */
#ifndef SLIPWAY_STORE_REPOSITORIES_H
#define SLIPWAY_STORE_REPOSITORIES_H

#include "base/limits.h"
#include "image/digest.h"
#include "image/media_type.h"
#include "image/reference.h"
#include "image/repository_name.h"
#include "store/batch.h"

/* Is it a name, or a tag, by its length? Of another one nothing is there, and nothing can be put.
 */
bool repository_name_fits(const char *repository);
bool tag_fits(const char *tag);

/* --- what is there --- */

/* *held: something is in a repository of this name. */
enum errc repository_held(struct store *store, const char *repository, bool *held,
                          struct error *err);

/* *held: the blob was put into this repository, and its bytes are in the store. */
enum errc repository_has_blob(struct store *store, const char *repository,
                              const struct digest *digest, bool *held, struct error *err);

/* *held: some repository has the blob (mounting without `from`). `counts` (NULL: any does) says
 * whether a repository's copy counts; of more than HOLDERS_MAX the first ones are asked about. It
 * is called HOLDERS_MAX times where none counts, however many there are, so that the time does not
 * tell what is held where the client may not read: NO_HOLDER stands for those that are missing. */
#define HOLDERS_MAX 16
#define NO_HOLDER "no/holder"
enum errc repositories_have_blob(struct store *store, const struct digest *digest,
                                 bool (*counts)(void *self, const char *repository), void *self,
                                 bool *held, struct error *err);

struct repository_manifest {
    struct digest digest;
    char media_type[MEDIA_TYPE_MAX];
    uint64_t size;  /* bytes */
    uint64_t put_s; /* when it was put last, of one that is there */
    /* Of one that is there: greater than that of what was put before, and than push_id_number() of
     * pushes that were accepted before, also where the clock was set back. */
    uint64_t put_number;
};

/* By tag or by digest; *found false when the repository does not have it. */
enum errc repository_tag(struct store *store, const char *repository, const char *tag, bool *found,
                         struct repository_manifest *out, struct error *err);
enum errc repository_manifest(struct store *store, const char *repository,
                              const struct digest *digest, bool *found,
                              struct repository_manifest *out, struct error *err);

/* --- lists, in byte order --- */

/* Names after `after` (NULL: from the first), at most `limit`; *more when there are others behind
 * them. */
struct name_list {
    char **names; /* owned, as each of them */
    size_t count;
    bool more;
};
void name_list_deinit(struct name_list *list);

enum errc repository_tags(struct store *store, const char *repository, const char *after,
                          size_t limit, struct name_list *out, struct error *err);
/* Repositories that have a manifest. */
enum errc repositories_list(struct store *store, const char *after, size_t limit,
                            struct name_list *out, struct error *err);

/* The manifests of the repository that refer to this one, by their `subject` or by a list that a
 * client put, in the order of their digests, after the digest `after` (NULL: from the first), at
 * most REFERRERS_MAX. Each as the descriptor that the referrers API lists: JSON text. */
enum errc repository_referrers(struct store *store, const char *repository,
                               const struct digest *subject, const struct digest *after,
                               struct name_list *out, struct error *err);

/* The digests, as text, of those that referred to it and were taken out of the repository since. In
 * the same order, at most REFERRERS_MAX. */
enum errc repository_past_referrers(struct store *store, const char *repository,
                                    const struct digest *subject, struct name_list *out,
                                    struct error *err);

/* --- putting in: records written at the batch's commit --- */

/* The blob, which the batch brings or the store holds (else the commit is ERR_BLOB_UNKNOWN), is in
 * the repository. */
void batch_put_member(struct batch *batch, const char *repository, const struct digest *digest);

struct manifest_entry {
    const char *repository;
    const char *tag; /* NULL: only under its digest */
    struct repository_manifest manifest;
    const struct digest *subject; /* NULL: refers to none */
    const char *descriptor;       /* with a subject: what the referrers API lists, JSON text of at
                                     most MANIFEST_DESCRIPTOR_MAX bytes */
};
#define MANIFEST_DESCRIPTOR_MAX ((size_t)16 << 10)

/* The manifest, which the batch brings or the store holds, is in the repository; its tag, if it has
 * one, is moved to it. Everything is copied. */
void batch_put_manifest(struct batch *batch, const struct manifest_entry *entry);

/* The manifest, as soon and as long as the repository has it, is listed with this descriptor among
 * the referrers of `subject`. Everything is copied. */
void batch_put_referrer(struct batch *batch, const char *repository, const struct digest *subject,
                        const struct digest *manifest, const char *descriptor);

/* --- taking out: *found false when it was not there --- */

enum errc repository_remove_blob(struct store *store, const char *repository,
                                 const struct digest *digest, bool *found, struct error *err);
enum errc repository_remove_tag(struct store *store, const char *repository, const char *tag,
                                bool *found, struct error *err);
/* With the tags that name it. It is among the past referrers of what it referred to until it is put
 * again. */
enum errc repository_remove_manifest(struct store *store, const char *repository,
                                     const struct digest *digest, bool *found, struct error *err);

#endif
