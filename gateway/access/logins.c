#include "gateway/access/logins.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/access/login_cache.h"
#include "gateway/access/login_delays.h"

#include <errno.h>

struct logins {
    struct htpasswd *users;
    struct login_cache *cache;
    struct login_delays *delays;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed;
    unsigned running;
    struct net_address waiting[LOGINS_WAITING_MAX]; /* sites */
    size_t waiting_count;
};

struct logins *logins_new(struct htpasswd *users)
{
    struct logins *logins = xcalloc(1, sizeof *logins);
    logins->users = users;
    logins->cache = login_cache_new();
    logins->delays = login_delays_new();
    pthread_mutex_init(&logins->lock, NULL);
    clock_cond_init(&logins->freed);
    return logins;
}

void logins_free(struct logins *logins)
{
    if (logins == NULL)
        return;
    login_cache_free(logins->cache);
    login_delays_free(logins->delays);
    pthread_cond_destroy(&logins->freed);
    pthread_mutex_destroy(&logins->lock);
    free(logins);
}

bool logins_known(struct logins *logins, const char *name, const char *password)
{
    int64_t now_ms = clock_ms();
    int64_t fresh_ms = 0;
    if (logins->users == NULL)
        return false;
    uint64_t generation = htpasswd_generation(logins->users, &fresh_ms);
    return now_ms - fresh_ms <= LOGINS_FRESH_MS &&
           login_cache_has(logins->cache, name, password, generation, now_ms);
}

/* ---- delays ---- */

unsigned logins_retry_after_s(struct logins *logins, const struct net_address *peer)
{
    int64_t left_ms = login_delays_left_ms(logins->delays, peer, clock_ms());
    return left_ms > 1000 ? (unsigned)((left_ms + 999) / 1000) : 1;
}

enum errc logins_admit(struct logins *logins, const struct net_address *peer, struct error *err)
{
    if (login_delays_left_ms(logins->delays, peer, clock_ms()) == 0)
        return ERR_OK;
    return fail(err, ERR_TOO_MANY, 0,
                "too many logins from this address have failed: the next one is looked at in %u "
                "seconds; check the password",
                logins_retry_after_s(logins, peer));
}

void logins_failed(struct logins *logins, const struct net_address *peer)
{
    login_delays_failed(logins->delays, peer, clock_ms());
}

/* ---- turns ---- */

static size_t waiting_of(const struct logins *logins, const struct net_address *site)
{
    size_t count = 0;
    for (size_t i = 0; i < logins->waiting_count; i++)
        count += net_address_equal(&logins->waiting[i], site);
    return count;
}

static void leave(struct logins *logins, const struct net_address *site)
{
    for (size_t i = 0; i < logins->waiting_count; i++)
        if (net_address_equal(&logins->waiting[i], site)) {
            logins->waiting[i] = logins->waiting[--logins->waiting_count];
            return;
        }
}

static bool turn_take(struct logins *logins, const struct net_address *peer)
{
    struct net_address site = net_address_site(peer);
    const struct timespec deadline = clock_deadline(LOGINS_WAIT_MS);
    int rc = 0;
    autolock pthread_mutex_t *held = lock_take(&logins->lock);
    if (logins->running >= LOGINS_AT_ONCE) {
        if (logins->waiting_count == LOGINS_WAITING_MAX ||
            waiting_of(logins, &site) >= LOGINS_WAITING_PER_ADDRESS)
            return false;
        logins->waiting[logins->waiting_count++] = site;
        while (logins->running >= LOGINS_AT_ONCE && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&logins->freed, &logins->lock, &deadline);
        leave(logins, &site);
    }
    if (logins->running >= LOGINS_AT_ONCE)
        return false;
    logins->running++;
    return true;
}

static void turn_give(struct logins *logins)
{
    autolock pthread_mutex_t *held = lock_take(&logins->lock);
    logins->running--;
    pthread_cond_signal(&logins->freed);
}

/* ---- the password ---- */

static enum errc verify(struct logins *logins, const char *name, const char *password,
                        const struct net_address *peer, struct error *err)
{
    uint64_t generation = 0;
    if (logins_known(logins, name, password))
        return ERR_OK;
    if (logins_admit(logins, peer, err) != ERR_OK)
        return err->code;
    if (htpasswd_verify(logins->users, name, password, &generation)) {
        login_cache_add(logins->cache, name, password, generation, clock_ms());
        return ERR_OK;
    }
    logins_failed(logins, peer);
    return fail(err, ERR_UNAUTHENTICATED, 0, "the user name or the password is wrong");
}

enum errc logins_verify(struct logins *logins, const char *name, const char *password,
                        const struct net_address *peer, struct error *err)
{
    if (logins->users) {
        htpasswd_refresh(logins->users);
        if (logins_known(logins, name, password))
            return ERR_OK;
    }
    if (logins_admit(logins, peer, err) != ERR_OK)
        return err->code;
    if (logins->users == NULL) {
        logins_failed(logins, peer);
        return fail(err, ERR_UNAUTHENTICATED, 0, "the user name or the password is wrong");
    }
    if (!turn_take(logins, peer))
        return fail(err, ERR_TOO_MANY, 0,
                    "too many passwords are being verified: try again in a second");
    verify(logins, name, password, peer, err);
    turn_give(logins);
    return err->code;
}
