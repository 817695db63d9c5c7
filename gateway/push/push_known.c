#include "gateway/push/push_known.h"

static void push_as_they_are(struct engine *engine, const struct push_request *requests,
                             size_t count, struct cancel *cancel, struct push_result *results)
{
    push_all(engine->store, engine->registries, requests, count, (unsigned)count, NULL, cancel,
             results);
}

static void ask(struct ahead *ahead, struct push_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        requests[i].known = ahead ? ahead_known(ahead, &requests[i].target) : NULL;
}

static void release(struct ahead *ahead, struct push_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (requests[i].known)
            ahead_release(ahead, requests[i].known);
        requests[i].known = NULL;
    }
}

void push_known(struct engine *engine, struct ahead *ahead, struct push_request *requests,
                size_t count, struct cancel *cancel, struct push_result *results)
{
    ask(ahead, requests, count);
    push_as_they_are(engine, requests, count, cancel, results);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].known == NULL || results[i].error.code != ERR_BLOB_NOT_THERE)
            continue;
        ahead_forget(ahead, &requests[i].target);
        struct push_request again = requests[i];
        again.known = NULL;
        push_as_they_are(engine, &again, 1, cancel, &results[i]);
    }
    release(ahead, requests, count);
}
