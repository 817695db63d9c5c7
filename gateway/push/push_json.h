/*
 * The push object: what came of a push, as JSON, for the API and for `slipway push --json`. Its
 * shape is described in docs/openapi.yaml. Returned text and values are owned (free(),
 * json_decref()).
 */
#ifndef SLIPWAY_GATEWAY_PUSH_PUSH_JSON_H
#define SLIPWAY_GATEWAY_PUSH_PUSH_JSON_H

#include "base/json.h"
#include "store/push.h"

/* Of a push that was accepted. */
char *push_json(const struct push *push);

/* Of a push that is listed: with its state as a whole, when it was accepted, and of each target
 * what is planned and was done. To be decrefed. */
json_t *push_json_listed(const struct push *push);

json_t *push_json_listed_result(const struct push_target *target);

/* The parts that events of a push repeat: its image, and the result of one target. */
json_t *push_json_image(const struct push *push);
json_t *push_json_result(const struct push_target *result);
/* "unused", where there are any. */
void push_json_put_unused(json_t *object, const struct push *push);

/* Who asked for it: kind, id. */
json_t *push_json_by(const struct push_by *by);

/* A failure: code, message, party, and what the registry answered. */
json_t *push_json_failure(const struct error *err);
/* Nothing for 0. */
void push_json_put_time(json_t *object, const char *key, uint64_t seconds);
void push_json_put_digest(json_t *object, const char *key, const struct digest *digest);

/* Of several pushes of one request: {"state", "pushes": [...]}, each as above. Owned. */
char *push_json_several(struct push *const *pushes, size_t count);

#endif
