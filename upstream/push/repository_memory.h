/*
 * What is known to be in the repositories of registries, kept for a while: one set of blobs for
 * each repository (upstream/push/known_blobs.h), shared by whoever works on it.
 *
 * A registry may lose a blob that no manifest refers to, so a memory is used for its time from its
 * making on and not from its last use: after that, or when it was told to be wrong, the next one
 * who asks gets an empty one. Those who hold the old one keep it until they release it.
 *
 * Any thread; one lock inside. Times are clock_ms().
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_REPOSITORY_MEMORY_H
#define SLIPWAY_UPSTREAM_PUSH_REPOSITORY_MEMORY_H

#include "image/reference.h"
#include "upstream/push/known_blobs.h"

struct repository_memory;

struct repository_memory *repository_memory_new(int64_t keep_ms);
/* When nothing is held any more. NULL is a no-op. */
void repository_memory_free(struct repository_memory *memory);

/* What is known of the repository of `ref`, whose tag and digest do not matter; held until
 * repository_memory_release(). */
struct known_blobs *repository_memory_hold(struct repository_memory *memory,
                                           const struct reference *ref, int64_t now_ms);
void repository_memory_release(struct repository_memory *memory, struct known_blobs *known);

/* It was wrong. */
void repository_memory_forget(struct repository_memory *memory, const struct reference *ref);

#endif
