#include "store/local/check_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/local/blob_files.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* More than that are looked at again before anything new is. */
#define FINDINGS_MAX 2048

const char *check_kind_name(enum check_kind kind)
{
    switch (kind) {
#define X(value, name)                                                                             \
    case value:                                                                                    \
        return name;
        CHECK_KIND_TABLE(X)
#undef X
    default:
        return "well";
    }
}

const char *check_action_name(enum check_action action)
{
    switch (action) {
#define X(value, name)                                                                             \
    case value:                                                                                    \
        return name;
        CHECK_ACTION_TABLE(X)
#undef X
    default:
        return "";
    }
}

/* Blobs before files before records, so that what the first have mended is right for the last; of
 * records those that others need before those others. */
enum walk { WALK_BLOBS, WALK_FILES, WALK_UPLOADS, WALK_TABLE };

static const struct phase {
    enum walk walk;
    enum kv_table table;
} phases[] = {
    {WALK_BLOBS, KV_BLOBS},
    {WALK_FILES, KV_BLOBS},
    {WALK_UPLOADS, KV_SESSIONS},
    {WALK_TABLE, KV_META},
    {WALK_TABLE, KV_LAYERS},
    {WALK_TABLE, KV_REFERENCES},
    {WALK_TABLE, KV_KNOWN_LOCATIONS},
    {WALK_TABLE, KV_ASSOCIATED},
    {WALK_TABLE, KV_CAPABILITIES},
    {WALK_TABLE, KV_STARTS},
    {WALK_TABLE, KV_TOMBS},
    {WALK_TABLE, KV_MEMBERS},
    {WALK_TABLE, KV_HOLDERS},
    {WALK_TABLE, KV_MANIFESTS},
    {WALK_TABLE, KV_TAGS},
    {WALK_TABLE, KV_REFERRERS},
    {WALK_TABLE, KV_SESSIONS},
    {WALK_TABLE, KV_PUSHES},
    {WALK_TABLE, KV_PUSH_TARGETS},
    {WALK_TABLE, KV_OPEN_TARGETS},
    {WALK_TABLE, KV_TARGETS},
    {WALK_TABLE, KV_OPEN_UPLOADS},
    {WALK_TABLE, KV_PUSHED_TAGS},
    {WALK_TABLE, KV_PUSH_KEYS},
    {WALK_TABLE, KV_SIGNING_KEYS},
    {WALK_TABLE, KV_ROBOTS},
};
#define PHASES (sizeof phases / sizeof phases[0])

struct check *check_new(struct store *store, const struct check_options *options)
{
    struct check *check = xcalloc(1, sizeof *check);
    check->store = store;
    check->options = *options;
    if (check->options.again_ms == 0)
        check->options.again_ms = CHECK_AGAIN_MS;
    check->hashing.blob.fd = -1;
    return check;
}

void check_free(struct check *check)
{
    if (check == NULL)
        return;
    digester_free(check->hashing.digester);
    blob_close(&check->hashing.blob);
    check_judged_forget(check);
    free(check->findings);
    free(check);
}

struct check_counts check_counts(const struct check *check)
{
    return check->counts;
}

/* ---- findings ---- */

void check_finding_fill(struct finding *finding, enum check_kind kind, const char *format, ...)
{
    va_list args;
    finding->kind = kind;
    va_start(args, format);
    vsnprintf(finding->text, sizeof finding->text, format, args);
    va_end(args);
}

enum errc check_report(struct check *check, const struct finding *finding, enum check_action action,
                       struct error *err)
{
    struct check_problem problem = {.kind = finding->kind, .action = action};
    if (finding->place == CHECK_RECORD) {
        snprintf(problem.table, sizeof problem.table, "%s", kv_table_name(finding->table));
        record_name(finding->table, record_key_slice(&finding->key), problem.name);
    } else {
        snprintf(problem.name, sizeof problem.name, "%s/%s",
                 finding->place == CHECK_BLOB_FILE ? "blobs" : "uploads",
                 (const char *)finding->key.bytes);
    }
    snprintf(problem.text, sizeof problem.text, "%s", finding->text);
    check->counts.problems++;
    check->counts.repaired += action != CHECK_LEFT;
    check->options.found(check->options.self, &problem);
    return err->code;
}

static enum errc look(struct check *check, struct finding *finding, struct error *err)
{
    return finding->place == CHECK_RECORD ? check_look_record(check, finding, err)
                                          : check_look_file(check, finding, err);
}

static enum errc conclude(struct check *check, struct finding *finding, struct error *err)
{
    enum check_action action = CHECK_LEFT;
    if (!check->options.repair)
        return check_report(check, finding, action, err);
    /* What is repaired is what is seen now. */
    if (look(check, finding, err) != ERR_OK || finding->kind == CHECK_WELL ||
        check_repair(check, finding, &action, err) != ERR_OK)
        return err->code;
    /* A stray file is hashed first. */
    if (check->hashing.digester != NULL && check->hashing.stray)
        return ERR_OK;
    /* Somebody else may have been faster. */
    struct finding still = *finding;
    if (action == CHECK_LEFT && check->options.shared &&
        (look(check, &still, err) != ERR_OK || still.kind == CHECK_WELL))
        return err->code;
    return check_report(check, finding, action, err);
}

enum errc check_found(struct check *check, const struct finding *finding, struct error *err)
{
    struct finding now = *finding;
    if (!check->options.shared)
        return conclude(check, &now, err);
    check->findings = mem_grow(check->findings, check->finding_count, &check->finding_capacity,
                               sizeof *check->findings);
    struct finding *kept = &check->findings[check->finding_count++];
    *kept = *finding;
    kept->due_ms = clock_ms() + check->options.again_ms;
    return ERR_OK;
}

/* The one that is due next. */
static enum errc look_again(struct check *check, int64_t *wait_ms, struct error *err)
{
    struct finding finding = check->findings[check->finding_next];
    int64_t now_ms = clock_ms();
    if (finding.due_ms > now_ms) {
        *wait_ms = finding.due_ms - now_ms;
        return ERR_OK;
    }
    if (++check->finding_next == check->finding_count)
        check->finding_next = check->finding_count = 0;
    if (look(check, &finding, err) != ERR_OK || finding.kind == CHECK_WELL)
        return err->code;
    return conclude(check, &finding, err);
}

/* ---- steps ---- */

static enum errc walk_blobs(struct check *check, bool *more, struct error *err)
{
    *more = true;
    if (check->blob_next < check->blob_count)
        return check_hash_begin(check, &check->blobs[check->blob_next++], false, err);
    check->blob_next = check->blob_count = 0;
    if (check->blobs_read) {
        *more = false;
        return ERR_OK;
    }
    if (check_table(check, KV_BLOBS, more, err) != ERR_OK)
        return err->code;
    check->blobs_read = !*more;
    *more = true;
    return ERR_OK;
}

static enum errc walk(struct check *check, bool *more, struct error *err)
{
    const struct phase *phase = &phases[check->phase];
    switch (phase->walk) {
    case WALK_BLOBS:
        return walk_blobs(check, more, err);
    case WALK_FILES:
        return check_blob_folders(check, more, err);
    case WALK_UPLOADS:
        return check_uploads(check, more, err);
    default:
        return check_table(check, phase->table, more, err);
    }
}

static void begin_next_phase(struct check *check)
{
    check->phase++;
    check->from.size = 0;
    check->folder = 0;
}

/* What is to be looked at again in a phase is so before the next one builds on it. */
static enum errc step(struct check *check, size_t *hashed, int64_t *wait_ms, struct error *err)
{
    bool more = false;
    if (check->hashing.digester != NULL)
        return check_hash_some(check, hashed, err);
    if (check->finding_count >= FINDINGS_MAX)
        return look_again(check, wait_ms, err);
    if (!check->walked && walk(check, &more, err) != ERR_OK)
        return err->code;
    check->walked = check->walked || !more;
    if (!check->walked)
        return ERR_OK;
    if (check->finding_count > 0)
        return look_again(check, wait_ms, err);
    /* The last look of the phase may have begun to hash. */
    if (check->hashing.digester != NULL)
        return ERR_OK;
    check->walked = false;
    begin_next_phase(check);
    return ERR_OK;
}

enum errc check_step(struct check *check, bool *more, int64_t *wait_ms, struct error *err)
{
    int64_t began_ms = clock_ms();
    size_t hashed = 0;
    *wait_ms = 0;
    assert(check->phase < PHASES);
    if (step(check, &hashed, wait_ms, err) != ERR_OK)
        return err->code;
    if (hashed > 0 && check->options.bytes_per_s > 0) {
        int64_t wait = (int64_t)(hashed * 1000 / check->options.bytes_per_s);
        wait -= clock_ms() - began_ms;
        *wait_ms = wait > 0 ? wait : 0;
    }
    *more = check->phase < PHASES;
    return ERR_OK;
}
