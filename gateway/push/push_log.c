#include "gateway/push/push_log.h"

#include "base/log.h"

void push_log_accepted(const char *push, const struct digest *manifest, size_t targets)
{
    char digest[DIGEST_TEXT_MAX];
    log_event(LOG_INFO, "push.accepted",
              LOG_FIELDS(log_text("push", push), log_text("digest", digest_text(manifest, digest)),
                         log_number("targets", targets)),
              "push accepted");
}

void push_log_pushed(const char *push, const char *target, const struct digest *digest,
                     uint64_t bytes_uploaded)
{
    char text[DIGEST_TEXT_MAX];
    log_event(LOG_INFO, "target.pushed",
              LOG_FIELDS(log_text("target", target), log_text("digest", digest_text(digest, text)),
                         log_number("bytes", bytes_uploaded), log_text("push", push)),
              "target pushed");
}

/* The fields of a target that does not have the image. */
#define FAILURE_FIELDS(PUSH, TARGET, WHY)                                                          \
    LOG_FIELDS(log_text("target", TARGET), log_text("code", error_name((WHY)->code)),              \
               log_text("party", party_name(error_party((WHY)->code))),                            \
               log_text("error", (WHY)->text), log_text("push", PUSH))

void push_log_failed(const char *push, const char *target, const struct error *why)
{
    log_event(LOG_WARN, "target.failed", FAILURE_FIELDS(push, target, why), "target failed");
}

void push_log_postponed(const char *push, const char *target, const struct error *why)
{
    bool stopping = why->code == ERR_CANCELLED;
    log_event(stopping ? LOG_INFO : LOG_WARN, "target.postponed", FAILURE_FIELDS(push, target, why),
              "target waits for the next start");
}

void push_log_superseded(const char *push, const char *target)
{
    log_event(LOG_INFO, "target.superseded",
              LOG_FIELDS(log_text("target", target), log_text("push", push)),
              "target is superseded: a younger push has its tag");
}

void push_log_resumed(size_t pushes)
{
    log_event(LOG_INFO, "pushes.resumed", LOG_FIELDS(log_number("count", pushes)),
              "%zu pending %s on", pushes, pushes == 1 ? "push goes" : "pushes go");
}
