#include "base/crew.h"
#include "upstream/push/known_blobs.h"
#include "upstream/push/push.h"

struct fanout {
    size_t count;
    struct store *store;
    struct registries *registries;
    const struct push_request *requests;
    const struct progress *progress;
    struct cancel *cancel;
    struct push_result *results;
};

static bool same_repository(const struct fanout *fanout, size_t a, size_t b)
{
    return reference_same_name(&fanout->requests[a].target, &fanout->requests[b].target);
}

static bool repository_seen_before(const struct fanout *fanout, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (same_repository(fanout, i, index))
            return true;
    return false;
}

/* The tags of one repository follow one another: they need the same blobs and mostly the same
 * manifest, and docker-registry 2.8 answers DIGEST_INVALID when it is given the same manifest twice
 * at once. */
static void push_repository(void *self, size_t first)
{
    const struct fanout *fanout = self;
    if (repository_seen_before(fanout, first))
        return;
    struct known_blobs *own = known_blobs_new();
    for (size_t i = first; i < fanout->count; i++) {
        struct push_request request = fanout->requests[i];
        if (request.known == NULL)
            request.known = own;
        if (same_repository(fanout, first, i))
            push_image(fanout->store, fanout->registries, &request, fanout->progress,
                       fanout->cancel, &fanout->results[i]);
    }
    known_blobs_free(own);
}

void push_all(struct store *store, struct registries *registries,
              const struct push_request *requests, size_t count, unsigned concurrency,
              const struct progress *progress, struct cancel *cancel, struct push_result *results)
{
    struct fanout fanout = {
        .count = count,
        .store = store,
        .registries = registries,
        .requests = requests,
        .progress = progress,
        .cancel = cancel,
        .results = results,
    };
    crew_run(count, concurrency, push_repository, &fanout);
}
