#include "upstream/client/upload_ladder.h"

#include "base/log.h"

#define MIB ((uint64_t)1 << 20)

/* What proxies and services are set to, a little less where they may count in millions. */
static const uint64_t body_caps[] = {95 * MIB, 47 * MIB, 19 * MIB, 9 * MIB,
                                     4 * MIB,  1 * MIB,  MIB / 4};

void upload_ladder_init(struct upload_ladder *ladder, const char *host, struct store *store,
                        enum upload_way wish, uint64_t chunk_bytes)
{
    *ladder = (struct upload_ladder){
        .host = host,
        .store = store,
        .wish = wish,
        .chunk_bytes = chunk_bytes ? chunk_bytes : UPLOAD_CHUNK_DEFAULT,
    };
    pthread_mutex_init(&ladder->lock, NULL);
    struct error err = ERROR_INIT;
    bool found = false;
    if (store && learned_get(store, host, &found, &ladder->learned, &err) != ERR_OK)
        log_warn("registry %s: what was learned about it cannot be read: %s", host, err.text);
}

void upload_ladder_deinit(struct upload_ladder *ladder)
{
    pthread_mutex_destroy(&ladder->lock);
}

static struct learned known(struct upload_ladder *ladder)
{
    pthread_mutex_lock(&ladder->lock);
    struct learned learned = ladder->learned;
    pthread_mutex_unlock(&ladder->lock);
    return learned;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool upload_ladder_knows(struct upload_ladder *ladder, enum upload_way way)
{
    return known(ladder).way == way;
}

void upload_ladder_doubt(struct upload_ladder *ladder, enum upload_way way)
{
    pthread_mutex_lock(&ladder->lock);
    ladder->doubted |= 1u << way;
    pthread_mutex_unlock(&ladder->lock);
}

/* Where nothing is known. */
static enum upload_way first_way(struct upload_ladder *ladder)
{
    pthread_mutex_lock(&ladder->lock);
    bool doubted = ladder->doubted & 1u << UPLOAD_WAY_PUT;
    pthread_mutex_unlock(&ladder->lock);
    return doubted ? UPLOAD_WAY_PATCH : UPLOAD_WAY_PUT;
}

struct upload_rung upload_ladder_first(struct upload_ladder *ladder, uint64_t blob_bytes)
{
    struct learned learned = known(ladder);
    struct upload_rung rung = {
        .way = ladder->wish,
        .chunk_bytes = ladder->chunk_bytes,
    };
    if (learned.body_limit > 0)
        rung.chunk_bytes = smaller(rung.chunk_bytes, learned.body_limit);
    if (ladder->wish == UPLOAD_WAY_AUTO) {
        rung.way = learned.way == UPLOAD_WAY_AUTO ? first_way(ladder) : learned.way;
        rung.by_size = learned.body_limit > 0 && blob_bytes > learned.body_limit;
        if (rung.by_size) {
            rung.whole = rung.way;
            rung.way = UPLOAD_WAY_CHUNKED;
        }
    }
    rung.known = ladder->wish != UPLOAD_WAY_AUTO || rung.way == learned.way || rung.by_size;
    return rung;
}

static bool has_limit(const struct upload_rung *rung, uint64_t blob_bytes)
{
    return rung->body_limit > 0 && blob_bytes > rung->body_limit;
}

bool upload_ladder_refused(const struct upload_ladder *ladder, uint64_t blob_bytes,
                           struct upload_rung *rung)
{
    rung->refused |= 1u << rung->way;
    rung->known = false;
    rung->by_size = false;
    if (ladder->wish != UPLOAD_WAY_AUTO)
        return false;
    for (enum upload_way way = UPLOAD_WAY_PUT; way < UPLOAD_WAYS; way++) {
        bool whole = way != UPLOAD_WAY_CHUNKED;
        if (rung->refused & 1u << way || (whole && has_limit(rung, blob_bytes)))
            continue;
        rung->way = way;
        return true;
    }
    return false;
}

bool upload_ladder_too_large(const struct upload_ladder *ladder, uint64_t body_bytes,
                             uint64_t least, struct upload_rung *rung)
{
    bool chunks = rung->way == UPLOAD_WAY_CHUNKED;
    if (!chunks && (ladder->wish != UPLOAD_WAY_AUTO || rung->refused & 1u << UPLOAD_WAY_CHUNKED))
        return false;
    uint64_t limit = 0;
    if (ladder->chunk_bytes < body_bytes)
        limit = ladder->chunk_bytes;
    for (size_t i = 0; limit == 0 && i < sizeof body_caps / sizeof body_caps[0]; i++)
        if (body_caps[i] < body_bytes)
            limit = body_caps[i];
    if (limit == 0 || limit < least)
        return false;
    if (!chunks) {
        rung->by_size = true;
        rung->whole = rung->way;
    }
    rung->way = UPLOAD_WAY_CHUNKED;
    rung->chunk_bytes = limit;
    rung->body_limit = limit;
    rung->known = false;
    return true;
}

/* What is known now that `rung` worked. */
static struct learned conclude(const struct upload_ladder *ladder, const struct upload_rung *rung)
{
    struct learned now = ladder->learned;
    if (rung->body_limit > 0 && (now.body_limit == 0 || rung->body_limit < now.body_limit))
        now.body_limit = rung->body_limit;
    if (ladder->wish == UPLOAD_WAY_AUTO)
        now.way = rung->by_size ? rung->whole : rung->way;
    return now;
}

static bool same(const struct learned *a, const struct learned *b)
{
    return a->way == b->way && a->body_limit == b->body_limit;
}

/* Two uploads may learn at the same time: the one that writes last writes what both know. */
static void keep(struct upload_ladder *ladder)
{
    struct error err = ERROR_INIT;
    struct learned written;
    struct learned now = known(ladder);
    do {
        written = now;
        if (learned_put(ladder->store, ladder->host, &written, &err) != ERR_OK) {
            log_warn("registry %s: what was learned about it cannot be kept: %s", ladder->host,
                     err.text);
            return;
        }
        now = known(ladder);
    } while (!same(&written, &now));
}

void upload_ladder_worked(struct upload_ladder *ladder, const struct upload_rung *rung)
{
    pthread_mutex_lock(&ladder->lock);
    struct learned before = ladder->learned;
    struct learned now = conclude(ladder, rung);
    ladder->learned = now;
    pthread_mutex_unlock(&ladder->lock);
    if (same(&before, &now))
        return;
    log_info("registry %s takes blobs by %s", ladder->host, upload_way_name(now.way));
    if (now.body_limit != before.body_limit)
        log_info("registry %s takes no more than %llu bytes in a request", ladder->host,
                 (unsigned long long)now.body_limit);
    if (ladder->store)
        keep(ladder);
}

const char *upload_way_name(enum upload_way way)
{
    static const char *const names[UPLOAD_WAYS] = {
        [UPLOAD_WAY_AUTO] = "any way",    [UPLOAD_WAY_PUT] = "one PUT",
        [UPLOAD_WAY_PATCH] = "one PATCH", [UPLOAD_WAY_CHUNKED] = "PATCH in chunks",
        [UPLOAD_WAY_POST] = "one POST",
    };
    return names[way];
}
