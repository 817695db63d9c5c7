#include "gateway/access/login_delays.h"

#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <openssl/rand.h>

#define WAYS 4
#define SETS (LOGIN_ADDRESSES_MAX / WAYS)

struct entry {
    struct net_address site;
    unsigned failures; /* 0: there is none */
    int64_t last_ms;
    int64_t until_ms;
};

struct login_delays {
    uint64_t seed; /* so that nobody can choose addresses that share a set */
    pthread_mutex_t lock;
    struct entry entries[SETS][WAYS];
};

struct login_delays *login_delays_new(void)
{
    struct login_delays *delays = xcalloc(1, sizeof *delays);
    bool made = RAND_bytes((uint8_t *)&delays->seed, sizeof delays->seed) == 1;
    assert(made);
    pthread_mutex_init(&delays->lock, NULL);
    return delays;
}

void login_delays_free(struct login_delays *delays)
{
    if (delays == NULL)
        return;
    pthread_mutex_destroy(&delays->lock);
    free(delays);
}

static struct entry *set_of(struct login_delays *delays, const struct net_address *site)
{
    uint64_t sum = delays->seed;
    for (size_t i = 0; i < sizeof site->bytes; i++) {
        sum = (sum ^ site->bytes[i]) * UINT64_C(0xff51afd7ed558ccd);
        sum ^= sum >> 33;
    }
    return delays->entries[sum % SETS];
}

static struct entry *find(struct entry *set, const struct net_address *site, int64_t now_ms)
{
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].failures > 0 && now_ms - set[i].last_ms < LOGIN_FORGOTTEN_MS &&
            net_address_equal(&set[i].site, site))
            return &set[i];
    return NULL;
}

int64_t login_delays_left_ms(struct login_delays *delays, const struct net_address *peer,
                             int64_t now_ms)
{
    struct net_address site = net_address_site(peer);
    struct entry *set = set_of(delays, &site);
    autolock pthread_mutex_t *held = lock_take(&delays->lock);
    const struct entry *entry = find(set, &site, now_ms);
    return entry && entry->until_ms > now_ms ? entry->until_ms - now_ms : 0;
}

/* The one that is longest ago, as a new one. */
static struct entry *make(struct entry *set, const struct net_address *site)
{
    struct entry *oldest = set;
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].failures == 0 || (oldest->failures > 0 && set[i].last_ms < oldest->last_ms))
            oldest = &set[i];
    *oldest = (struct entry){.site = *site};
    return oldest;
}

void login_delays_failed(struct login_delays *delays, const struct net_address *peer,
                         int64_t now_ms)
{
    struct net_address site = net_address_site(peer);
    struct entry *set = set_of(delays, &site);
    autolock pthread_mutex_t *held = lock_take(&delays->lock);
    struct entry *entry = find(set, &site, now_ms);
    int64_t delay_ms = 0;
    if (entry == NULL)
        entry = make(set, &site);
    entry->failures++;
    for (unsigned i = LOGIN_FAILURES_FREE; i <= entry->failures && delay_ms < LOGIN_DELAY_MAX_MS;
         i++)
        delay_ms = delay_ms == 0 ? 1000 : 2 * delay_ms;
    if (delay_ms > LOGIN_DELAY_MAX_MS)
        delay_ms = LOGIN_DELAY_MAX_MS;
    entry->last_ms = now_ms;
    entry->until_ms = now_ms + delay_ms;
}
