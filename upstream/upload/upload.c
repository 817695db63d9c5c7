#include "upstream/upload/upload.h"

#include "base/log.h"
#include "upstream/client/registry.h"
#include "upstream/upload/upload_by.h"

/* A session that gets lost means beginning anew; an hour's session of a large blob may. */
#define SESSIONS_MAX 3

/* One attempt at a blob, with what was tried so far. */
struct attempt {
    struct upload upload;
    struct upload_choice choice;
    struct upload_methods *methods;
    unsigned sessions;   /* lost */
    uint64_t resumed_at; /* where the last trouble was overcome */
    bool sent_again;     /* at once, without progress */
    struct error first;  /* the first refusal of a way */
    bool exhausted;      /* no way is left */
};

enum next {
    GIVE_UP,
    LATER, /* another attempt may take it up where this one ends */
    ARRIVED,
    AGAIN,
};

static bool was_lost(const struct error *err)
{
    return err->code == ERR_TIMEOUT || err->code == ERR_NO_ANSWER ||
           err->code == ERR_CONNECTION_LOST;
}

/* The answer may have got lost while the blob arrived: these ends do not say. */
static bool end_is_doubtful(const struct error *err)
{
    return err->hints & HINT_LOOK || was_lost(err);
}

/* What says nothing against the session or the bytes in it. */
static bool may_pass(const struct error *err)
{
    return err->code == ERR_NO_ANSWER || err->hints & HINT_KEEP ||
           error_party(err->code) == PARTY_NETWORK;
}

/* ERR_OK when the registry answered, whatever it has. */
static enum errc ask(struct attempt *attempt, bool *arrived, struct error *err)
{
    const struct upload_blob *blob = attempt->upload.blob;
    return registry_blob_exists(attempt->upload.client, blob->digest, arrived, err);
}

/* --- which refusals mean: not this way --- */

/* A way that has worked is never given up for what may be trouble with the bytes, or a mood. */
static bool is_untried(const struct attempt *attempt)
{
    const struct upload *upload = &attempt->upload;
    return upload->stage == UPLOAD_COMMITTING && upload->body_bytes > 0 && !attempt->choice.known &&
           !upload_methods_knows(attempt->methods, attempt->choice.way);
}

/* Some know no body where this way has one, and say that there is no such upload, or that its bytes
 * are others. */
static bool body_is_not_known(const struct attempt *attempt, const struct error *err)
{
    bool lost_again = err->hints & HINT_SESSION && attempt->sessions > 0;
    return (err->hints & HINT_UNTRIED || lost_again) && is_untried(attempt);
}

/* What we counted against its word was wrong after all. */
static bool count_is_refused(const struct attempt *attempt, const struct error *err)
{
    return attempt->upload.session->doubted && attempt->upload.stage == UPLOAD_COMMITTING &&
           err->hints & HINT_BYTES;
}

static bool way_is_refused(const struct attempt *attempt, const struct error *err)
{
    if (err->hints & HINT_OFFSET)
        return attempt->upload.session->offset == 0;
    return err->hints & HINT_METHOD || count_is_refused(attempt, err) ||
           body_is_not_known(attempt, err);
}

/* A refusal for size is met with chunks, or smaller ones, in the same session: nothing of the body
 * was taken. */
static enum next next_rung(struct attempt *attempt, struct error *err)
{
    struct upload *upload = &attempt->upload;
    struct upload_choice *choice = &attempt->choice;
    enum upload_method before = choice->way;
    bool miscounted = count_is_refused(attempt, err);
    if (miscounted)
        error_wrap(err, "after %llu bytes the registry answered with a Range of %llu",
                   (unsigned long long)upload->session->offset,
                   (unsigned long long)upload->session->said);
    if (attempt->first.code == ERR_OK || miscounted)
        attempt->first = *err;
    if (body_is_not_known(attempt, err))
        upload_methods_doubt(attempt->methods, choice->way);
    if (err->hints & HINT_SMALLER &&
        upload_methods_too_large(attempt->methods, upload->body_bytes, upload->session->chunk_least,
                                 choice)) {
        log_info("%s; trying chunks of %llu bytes", err->text,
                 (unsigned long long)choice->chunk_bytes);
        return AGAIN;
    }
    upload_session_cancel(upload->client->repository, upload->session);
    attempt->exhausted =
        !upload_methods_refused(attempt->methods, upload->blob->body->size, choice);
    if (attempt->exhausted)
        return GIVE_UP;
    log_info("%s; trying %s after %s", err->text, upload_method_name(choice->way),
             upload_method_name(before));
    return AGAIN;
}

/* --- how to go on in the same way --- */

static enum next begin_anew(struct attempt *attempt)
{
    attempt->resumed_at = 0;
    return ++attempt->sessions < SESSIONS_MAX ? AGAIN : GIVE_UP;
}

/* A connection that broke may be a matter of a moment; after anything else, and after a second one,
 * waiting helps more than haste, and that is the caller's. */
static enum next send_again(struct attempt *attempt, const struct error *err)
{
    if (err->code != ERR_CONNECTION_LOST || attempt->sent_again)
        return LATER;
    attempt->sent_again = true;
    return AGAIN;
}

/* Where the registry says it is, if there was any progress since the last trouble. */
static enum next resume(struct attempt *attempt, struct error *err)
{
    struct upload *upload = &attempt->upload;
    struct upload_session *session = upload->session;
    struct error ignored = ERROR_INIT;
    bool known = false;
    if (!upload_session_is_open(session))
        return send_again(attempt, err);
    if (upload_session_ask(upload->client, upload->blob->body->size, session, &known, &ignored) !=
        ERR_OK)
        return LATER;
    if (!known) {
        upload_session_cancel(upload->client->repository, session);
        return begin_anew(attempt);
    }
    if (session->offset <= attempt->resumed_at && err->hints & HINT_OFFSET)
        return next_rung(attempt, err);
    if (session->offset <= attempt->resumed_at)
        return send_again(attempt, err);
    attempt->resumed_at = session->offset;
    log_debug("%s; going on at %llu", err->text, (unsigned long long)session->offset);
    return AGAIN;
}

static enum next after_failure(struct attempt *attempt, struct error *err)
{
    bool arrived = false;
    struct error ignored = ERROR_INIT;
    if (attempt->upload.stage == UPLOAD_OPENING || err->code == ERR_CANCELLED)
        return GIVE_UP;
    if (end_is_doubtful(err) && ask(attempt, &arrived, &ignored) != ERR_OK)
        return LATER;
    if (arrived)
        return ARRIVED;
    if (way_is_refused(attempt, err))
        return next_rung(attempt, err);
    if (err->hints & HINT_SESSION) {
        upload_session_drop(attempt->upload.session);
        return begin_anew(attempt);
    }
    /* How often so long a wait is worth it is for the attempts to say. */
    if (err->code == ERR_NO_ANSWER)
        return LATER;
    if (was_lost(err) || err->hints & HINT_RESUME)
        return resume(attempt, err);
    return may_pass(err) ? LATER : GIVE_UP;
}

/* The first refusal says most. Trying it all again would not help. */
static enum errc no_way_left(const struct attempt *attempt, struct error *err)
{
    const struct upload_methods *methods = attempt->methods;
    *err = attempt->first;
    err->code = ERR_REGISTRY_UNSUPPORTED;
    if (methods->selector == UPLOAD_METHOD_AUTO)
        return error_wrap(err, "registry %s takes blobs in no known way", methods->learned->host);
    return error_wrap(err,
                      "registry %s does not take blobs by %s, which registries.\"%s\".upload "
                      "asks for",
                      methods->learned->host, upload_method_name(methods->selector),
                      methods->learned->host);
}

/* --- one attempt --- */

/* Until the blob arrived, or nothing more can be done now: then *next is GIVE_UP or LATER. */
static enum errc send(struct attempt *attempt, enum next *next, struct error *err)
{
    for (;;) {
        const struct upload_choice *choice = &attempt->choice;
        if (upload_by(&attempt->upload, choice->way, choice->chunk_bytes, err) == ERR_OK) {
            upload_methods_worked(attempt->methods, choice);
            return ERR_OK;
        }
        *next = after_failure(attempt, err);
        if (*next == ARRIVED)
            log_info("the blob arrived although its upload ended with: %s", err->text);
        if (*next == GIVE_UP || *next == LATER)
            break;
        error_clear(err);
        if (*next == ARRIVED)
            return ERR_OK;
    }
    return attempt->exhausted ? no_way_left(attempt, err) : err->code;
}

/* What an earlier attempt began: is it there by now, and if not, how much of it? */
static enum errc take_up(struct attempt *attempt, bool *arrived, struct error *err)
{
    const struct upload *upload = &attempt->upload;
    struct upload_session *session = upload->session;
    bool known = false;
    if (ask(attempt, arrived, err) != ERR_OK && !(err->hints & HINT_ABSENT))
        return err->code;
    error_clear(err);
    if (*arrived || !upload_session_is_open(session))
        return ERR_OK;
    if (upload_session_ask(upload->client, upload->blob->body->size, session, &known, err) !=
        ERR_OK)
        return err->code;
    if (!known) {
        upload_session_cancel(upload->client->repository, session);
        return ERR_OK;
    }
    attempt->resumed_at = session->offset;
    log_debug("another attempt goes on at %llu", (unsigned long long)session->offset);
    return ERR_OK;
}

static enum errc run(struct attempt *attempt, bool begun, enum next *next, struct error *err)
{
    bool arrived = false;
    *next = LATER;
    if (begun && take_up(attempt, &arrived, err) != ERR_OK)
        return err->code;
    if (!arrived)
        return send(attempt, next, err);
    upload_session_cancel(attempt->upload.client->repository, attempt->upload.session);
    return ERR_OK;
}

enum errc upload_blob(struct registry_client *client, struct unfinished_upload *unfinished,
                      const struct upload_blob *blob, struct error *err)
{
    struct unfinished_upload own = {.begun = false};
    struct unfinished_upload *at = unfinished ? unfinished : &own;
    struct upload_methods *methods = &client->repository->endpoint->host->uploads;
    struct attempt attempt = {
        .upload = {.client = client, .blob = blob, .session = &at->session, .memo = &at->memo},
        .choice = at->begun ? at->choice : upload_methods_first(methods, blob->body->size),
        .methods = methods,
    };
    enum next next = GIVE_UP;
    enum errc code = run(&attempt, at->begun, &next, err);
    if (code != ERR_OK && (next == LATER || code == ERR_CANCELLED) && unfinished) {
        at->begun = true;
        at->choice = attempt.choice;
        return code;
    }
    if (code == ERR_OK)
        upload_session_drop(&at->session);
    upload_give_up(client->repository, at);
    return code;
}

void upload_recall(struct repository *repository, struct unfinished_upload *unfinished,
                   uint64_t blob_bytes)
{
    struct upload_methods *methods = &repository->endpoint->host->uploads;
    if (!upload_memo_recall(&unfinished->memo, repository, &unfinished->session))
        return;
    unfinished->begun = true;
    unfinished->choice = upload_methods_first(methods, blob_bytes);
    log_info("%s/%s: going on with an upload of before, of which %llu of %llu bytes were "
             "acknowledged",
             repository->endpoint->host->name, repository->path,
             (unsigned long long)unfinished->session.offset, (unsigned long long)blob_bytes);
}

void upload_give_up(struct repository *repository, struct unfinished_upload *unfinished)
{
    upload_session_cancel(repository, &unfinished->session);
    upload_memo_forget(&unfinished->memo);
    *unfinished = (struct unfinished_upload){.memo = unfinished->memo};
}

void upload_leave(struct repository *repository, struct unfinished_upload *unfinished)
{
    if (unfinished->memo.memory == NULL) {
        upload_give_up(repository, unfinished);
        return;
    }
    upload_session_drop(&unfinished->session);
    upload_memo_leave(&unfinished->memo);
    *unfinished = (struct unfinished_upload){.memo = unfinished->memo};
}
