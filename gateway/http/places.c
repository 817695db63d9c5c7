#include "gateway/http/places.h"

#include "base/mem.h"

void places_init(struct places *places, unsigned limit)
{
    *places = (struct places){.limit = limit > 0 ? limit : 1};
    TAILQ_INIT(&places->holders);
}

void places_deinit(struct places *places)
{
    struct place_holder *holder;
    while ((holder = TAILQ_FIRST(&places->holders)) != NULL) {
        TAILQ_REMOVE(&places->holders, holder, link);
        free(holder);
    }
}

static struct place_holder *find(const struct places *places, const struct net_address *address)
{
    struct place_holder *holder;
    TAILQ_FOREACH(holder, &places->holders, link)
    {
        if (net_address_equal(&holder->address, address))
            return holder;
    }
    return NULL;
}

static struct place_holder *find_or_add(struct places *places, const struct net_address *address)
{
    struct place_holder *holder = find(places, address);
    if (holder == NULL) {
        holder = xcalloc(1, sizeof *holder);
        holder->address = *address;
        TAILQ_INSERT_TAIL(&places->holders, holder, link);
    }
    return holder;
}

static void forget_refusal(struct places *places, struct place_holder *holder)
{
    places->refused -= holder->refused_ms != 0;
    holder->refused_ms = 0;
    if (holder->waiting == 0)
        holder->wants_ms = 0;
}

static void drop_if_idle(struct places *places, struct place_holder *holder)
{
    if (holder->held > 0 || holder->waiting > 0 || holder->refused_ms != 0)
        return;
    TAILQ_REMOVE(&places->holders, holder, link);
    free(holder);
}

void places_take(struct places *places, const struct net_address *address, int64_t now_ms)
{
    struct place_holder *holder = find_or_add(places, address);
    forget_refusal(places, holder);
    holder->held++;
    holder->wants_ms = holder->waiting > 0 ? now_ms : 0;
    places->held++;
}

void places_give_back(struct places *places, const struct net_address *address)
{
    struct place_holder *holder = find(places, address);
    holder->held--;
    places->held--;
    drop_if_idle(places, holder);
}

static void want(struct place_holder *holder, int64_t now_ms)
{
    if (holder->wants_ms == 0)
        holder->wants_ms = now_ms;
}

void places_wait(struct places *places, const struct net_address *address, int64_t now_ms)
{
    struct place_holder *holder = find_or_add(places, address);
    holder->waiting++;
    want(holder, now_ms);
}

void places_wait_no_more(struct places *places, const struct net_address *address)
{
    struct place_holder *holder = find(places, address);
    holder->waiting--;
    if (holder->waiting == 0 && holder->refused_ms == 0)
        holder->wants_ms = 0;
    drop_if_idle(places, holder);
}

void places_refuse(struct places *places, const struct net_address *address, int64_t now_ms)
{
    if (places->refused >= PLACES_REFUSED_MAX && find(places, address) == NULL)
        return;
    struct place_holder *holder = find_or_add(places, address);
    places->refused += holder->refused_ms == 0;
    holder->refused_ms = now_ms;
    want(holder, now_ms);
}

unsigned places_of(const struct places *places, const struct net_address *address)
{
    const struct place_holder *holder = find(places, address);
    return holder ? holder->held : 0;
}

bool places_turn_of(const struct places *places, const struct net_address *address)
{
    unsigned held = places_of(places, address);
    const struct place_holder *holder;
    TAILQ_FOREACH(holder, &places->holders, link)
    {
        if (holder->waiting > 0 && holder->held < held)
            return false;
    }
    return places->held < places->limit;
}

bool places_free_for(const struct places *places, const struct net_address *address)
{
    unsigned free_places = places->limit > places->held ? places->limit - places->held : 0;
    unsigned held = places_of(places, address);
    const struct place_holder *holder;
    TAILQ_FOREACH(holder, &places->holders, link)
    {
        if (free_places > 0 && holder->refused_ms != 0 && holder->held < held)
            free_places--;
    }
    return free_places > 0;
}

unsigned places_wanted(struct places *places, int64_t now_ms)
{
    unsigned wanted = 0;
    struct place_holder *next;
    for (struct place_holder *holder = TAILQ_FIRST(&places->holders); holder; holder = next) {
        next = TAILQ_NEXT(holder, link);
        if (holder->refused_ms != 0 && now_ms - holder->refused_ms >= PLACES_REFUSED_MS)
            forget_refusal(places, holder);
        wanted += holder->waiting + (holder->refused_ms != 0);
        drop_if_idle(places, holder);
    }
    return wanted;
}

struct place_holder *places_starved(struct places *places, const struct place_holder **from)
{
    struct place_holder *starved = NULL;
    struct place_holder *holder;
    *from = NULL;
    TAILQ_FOREACH(holder, &places->holders, link)
    {
        if (holder->held > (places->limit + 1) / 2)
            *from = holder;
    }
    TAILQ_FOREACH(holder, &places->holders, link)
    {
        if (*from && holder->wants_ms != 0 && holder->held + 1 < (*from)->held &&
            (starved == NULL || holder->wants_ms < starved->wants_ms))
            starved = holder;
    }
    return starved;
}
