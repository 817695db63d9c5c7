#include "gateway/ingest/unpacked.h"

#include "base/lock.h"

#include <stddef.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct digest blob;
    struct unpacked unpacked;
} notes[UNPACKED_MAX]; /* the lock guards them */
static size_t noted;   /* in all; the oldest make room */

static size_t position(const struct digest *blob)
{
    size_t count = noted < UNPACKED_MAX ? noted : UNPACKED_MAX;
    size_t at = 0;
    while (at < count && !digest_equal(&notes[at].blob, blob))
        at++;
    return at < count ? at : UNPACKED_MAX;
}

bool unpacked_find(const struct digest *blob, uint64_t limit_bytes, struct unpacked *out)
{
    autolock pthread_mutex_t *held = lock_take(&lock);
    size_t at = position(blob);
    bool found = at < UNPACKED_MAX && (notes[at].unpacked.diff_id.algorithm != DIGEST_NONE ||
                                       notes[at].unpacked.raw_size >= limit_bytes);
    if (found)
        *out = notes[at].unpacked;
    return found;
}

void unpacked_note(const struct digest *blob, const struct unpacked *unpacked)
{
    autolock pthread_mutex_t *held = lock_take(&lock);
    size_t at = position(blob);
    if (at == UNPACKED_MAX)
        at = noted++ % UNPACKED_MAX;
    notes[at].blob = *blob;
    notes[at].unpacked = *unpacked;
}
