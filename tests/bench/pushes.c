/*
 * Fill a store with pushes that were accepted, as many as years would bring:
 *
 *     bench_pushes DATA OVER WAITING HOST
 *
 * OVER pushes of the past, which have ended, then WAITING ones to HOST, each to a repository of its
 * own. All are of one image without layers.
 */
#include "store/pushes.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/batch.h"
#include "store/store_local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG "{\"architecture\":\"amd64\",\"os\":\"linux\"}"
#define YEAR_S (365 * 24 * 3600)

static void or_exit(enum errc rc, const struct error *err)
{
    if (rc == ERR_OK)
        return;
    fprintf(stderr, "bench_pushes: %s\n", err->text);
    exit(1);
}

static struct descriptor bring_image(struct store *store)
{
    struct error err = ERROR_INIT;
    struct descriptor manifest = {.media_type = MEDIA_OCI_MANIFEST};
    struct digest config;
    char hex[DIGEST_TEXT_MAX];
    char text[512];
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    or_exit(batch_put_blob(batch, CONFIG, strlen(CONFIG), &config, &err), &err);
    manifest.size = (uint64_t)snprintf(
        text, sizeof text,
        "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"config\":{\"mediaType\":"
        "\"" MEDIA_OCI_CONFIG "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[]}",
        digest_text(&config, hex), strlen(CONFIG));
    or_exit(batch_put_blob(batch, text, manifest.size, &manifest.digest, &err), &err);
    or_exit(batch_commit(batch, &err), &err);
    return manifest;
}

static void put(struct store *store, const struct descriptor *manifest, const char *host,
                size_t number, uint64_t age_s, bool waits)
{
    struct error err = ERROR_INIT;
    struct reference reference;
    struct push push = {.manifest = *manifest};
    char text[REFERENCE_TEXT_MAX];
    snprintf(text, sizeof text, "%s/years/app-%zu:1.%zu", host, number, number % 7);
    or_exit(reference_parse(text, &reference, &err), &err);
    or_exit(push_add_target(&push, &reference, false, true, &err), &err);
    pushes_accept(store, &push);
    push.created_s = (uint64_t)clock_wall_s() - age_s;
    struct push_target *target = &push.targets[0];
    if (!waits) {
        target->state = PUSH_PUSHED;
        target->first_s = target->ended_s = push.created_s;
        target->digest = manifest->digest;
        target->size = manifest->size;
        strcpy(target->media_type, manifest->media_type);
    }
    or_exit(pushes_put(store, &push, false, &err), &err);
    push_deinit(&push);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: bench_pushes DATA OVER WAITING HOST\n");
        return 2;
    }
    size_t over = strtoul(argv[2], NULL, 10);
    size_t waiting = strtoul(argv[3], NULL, 10);
    const struct store_options options = {.map_size_bytes = 0};
    or_exit(store_open_local(argv[1], &options, &store, &err), &err);
    const struct descriptor manifest = bring_image(store);
    for (size_t i = 0; i < over; i++)
        put(store, &manifest, "r.example.com", i, (over - i) * YEAR_S / (over + 1), false);
    for (size_t i = 0; i < waiting; i++)
        put(store, &manifest, argv[4], i, 0, true);
    store_close(store);
    return 0;
}
