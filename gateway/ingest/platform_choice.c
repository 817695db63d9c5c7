#include "gateway/ingest/platform_choice.h"

#include "base/mem.h"

#include <string.h>

void platform_choice_append(struct buf *out, const char *text)
{
    buf_format(out, "%s%s", out->size ? ", " : "", text);
}

/* ---- what is below an index ---- */

struct platform_search {
    const struct platform *wanted; /* NULL: any */
    struct descriptor found;       /* the first that is whole, else the first */
    bool any, whole;
    size_t there, listed; /* images with a platform, whole or not */
    struct buf texts;     /* of those that are whole */
    struct buf all;
};

bool platform_choice_known(const struct platform *platform)
{
    return platform->os[0] && strcmp(platform->os, "unknown") != 0;
}

static bool see_platform(void *self, const struct descriptor *descriptor,
                         const struct inspected *info)
{
    struct platform_search *search = self;
    const struct platform platform = inspected_platform(descriptor, info);
    char text[PLATFORM_TEXT_MAX];
    bool image = info->kind == INSPECTED_IMAGE || info->kind == INSPECTED_NOTHING;
    bool wanted = search->wanted && platform_matches(search->wanted, &platform);
    if (!platform_choice_known(&platform) || (!image && !wanted))
        return false;
    platform_text(&platform, text);
    platform_choice_append(&search->all, text);
    search->listed++;
    search->there += info->whole;
    if (info->whole)
        platform_choice_append(&search->texts, text);
    if ((search->wanted == NULL || wanted) && (!search->any || (info->whole && !search->whole))) {
        search->found = *descriptor;
        search->any = true;
        search->whole = info->whole;
    }
    return false;
}

static void search_platforms(struct listing *listing, const struct descriptor *root,
                             const struct platform *wanted, struct platform_search *out)
{
    *out = (struct platform_search){.wanted = wanted,
                                    .texts = BUF_INIT(PLATFORM_LIST_BYTES),
                                    .all = BUF_INIT(PLATFORM_LIST_BYTES)};
    inspect_walk(&listing->inspector, root, see_platform, out);
}

static void platform_search_deinit(struct platform_search *search)
{
    buf_deinit(&search->texts);
    buf_deinit(&search->all);
}

static const char *texts_or(const struct buf *texts, const char *none)
{
    return texts->size ? buf_cstr(texts) : none;
}

enum errc platform_choice_fail(const struct platform *wanted, const struct buf *there,
                               struct error *err)
{
    char text[PLATFORM_TEXT_MAX];
    return fail(err, ERR_PLATFORM_UNKNOWN, 0, "no image for %s; there is: %.700s",
                platform_text(wanted, text), texts_or(there, "none with a platform"));
}

static enum errc choose_member(struct listing *listing, const struct platform *wanted,
                               struct descriptor *root, struct error *err)
{
    struct platform_search search;
    search_platforms(listing, root, wanted, &search);
    enum errc rc = search.any ? ERR_OK : platform_choice_fail(wanted, &search.all, err);
    if (search.any && !search.whole)
        rc = fail(err, ERR_BLOB_MISSING, 0,
                  "the image for that platform is listed, but not in the archive, which holds: "
                  "%.700s",
                  texts_or(&search.texts, "none of the platforms"));
    if (rc == ERR_OK)
        *root = search.found;
    platform_search_deinit(&search);
    return rc;
}

/* Of an index that is not whole: `docker save` writes the index of all platforms beside those that
 * it has. */
static enum errc choose_what_is_there(struct listing *listing, struct descriptor *root,
                                      struct error *err)
{
    struct platform_search search;
    search_platforms(listing, root, NULL, &search);
    if (search.there > 1)
        fail(err, ERR_AMBIGUOUS_IMAGE, 0,
             "the index lists %zu platforms, of which the archive holds %zu: choose one with "
             "platform=; there is: %.700s",
             search.listed, search.there, buf_cstr(&search.texts));
    else if (search.there == 1)
        *root = search.found;
    platform_search_deinit(&search);
    return err->code;
}

/* ---- from a candidate to what is pushed ---- */

static enum errc check_platform(struct listing *listing, const struct candidate *candidate,
                                const struct platform *wanted, struct error *err)
{
    char want[PLATFORM_TEXT_MAX];
    char have[PLATFORM_TEXT_MAX];
    const struct platform platform = listing_platform(listing, candidate);
    if (wanted == NULL || platform_matches(wanted, &platform))
        return ERR_OK;
    return fail(err, ERR_PLATFORM_UNKNOWN, 0, "no image for %s: what the archive holds is for %s",
                platform_text(wanted, want),
                platform.os[0] ? platform_text(&platform, have) : "no platform");
}

enum errc platform_choose(struct listing *listing, const struct candidate *candidate,
                          const struct platform *wanted, struct descriptor *root, struct error *err)
{
    if (candidate->docker)
        return check_platform(listing, candidate, wanted, err);
    const struct inspected info = inspect(&listing->inspector, root, 0);
    if (info.kind != INSPECTED_INDEX) {
        const struct candidate alone = {.root = *root};
        return check_platform(listing, &alone, wanted, err);
    }
    if (wanted)
        return choose_member(listing, wanted, root, err);
    return info.whole ? ERR_OK : choose_what_is_there(listing, root, err);
}
