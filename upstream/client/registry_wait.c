#include "upstream/client/registry_wait.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t *told_of(struct registry_waits *waits, const char *registry)
{
    for (size_t i = 0; i < REGISTRY_WAITS_TOLD; i++)
        if (strcmp(waits->told[i].registry, registry) == 0)
            return &waits->told[i].until_ms;
    size_t at = waits->next++ % REGISTRY_WAITS_TOLD;
    snprintf(waits->told[at].registry, sizeof waits->told[at].registry, "%s", registry);
    waits->told[at].until_ms = 0;
    return &waits->told[at].until_ms;
}

bool registry_waits_tell(struct registry_waits *waits, const struct registry_wait *wait,
                         char text[REGISTRY_WAIT_TEXT_MAX])
{
    int64_t left_ms = wait ? wait->until_ms - clock_ms() : 0;
    if (left_ms <= 0)
        return false;
    int64_t *told_ms = told_of(waits, wait->registry);
    if (wait->until_ms <= *told_ms + left_ms / 2)
        return false;
    *told_ms = wait->until_ms;
    int64_t seconds = (left_ms + 999) / 1000;
    time_t until = (time_t)(clock_wall_s() + seconds);
    struct tm utc;
    char at[16];
    strftime(at, sizeof at, "%H:%M:%S", gmtime_r(&until, &utc));
    snprintf(text, REGISTRY_WAIT_TEXT_MAX,
             "waiting %" PRId64 " s for registry %s, until %s UTC: %s", seconds, wait->registry, at,
             wait->reason);
    return true;
}
