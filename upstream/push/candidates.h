/*
 * What is worth asking a registry about a layer before its bytes are sent, from what is known of
 * the layer (store/known_locations.h). Pure functions: no store, no registry.
 *
 * The smaller a layer, the fewer questions: each costs a round trip, and a small upload hardly
 * more.
 *
 *     uncompressed size      mounts  checks  in other repositories  asked before it is sent
 *     over 10 MiB                 4       3  yes                    yes
 *     over 100 KiB, unknown       3       1  no                     yes
 *     else                        1       1  no                     no
 *
 * Candidates come in this order: those that these credentials made (location_hmac.h) before the
 * others; then those whose repository has more leading path components in common with the target,
 * the registry host being the first; then the youngest first.
 *
 * The bytes of a manifest are fixed when its push begins, so the layer must become that very blob:
 * `only` restricts the candidates to known locations of its digest. A push that may build its
 * manifest from what it finds passes NULL.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_CANDIDATES_H
#define SLIPWAY_UPSTREAM_PUSH_CANDIDATES_H

#include "upstream/auth/location_hmac.h"

#define RAW_SIZE_UNKNOWN UINT64_MAX
#define SMALL_LAYER_MAX_BYTES ((uint64_t)100 << 10)
#define MIDDLE_LAYER_MAX_BYTES ((uint64_t)10 << 20)

struct push_budget {
    size_t mounts;           /* mounts to try */
    size_t checks;           /* existence checks in the target repository */
    bool other_repositories; /* with digests that are known from other repositories, too */
    bool ask_before_sending; /* and at last for the digest that would be sent */
};

struct push_budget push_budget(uint64_t raw_size);

struct candidate_rules {
    const char *host; /* of the target, as in references; borrowed as the rest */
    const char *path;
    const struct location_key *key; /* of the credentials in use */
    const struct digest *only;      /* NULL: any digest */
};

/* Best first; borrowed from the list they were chosen from. */
struct candidates {
    size_t count;
    const struct known_location *items[KNOWN_LOCATIONS_MAX];
};

/* The location is of the target repository, however it is written. */
bool candidate_is_target(const struct candidate_rules *rules, const struct known_location *known);
/* The same of the target's registry host. */
bool candidate_is_at_host(const struct candidate_rules *rules, const struct known_location *known);

/* Sources to mount from: on the target's registry host, not the target itself; the `max` best. One
 * whose source is no reference is left out. */
void candidates_to_mount(const struct candidate_rules *rules,
                         const struct known_location_list *known, size_t max,
                         struct candidates *out);

struct digest_set {
    size_t count;
    struct digest items[KNOWN_LOCATIONS_MAX];
};

bool digest_set_has(const struct digest_set *set, const struct digest *digest);
/* No-op when it is in it, or when the set is full. */
void digest_set_add(struct digest_set *set, const struct digest *digest);

/* Digests to ask the target repository for, each once, named by its best location, none of
 * `asked`; the `max` best. Associations of the target and those without a source always count,
 * others where `other_repositories` says so. */
void candidates_to_check(const struct candidate_rules *rules,
                         const struct known_location_list *known, bool other_repositories,
                         size_t max, const struct digest_set *asked, struct candidates *out);

#endif
