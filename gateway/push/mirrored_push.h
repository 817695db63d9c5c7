/*
 * Where a manifest that a registry client put has to go: the push to the targets of its repository.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_DELIVERY_H
#define SLIPWAY_GATEWAY_PUSH_DELIVERY_H

#include "gateway/push/mirrors.h"
#include "gateway/push/runtime.h"
#include "store/push.h"

/* The push of `manifest` under these tags (without any: under its digest; at most TAGS_MAX) to each
 * target of the repository, stored where its mirror acknowledges what is stored; without targets it
 * goes nowhere. Not accepted yet. On success *out is owned: push_deinit(). Errors: those of
 * mirrors_route(). */
enum errc mirrored_push_plan(const struct settings *settings, const char *repository,
                             const char *const *tags, size_t tag_count,
                             const struct descriptor *manifest, struct push *out,
                             struct error *err);

/* ERR_OK when no target that is required has failed; else an error that names the first one, its
 * registry's status and reason, and how many more there are. */
enum errc mirrored_push_judge(const struct push *push, struct error *err);

/* A blob has come into the repository: it may leave for the targets at once
 * (upstream/push/early_upload.h), but for those that skips() names (NULL: none). Never blocks on a
 * registry, never fails. */
void mirrored_push_early(struct runtime *runtime, const char *repository,
                         const struct digest *digest, uint64_t size, const char *via,
                         bool (*skips)(void *self, const struct mirror_target *target), void *self);
/* It was taken out of the repository: it leaves no more, but for a push that waits for it. */
void mirrored_push_early_end(struct runtime *runtime, const char *repository,
                             const struct digest *digest);

#endif
