#include "upstream/crew.h"
#include "upstream/push.h"

struct fanout {
    struct store *store;
    struct registries *registries;
    const struct push_request *requests;
    const struct progress *progress;
    struct cancel *cancel;
    struct push_result *results;
};

static void push_one(void *self, size_t index)
{
    const struct fanout *fanout = self;
    push_image(fanout->store, fanout->registries, &fanout->requests[index], fanout->progress,
               fanout->cancel, &fanout->results[index]);
}

void push_all(struct store *store, struct registries *registries,
              const struct push_request *requests, size_t count, unsigned concurrency,
              const struct progress *progress, struct cancel *cancel, struct push_result *results)
{
    struct fanout fanout = {
        .store = store,
        .registries = registries,
        .requests = requests,
        .progress = progress,
        .cancel = cancel,
        .results = results,
    };
    crew_run(count, concurrency, push_one, &fanout);
}
