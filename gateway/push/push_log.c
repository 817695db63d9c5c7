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

/* The line of a target that does not have the image. */
static void log_failure(enum log_level level, const char *event, const char *message,
                        const char *push, const struct push_target *target)
{
    char text[REFERENCE_TEXT_MAX];
    const struct error *why = &target->error;
    log_event(level, event,
              LOG_FIELDS(log_text("target", reference_text(&target->reference, text)),
                         log_text("code", error_name(why->code)),
                         log_text("party", party_name(error_party(why->code))),
                         log_text("error", why->text), log_text("push", push)),
              "%s", message);
}

void push_log_ended(const char *push, const struct push_target *target)
{
    char text[REFERENCE_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX];
    if (target->state == PUSH_PUSHED)
        log_event(LOG_INFO, "target.pushed",
                  LOG_FIELDS(log_text("target", reference_text(&target->reference, text)),
                             log_text("digest", digest_text(&target->digest, digest)),
                             log_number("bytes", target->bytes_uploaded), log_text("push", push)),
                  "target pushed");
    else
        log_failure(LOG_WARN, "target.failed", "target failed", push, target);
}

void push_log_postponed(const char *push, const struct push_target *target)
{
    bool stopping = target->error.code == ERR_CANCELLED;
    log_failure(stopping ? LOG_INFO : LOG_WARN, "target.postponed",
                "target waits for the next start", push, target);
}

void push_log_superseded(const char *push, const struct push_target *target)
{
    char text[REFERENCE_TEXT_MAX];
    log_event(LOG_INFO, "target.superseded",
              LOG_FIELDS(log_text("target", reference_text(&target->reference, text)),
                         log_text("push", push)),
              "target is superseded: a younger push has its tag");
}

void push_log_resumed(size_t pushes)
{
    log_event(LOG_INFO, "pushes.resumed", LOG_FIELDS(log_number("count", pushes)),
              "%zu pending %s on", pushes, pushes == 1 ? "push goes" : "pushes go");
}
