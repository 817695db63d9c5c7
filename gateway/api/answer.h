/*
 * What the API says beside the push object (gateway/push/push_json.h), as JSON text. The shapes are
 * described in docs/openapi.yaml. Returned text is owned (free()).
 */
#ifndef SLIPWAY_GATEWAY_API_ANSWER_H
#define SLIPWAY_GATEWAY_API_ANSWER_H

#include "base/error.h"
#include "store/layers.h"
#include "store/push.h"
#include "upstream/push/progress.h"

/* The error body (gateway/http/error_body.h), with what is missing in detail.diff_ids. */
char *answer_missing(const struct error *err, const struct digest *diff_ids, size_t count);

/* {"diff_id","digest","size","media_type"}: a layer in the form that is held. The media type is
 * OCI's: it names the same bytes as Docker's, and for zstd Docker has none that registries know. */
char *answer_layer(const struct digest *diff_id, const struct layer_form *form);

/*
 * Lines of an event stream, in the form that Docker's API gives progress, each ended by a newline.
 * What Docker has no member for stands beside it.
 */

/* {"status", "push":{"id","image"}}: the first. */
char *answer_begin(const struct push *push);

/* {"status", "id", "progressDetail":{"current","total"}, "target"}; a message has no id. */
char *answer_event(const struct progress_event *event);

/* The end of one target: {"aux":{"Tag","Digest","Size"}, "target", "result"} or
 * {"errorDetail":{"code","message"}, "error", "target", "result"}, and {"status", "target",
 * "result"} for one that is pushed behind the answer; `result` is what the push object has for it.
 */
char *answer_outcome(const struct push_target *target);

/* What a target of a push that is followed has come to by now: the same with the result as it is
 * listed, whose state need not be a last word. */
char *answer_change(const struct push_target *target);

#endif
