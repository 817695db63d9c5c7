#include "gateway/push/push_log.h"

#include "base/log.h"

void push_log_accepted(const struct push *push)
{
    char digest[DIGEST_TEXT_MAX];
    log_event(LOG_INFO, "push.accepted",
              LOG_FIELDS(log_text("push", push->id),
                         log_text("digest", digest_text(&push->manifest.digest, digest)),
                         log_number("targets", push->target_count)),
              "push accepted");
}

/* The line of a target; its error, where it does not have the image. */
static void log_target(enum log_level level, const char *event, const char *message,
                       const struct push *push, const struct push_target *target, uint64_t ms)
{
    char text[REFERENCE_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX];
    bool pushed = target->state == PUSH_PUSHED;
    const struct error *why = &target->error;
    const struct digest *what = pushed ? &target->digest : &push->manifest.digest;
    log_event(level, event,
              LOG_FIELDS(log_text("target", reference_text(&target->reference, text)),
                         log_text("digest", digest_text(what, digest)),
                         log_text("code", pushed ? NULL : error_name(why->code)),
                         log_text("party", pushed ? NULL : party_name(error_party(why->code))),
                         log_text("error", pushed ? NULL : why->text),
                         log_number("bytes", target->bytes_uploaded), log_number("ms", ms),
                         log_text("push", push->id)),
              "%s", message);
}

void push_log_ended(const struct push *push, const struct push_target *target, uint64_t ms)
{
    if (target->state == PUSH_PUSHED)
        log_target(LOG_INFO, "target.pushed", "target pushed", push, target, ms);
    else if (push_state_is_failure(target->state))
        log_target(LOG_WARN, "target.failed", "target failed", push, target, ms);
    else
        push_log_not_begun(push->id, target);
}

void push_log_waiting(const struct push *push, const struct push_target *target, uint64_t ms,
                      bool again)
{
    log_target(again ? LOG_DEBUG : LOG_WARN, "target.waiting", "target is tried again", push,
               target, ms);
}

void push_log_not_begun(const char *push, const struct push_target *target)
{
    char text[REFERENCE_TEXT_MAX];
    bool superseded = target->state == PUSH_SUPERSEDED;
    log_event(LOG_INFO, superseded ? "target.superseded" : "target.ended",
              LOG_FIELDS(log_text("target", reference_text(&target->reference, text)),
                         log_text("state", push_state_name(target->state)), log_text("push", push)),
              superseded ? "target is superseded: a younger push has its tag"
                         : "target has ended before it was tried");
}

void push_log_orphaned(size_t targets)
{
    log_event(LOG_WARN, "pushes.orphaned", LOG_FIELDS(log_number("count", targets)),
              "%zu pending %s in the configuration any more: drop or send them", targets,
              targets == 1 ? "target is not" : "targets are not");
}

void push_log_resumed(size_t targets)
{
    log_event(LOG_INFO, "pushes.resumed", LOG_FIELDS(log_number("count", targets)),
              "%zu pending %s on", targets, targets == 1 ? "target goes" : "targets go");
}
