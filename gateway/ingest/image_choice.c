#include "gateway/ingest/image_choice.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/ingest/listing.h"
#include "gateway/ingest/platform_choice.h"

#include <string.h>

#define NAMES_BYTES 4096 /* of a list in a message */

/* What is made of one candidate. */
struct choice {
    const struct candidate *candidate;
    struct descriptor root; /* the candidate's, or of what is below it; unused for a docker image */
};

/* The candidates that a selector leaves. */
struct pool {
    struct listing *listing;
    const struct candidate **items; /* owned */
    size_t count;
};

/* ---- messages ---- */

static void append_candidate(struct buf *out, const struct candidate *candidate)
{
    char text[REFERENCE_TEXT_MAX];
    char platform[PLATFORM_TEXT_MAX];
    buf_text(out, out->size ? ", " : "");
    if (candidate->name_count > 0) {
        const struct reference *ref = &candidate->names[0].reference;
        buf_text(out, ref->path[0] ? reference_text(ref, text) : ref->tag);
    } else if (candidate->docker) {
        buf_format(out, "an unnamed image with config %.100s", candidate->docker->config);
    } else {
        buf_text(out, digest_text(&candidate->root.digest, text));
        if (candidate->root.platform.os[0])
            buf_format(out, " (%s)", platform_text(&candidate->root.platform, platform));
    }
}

/* All that are listed, or only those of the pool. */
static enum errc fail_listing(enum errc code, const char *what, const struct pool *pool,
                              struct error *err)
{
    autobuf struct buf names = BUF_INIT(NAMES_BYTES);
    for (size_t i = 0; pool->items && i < pool->count; i++)
        append_candidate(&names, pool->items[i]);
    for (size_t i = 0; pool->items == NULL && i < pool->listing->count; i++)
        append_candidate(&names, &pool->listing->candidates[i]);
    return fail(err, code, 0, "%s; the archive holds: %.700s", what, buf_cstr(&names));
}

/* ---- one image for several platforms ---- */

static bool same_names(const struct candidate *a, const struct candidate *b)
{
    if (a->name_count != b->name_count)
        return false;
    for (size_t i = 0; i < a->name_count; i++)
        if (!reference_same_target(&a->names[i].reference, &b->names[i].reference))
            return false;
    return true;
}

static bool same_platform(const struct platform *a, const struct platform *b)
{
    return platform_matches(a, b) && platform_matches(b, a);
}

/* Each for another platform, all of one name or none. */
static bool are_platforms(const struct pool *pool)
{
    autofree struct platform *seen = xcalloc(pool->count, sizeof *seen);
    for (size_t i = 0; i < pool->count; i++) {
        seen[i] = listing_platform(pool->listing, pool->items[i]);
        if (!platform_choice_known(&seen[i]) || !same_names(pool->items[i], pool->items[0]))
            return false;
        for (size_t j = 0; j < i; j++)
            if (same_platform(&seen[i], &seen[j]))
                return false;
    }
    return pool->count > 1;
}

/* index.json lists nothing but them, and what BuildKit attests of them. */
static bool is_the_index(const struct pool *pool)
{
    struct listing *listing = pool->listing;
    size_t members = 0;
    for (size_t i = 0; i < listing->count; i++) {
        const struct candidate *candidate = &listing->candidates[i];
        bool attests = strcmp(candidate->root.platform.os, "unknown") == 0;
        if (candidate->docker || (candidate->belongs && !attests))
            return false;
        members += !attests;
    }
    const struct inspected info = inspect(&listing->inspector, &listing->index, 0);
    return members == pool->count && info.kind == INSPECTED_INDEX && info.whole;
}

static enum errc choose_platform(const struct pool *pool, const struct platform *wanted,
                                 struct choice *out, struct error *err)
{
    autobuf struct buf all = BUF_INIT(PLATFORM_LIST_BYTES);
    bool any = false;
    char text[PLATFORM_TEXT_MAX];
    *out = (struct choice){.candidate = pool->items[0]};
    for (size_t i = 0; i < pool->count; i++) {
        const struct platform platform = listing_platform(pool->listing, pool->items[i]);
        platform_choice_append(&all, platform_text(&platform, text));
        if (wanted && platform_matches(wanted, &platform) && !any) {
            *out = (struct choice){.candidate = pool->items[i], .root = pool->items[i]->root};
            any = true;
        }
    }
    if (wanted && !any)
        platform_choice_fail(wanted, &all, err);
    else if (!wanted && is_the_index(pool))
        out->root = pool->listing->index;
    else if (!wanted)
        fail(err, ERR_AMBIGUOUS_IMAGE, 0,
             "choose one with platform=; the archive holds this image for: %.700s", buf_cstr(&all));
    return err->code;
}

/* ---- the selector ---- */

/* Cosign's own tag says what it is; under the name of its image a signature is never meant. */
static bool may_be_called(const struct candidate *candidate, const struct reference *name)
{
    struct digest subject;
    return !candidate->belongs || cosign_tag_parse(name->tag, &subject);
}

static bool name_matches(const struct candidate *candidate, const struct reference *wanted,
                         const char *text)
{
    for (size_t i = 0; i < candidate->name_count; i++) {
        const struct reference *have = &candidate->names[i].reference;
        bool tag_alone = have->path[0] == '\0' && strcmp(have->tag, text) == 0;
        bool whole = reference_same_name(have, wanted) &&
                     (wanted->tag[0] == '\0' || strcmp(have->tag, wanted->tag) == 0);
        if ((tag_alone || whole) && may_be_called(candidate, have))
            return true;
    }
    return false;
}

struct digest_search {
    const struct digest *digest;
    struct descriptor found;
};

/* The manifest's, or the config's, which is the image id that docker shows. */
static bool has_digest(void *self, const struct descriptor *descriptor,
                       const struct inspected *info)
{
    struct digest_search *search = self;
    if (!digest_equal(&descriptor->digest, search->digest) &&
        !digest_equal(&info->config, search->digest))
        return false;
    search->found = *descriptor;
    return true;
}

static bool digest_matches(struct listing *listing, const struct candidate *candidate,
                           const struct digest *digest, struct choice *out)
{
    struct digest_search search = {.digest = digest, .found = candidate->root};
    if (candidate->docker) {
        const struct digest config = listing_docker_config(listing, candidate->docker);
        if (!digest_equal(&config, digest))
            return false;
    } else if (!inspect_walk(&listing->inspector, &candidate->root, has_digest, &search)) {
        return false;
    }
    *out = (struct choice){.candidate = candidate, .root = search.found};
    return true;
}

static enum errc unknown(struct listing *listing, const char *image, struct error *err)
{
    const struct pool all = {.listing = listing};
    autofree char *what = xasprintf("no image \"%.200s\"", image);
    return fail_listing(ERR_IMAGE_UNKNOWN, what, &all, err);
}

static enum errc choose_by_digest(struct listing *listing, const char *image,
                                  const struct digest *digest, struct choice *out,
                                  struct error *err)
{
    for (size_t i = 0; i < listing->count; i++)
        if (digest_matches(listing, &listing->candidates[i], digest, out))
            return ERR_OK;
    return unknown(listing, image, err);
}

/* Those that fit, of the first kind that there are any of. A signature is no choice beside an
 * image, not even beside one that lacks a layer. */
static void fill_pool(struct pool *pool, const struct reference *wanted, const char *text)
{
    struct listing *listing = pool->listing;
    pool->items = xcalloc(listing->count, sizeof(struct candidate *));
    for (unsigned kind = 0; kind < 5 && pool->count == 0; kind++)
        for (size_t i = 0; i < listing->count; i++) {
            const struct candidate *candidate = &listing->candidates[i];
            const bool kinds[] = {candidate->there && !candidate->belongs,
                                  candidate->docker != NULL, !candidate->belongs, candidate->there,
                                  true};
            if (kinds[kind] && (text == NULL || name_matches(candidate, wanted, text)))
                pool->items[pool->count++] = candidate;
        }
}

static enum errc choose_from(const struct pool *pool, const struct image_selector *selector,
                             struct choice *out, struct error *err)
{
    if (pool->count == 0)
        return unknown(pool->listing, selector->image, err);
    if (are_platforms(pool))
        return choose_platform(pool, selector->platform, out, err);
    if (pool->count > 1)
        return fail_listing(ERR_AMBIGUOUS_IMAGE, "name one image with image=NAME or image=DIGEST",
                            pool, err);
    *out = (struct choice){.candidate = pool->items[0], .root = pool->items[0]->root};
    return ERR_OK;
}

/* *out has room for all candidates. */
static enum errc choose_in_pool(const struct pool *pool, const struct image_selector *selector,
                                struct choice *out, size_t *count, struct error *err)
{
    if (!selector->several || pool->count <= 1 || are_platforms(pool)) {
        *count = 1;
        return choose_from(pool, selector, out, err);
    }
    for (size_t i = 0; i < pool->count; i++)
        out[i] = (struct choice){.candidate = pool->items[i], .root = pool->items[i]->root};
    *count = pool->count;
    return ERR_OK;
}

static enum errc choose(struct listing *listing, const struct image_selector *selector,
                        struct choice *out, size_t *count, struct error *err)
{
    struct error ignored = ERROR_INIT;
    struct digest digest;
    struct reference wanted = {0};
    struct pool pool = {.listing = listing};
    *count = 1;
    if (selector->image && digest_parse(selector->image, &digest, &ignored) == ERR_OK)
        return choose_by_digest(listing, selector->image, &digest, out, err);
    if (selector->image && reference_parse(selector->image, &wanted, err) != ERR_OK)
        return error_wrap(err, "image");
    fill_pool(&pool, &wanted, selector->image);
    enum errc rc = choose_in_pool(&pool, selector, out, count, err);
    free(pool.items);
    return rc;
}

/* ---- all together ---- */

static void take_used(struct digest_map *used, const struct assembly *assembly)
{
    for (const struct digest_item *item = assembly->used.first; item; item = item->next)
        digest_map_add(used, &item->digest);
}

static void take_names(const struct candidate *candidate, struct chosen_image *out)
{
    out->name_count = candidate->name_count;
    out->names = xcalloc(candidate->name_count, sizeof *out->names);
    for (size_t i = 0; i < candidate->name_count; i++)
        out->names[i] = candidate->names[i];
    out->odd_name = candidate->odd_name ? xstrdup(candidate->odd_name) : NULL;
}

static enum errc assemble(struct listing *listing, const struct image_selector *selector,
                          const struct choice *choice, struct digest_map *used,
                          struct chosen_image *out, struct error *err)
{
    struct assembly assembly = {.catalog = listing->inspector.catalog,
                                .inspector = &listing->inspector,
                                .batch = listing->inspector.batch,
                                .codecs = selector->codecs,
                                .cancel = selector->cancel,
                                .schema2 = listing->has_docker,
                                .codec = selector->codec,
                                .effort = selector->effort};
    const struct docker_image *docker = choice->candidate->docker;
    enum errc rc =
        docker ? assemble_docker_image(&assembly, docker, &out->manifest, &out->config, err)
               : assemble_oci_image(&assembly, &choice->root, &out->manifest, &out->config, err);
    if (rc == ERR_OK && docker == NULL)
        rc = archive_referrers_assemble(&listing->attachments, &assembly, &out->referrers,
                                        &out->referrer_count, err);
    if (rc == ERR_OK) {
        take_names(choice->candidate, out);
        take_used(used, &assembly);
    }
    assembly_deinit(&assembly);
    return rc;
}

static enum errc assemble_all(struct listing *listing, const struct image_selector *selector,
                              struct choice *choices, size_t count, struct chosen_images *out,
                              struct error *err)
{
    struct digest_map used = {.first = NULL};
    out->items = xcalloc(count, sizeof *out->items);
    for (size_t i = 0; i < count && err->code == ERR_OK; i++) {
        out->count++;
        if (platform_choose(listing, choices[i].candidate, selector->platform, &choices[i].root,
                            err) == ERR_OK)
            assemble(listing, selector, &choices[i], &used, &out->items[i], err);
    }
    if (err->code == ERR_OK)
        assembly_drop_unused(listing->inspector.catalog, listing->inspector.batch, &used);
    digest_map_deinit(&used);
    return err->code;
}

static enum errc choose_and_assemble(struct listing *listing, const struct image_selector *selector,
                                     struct chosen_images *out, struct error *err)
{
    autofree struct choice *choices = xcalloc(listing->count + 1, sizeof *choices);
    size_t count = 0;
    if (choose(listing, selector, choices, &count, err) != ERR_OK)
        return err->code;
    return assemble_all(listing, selector, choices, count, out, err);
}

enum errc image_choose(const struct catalog *catalog, struct batch *batch,
                       const struct image_selector *selector, struct chosen_images *out,
                       struct error *err)
{
    struct listing listing;
    struct chosen_images chosen = {0};
    if (listing_read(catalog, batch, selector->cancel, &listing, err) == ERR_OK)
        choose_and_assemble(&listing, selector, &chosen, err);
    listing_deinit(&listing);
    if (err->code == ERR_OK)
        *out = chosen;
    else
        chosen_images_deinit(&chosen);
    return err->code;
}

void chosen_images_deinit(struct chosen_images *chosen)
{
    for (size_t i = 0; i < chosen->count; i++) {
        free(chosen->items[i].names);
        free(chosen->items[i].referrers);
        free(chosen->items[i].odd_name);
    }
    free(chosen->items);
    *chosen = (struct chosen_images){0};
}
