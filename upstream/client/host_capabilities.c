#include "upstream/client/host_capabilities.h"

#include "base/lock.h"
#include "base/log.h"

void host_capabilities_init(struct host_capabilities *capabilities, const char *host,
                            struct store *store)
{
    *capabilities = (struct host_capabilities){.host = host, .store = store};
    pthread_mutex_init(&capabilities->lock, NULL);
    struct error err = ERROR_INIT;
    bool found = false;
    if (store && capabilities_get(store, host, &found, &capabilities->known, &err) != ERR_OK)
        log_warn("registry %s: what was learned about it cannot be read: %s", host, err.text);
}

void host_capabilities_deinit(struct host_capabilities *capabilities)
{
    pthread_mutex_destroy(&capabilities->lock);
}

struct capabilities host_capabilities_known(struct host_capabilities *capabilities)
{
    autolock pthread_mutex_t *held = lock_take(&capabilities->lock);
    return capabilities->known;
}

static bool same(const struct capabilities *a, const struct capabilities *b)
{
    return a->way == b->way && a->body_limit == b->body_limit && a->plain == b->plain;
}

/* Two may learn at the same time: the one that writes last writes what both know. */
static void keep(struct host_capabilities *capabilities)
{
    struct error err = ERROR_INIT;
    struct capabilities written;
    struct capabilities now = host_capabilities_known(capabilities);
    if (capabilities->store == NULL)
        return;
    do {
        written = now;
        if (capabilities_put(capabilities->store, capabilities->host, &written, &err) != ERR_OK) {
            log_warn("registry %s: what was learned about it cannot be kept: %s",
                     capabilities->host, err.text);
            return;
        }
        now = host_capabilities_known(capabilities);
    } while (!same(&written, &now));
}

void host_capabilities_took(struct host_capabilities *capabilities, enum upload_method way,
                            uint64_t body_limit)
{
    pthread_mutex_lock(&capabilities->lock);
    struct capabilities before = capabilities->known;
    struct capabilities *now = &capabilities->known;
    if (way != UPLOAD_METHOD_AUTO)
        now->way = way;
    if (body_limit > 0 && (now->body_limit == 0 || body_limit < now->body_limit))
        now->body_limit = body_limit;
    struct capabilities after = *now;
    pthread_mutex_unlock(&capabilities->lock);
    if (same(&before, &after))
        return;
    log_info("registry %s takes blobs by %s", capabilities->host, upload_method_name(after.way));
    if (after.body_limit != before.body_limit)
        log_info("registry %s takes no more than %llu bytes in a request", capabilities->host,
                 (unsigned long long)after.body_limit);
    keep(capabilities);
}

void host_capabilities_answered(struct host_capabilities *capabilities, bool plain)
{
    pthread_mutex_lock(&capabilities->lock);
    bool new = capabilities->known.plain != plain;
    capabilities->known.plain = plain;
    pthread_mutex_unlock(&capabilities->lock);
    if (new)
        keep(capabilities);
}

const char *upload_method_name(enum upload_method way)
{
    static const char *const names[UPLOAD_METHODS] = {
        [UPLOAD_METHOD_AUTO] = "any way",    [UPLOAD_METHOD_PUT] = "one PUT",
        [UPLOAD_METHOD_PATCH] = "one PATCH", [UPLOAD_METHOD_CHUNKED] = "PATCH in chunks",
        [UPLOAD_METHOD_POST] = "one POST",
    };
    return names[way];
}
