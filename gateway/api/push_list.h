/*
 * Pushes as they are listed and controlled: GET /v1/pushes (`state`, `target`, `repository`,
 * `since`, `limit`, `after`), GET and DELETE of /v1/pushes/ID, POST /v1/pushes/ID/retry and
 * /v1/pushes/retry. The shapes are described in docs/openapi.yaml.
 *
 * Who may: gateway/service/control.h. Jobs of the classes JOB_LIST and JOB_BRIEF.
 */
#ifndef SLIPWAY_GATEWAY_API_PUSH_LIST_H
#define SLIPWAY_GATEWAY_API_PUSH_LIST_H

#include "gateway/http/query.h"
#include "gateway/service/handler.h"
#include "store/push.h"

/* Route handlers. */
struct job *pushes_list(struct gateway *gateway, const struct request *request,
                        struct reply *reply);
struct job *push_get(struct gateway *gateway, const struct request *request, struct reply *reply);
struct job *push_delete(struct gateway *gateway, const struct request *request,
                        struct reply *reply);
struct job *push_retry(struct gateway *gateway, const struct request *request, struct reply *reply);
struct job *pushes_retry(struct gateway *gateway, const struct request *request,
                         struct reply *reply);

#define PUSH_LIST_LIMIT 100      /* pushes in one answer, where nothing else is asked for */
#define PUSH_LIST_LIMIT_MAX 1000 /* at most */
#define PUSH_LIST_LOOKED_AT                                                                        \
    5000 /* pushes that one answer may cost; what is left is behind `next` */

/* What a list is about. The texts are borrowed from the query. */
struct push_filter {
    const char *state;      /* of the push or of one of its targets; NULL: any */
    const char *target;     /* push_target_is(); NULL: any */
    const char *repository; /* of the front, or of one of the targets; NULL: any */
    uint64_t since_s;       /* accepted then or later */
    size_t limit;
    const char *after; /* an id: those that are older; "": from the youngest on */
};

/* ERR_BAD_REQUEST for a parameter that there is not, that is there twice, or that is wrong. */
enum errc push_filter_parse(const struct query *query, struct push_filter *out, struct error *err);
bool push_filter_fits(const struct push_filter *filter, const struct push *push);

#endif
