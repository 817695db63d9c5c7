#include "upstream/push/upstream.h"

#include "base/mem.h"
#include "upstream/push/transfers.h"
#include "upstream/upload/upload_memory.h"

#include <limits.h>

#define MEMORY_MS 600000

enum errc upstream_new(const struct upstream_options *options, struct upstream **out,
                       struct error *err)
{
    struct upstream *upstream = xcalloc(1, sizeof *upstream);
    struct registries_options registries = options->registries;
    upstream->store = options->store;
    upstream->executor = options->executor;
    upstream->group = work_group_new(
        options->executor, options->transfers > 0 ? options->transfers : UPSTREAM_TRANSFERS_MAX);
    upstream->ends = work_queue_new(options->executor, NULL, UINT_MAX);
    registries.store = options->store;
    registries.executor = options->executor;
    registries.group = upstream->group;
    if (registries_new(&registries, &upstream->registries, err) != ERR_OK) {
        upstream_free(upstream);
        return err->code;
    }
    upstream->uploads = upload_memory_new(options->store, upstream->ends);
    upstream->transfers = transfers_new(upstream->ends, upstream->uploads);
    upstream->tag_asks = tag_asks_new(upstream->registries, upstream->ends, TAG_ASK_MS);
    upstream->memory = repository_memory_new(MEMORY_MS);
    *out = upstream;
    return ERR_OK;
}

void upstream_free(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    tag_asks_free(upstream->tag_asks);
    transfers_close(upstream->transfers);
    upload_memory_close(upstream->uploads);
    work_queue_free(upstream->ends);
    registries_free(upstream->registries);
    transfers_free(upstream->transfers);
    upload_memory_free(upstream->uploads);
    repository_memory_free(upstream->memory);
    work_group_free(upstream->group);
    free(upstream);
}
