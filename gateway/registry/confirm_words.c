#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "gateway/registry/confirm.h"
#include "gateway/registry/confirm_internal.h"
#include "store/pushes.h"

#include <stddef.h>
#include <string.h>

#define RESTORED_AT_ONCE 16

void confirm_look(struct confirms *confirms, const struct mirror_target *target,
                  struct tag_state *state)
{
    char text[REFERENCE_TEXT_MAX];
    const struct reference *at = &target->repository;
    const struct push_queue_view view = push_queue_view(confirms->queue, at);
    const struct last_word *host = last_words_find(confirms->words, at->host);
    state->word = last_words_find(confirms->words, reference_text(at, text));
    state->now_ms = clock_ms();
    state->open = view.open;
    state->away = view.away || (host && state->now_ms < host->silent_ms) ||
                  push_queue_is_paused(confirms->queue, target->name, at->host);
}

bool confirm_asks(struct confirms *confirms, const struct mirror_target *target,
                  struct tag_state *state)
{
    confirm_look(confirms, target, state);
    return last_word_asks(state);
}

void confirm_note_silence(struct confirms *confirms, const char *of, int64_t confirm_ms)
{
    last_words_make(confirms->words, of)->silent_ms =
        clock_ms() + (confirm_ms < SILENCE_MS ? confirm_ms : SILENCE_MS);
}

void confirm_note_end(struct confirms *confirms, const struct digest *manifest,
                      const struct push_target *target, int64_t at_ms)
{
    char text[REFERENCE_TEXT_MAX];
    bool failed = push_state_is_failure(target->state);
    if (target->reference.tag[0] == '\0' || (!failed && target->state != PUSH_PUSHED))
        return;
    struct last_word *word =
        last_words_make(confirms->words, reference_text(&target->reference, text));
    if (failed)
        last_word_failed(word, manifest, at_ms);
    else
        last_word_there(word, manifest, at_ms);
}

/* ---- from records, at the start ---- */

static void restore_push(struct confirms *confirms, const struct push *push)
{
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    for (size_t i = 0; i < push->target_count; i++) {
        char text[REFERENCE_TEXT_MAX];
        const struct push_target *target = &push->targets[i];
        int64_t age_s = clock_wall_s() - (int64_t)target->ended_s;
        /* Younger ones were read before, or have ended since. */
        if (last_words_find(confirms->words, reference_text(&target->reference, text)) == NULL)
            confirm_note_end(confirms, &push->manifest.digest, target,
                             clock_ms() - (age_s > 0 ? age_s : 0) * 1000);
    }
}

static bool goes_on(struct confirms *confirms)
{
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    return !confirms->closed;
}

void confirms_restore_work(struct work *work)
{
    struct confirms *confirms =
        (struct confirms *)((char *)work - offsetof(struct confirms, restore));
    struct push *some = xcalloc(RESTORED_AT_ONCE, sizeof *some);
    struct error err = ERROR_INIT;
    char before[PUSH_ID_MAX] = "";
    size_t count = RESTORED_AT_ONCE;
    for (size_t all = 0; all < CONFIRM_RESTORED && count == RESTORED_AT_ONCE; all += count) {
        if (!goes_on(confirms) || pushes_before(confirms->runtime->store, before, some,
                                                RESTORED_AT_ONCE, &count, &err) != ERR_OK)
            break;
        for (size_t i = 0; i < count; i++) {
            restore_push(confirms, &some[i]);
            memcpy(before, some[i].id, sizeof before);
            push_deinit(&some[i]);
        }
    }
    if (err.code != ERR_OK)
        log_warn("what became of pushes is not known, so their targets are asked: %s", err.text);
    free(some);
    confirms_one_ended(confirms);
}
