/*
 * Lists of referrers: the index that a registry without the referrers API has under a tag made of
 * the subject's digest (OCI distribution-spec, "Referrers Tag Schema"). Whoever pushes or deletes a
 * referrer reads the list, changes and writes it, so a list may lack what others wrote meanwhile,
 * and have what is long gone. That is why it is neither replaced nor compared as a whole: it is
 * brought up to what is known of its entries, and stays as it is when it has all of that.
 *
 * A list is the JSON of an index. Facts about its entries are JSON objects whose keys are digests.
 * Pure functions.
 */
#ifndef SLIPWAY_IMAGE_REFERRER_LIST_H
#define SLIPWAY_IMAGE_REFERRER_LIST_H

#include "image/manifest.h"
#include "image/referrer.h"

/* "sha256-0123…": at most 32 characters of the algorithm, 64 of the hex. Returns `tag`. */
#define REFERRER_LIST_TAG_MAX (32 + 1 + 64 + 1)
const char *referrer_list_tag(const struct digest *subject, char tag[REFERRER_LIST_TAG_MAX]);

/* It has the form of such a tag. */
bool referrer_list_tag_fits(const char *tag);

/* Such a tag, and what is put under it is an OCI index. */
bool referrer_list_is(const char *tag, const struct manifest *manifest);

/* The subject of one of its members, if the list under `tag` is its subject's: the tag has no more
 * than 64 characters of a sha512 digest, the member has all of it. Else *subject is left alone. */
void referrer_list_subject(const json_t *member, const char *tag, struct digest *subject);

/* The bytes as a list, owned. ERR_MANIFEST_INVALID, ERR_JSON_INVALID when they are no OCI index;
 * ERR_JSON_TOO_LARGE. */
enum errc referrer_list_parse(const char *data, size_t size, json_t **out, struct error *err);
json_t *referrer_list_empty(void); /* owned */

/*
 * True when the list had to be changed. Afterwards it has an entry for each descriptor of `wanted`,
 * its entries have type, size, artifactType and annotations of the descriptors in `wanted` and
 * `known`, and those whose digest is null in `known` have left it. Other entries, and other members
 * of an entry, stay.
 */
bool referrer_list_update(json_t *list, const json_t *wanted, const json_t *known);

/* Into `facts`: the entries of the list that it does not have. */
void referrer_list_collect(const json_t *list, json_t *facts);

#endif
