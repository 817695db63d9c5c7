/*
 * A registry double for pushes under random trouble: it has a mood, which any thread may change at
 * any time. Tags are those of their repository, it wants Basic credentials of everybody, and there
 * are two logins: repositories with "r2" in their name have one of their own. What its client has
 * given up has no effect any more.
 */
#ifndef SLIPWAY_TESTS_MOODY_REGISTRY_H
#define SLIPWAY_TESTS_MOODY_REGISTRY_H

#include "image/digest.h"
#include "upstream/auth/credentials.h"

#include <stdbool.h>

enum mood {
    MOOD_WELL,
    MOOD_FLAKY,        /* a bit of everything, at times done all the same */
    MOOD_DOWN,         /* 503 */
    MOOD_LOCKED_FIRST, /* the first login is not known */
    MOOD_LOCKED,       /* none is */
    MOOD_REFUSES,      /* half of all with 403 */
    MOOD_DROPS,        /* most of the connections, some when it has done what they ask for */
    MOOD_SLOW,
    MOODS,
};

struct moody_registry;

/* It is MOOD_FLAKY. `quirky`: while it is not well, a repository is pushed to as the wrong login
 * now and then. */
struct moody_registry *moody_registry_start(unsigned seed, bool quirky);
void moody_registry_stop(struct moody_registry *registry);

/* "127.0.0.1:PORT" */
const char *moody_registry_host(const struct moody_registry *registry);
/* Both logins; borrowed. */
struct credentials_source moody_registry_logins(struct moody_registry *registry);

void moody_registry_set(struct moody_registry *registry, enum mood mood);

/* What the tag of the repository names; false: it is not there. */
bool moody_registry_tag(struct moody_registry *registry, const char *repository, const char *tag,
                        char digest[DIGEST_TEXT_MAX]);

/* A number below this; `random` is where the next one comes from. */
unsigned moody_pick(unsigned *random, unsigned below);

#endif
