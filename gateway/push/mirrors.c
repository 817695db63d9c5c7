#include "gateway/push/mirrors.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/pattern.h"

#include <stdio.h>
#include <string.h>

enum errc mirror_expand(const char *pattern, const char *name, const char *target,
                        struct reference *out, struct error *err)
{
    struct reference parsed;
    autobuf struct buf text = BUF_INIT(PATTERN_MAX * (PATTERN_NAME_MAX + 1));
    if (pattern_expand(pattern, name, target, &text, err) != ERR_OK)
        return err->code;
    if (reference_parse(buf_cstr(&text), &parsed, err) != ERR_OK)
        return error_wrap(err, "%s leads to no repository of %s", name, target);
    /* The port of a host in the name can come to stand where a tag does. */
    if (parsed.tag[0] || parsed.digest.algorithm != DIGEST_NONE)
        return fail(err, ERR_REFERENCE_INVALID, 0, "%s leads to no repository of %s: %.300s", name,
                    target, buf_cstr(&text));
    *out = parsed;
    return ERR_OK;
}

/* A target that is there already is not added again, but becomes required if this one is. */
static void add_target(struct mirror_route *route, const struct reference *repository,
                       const char *name, bool optional)
{
    for (size_t i = 0; i < route->count; i++) {
        if (!reference_same_name(&route->targets[i].repository, repository))
            continue;
        route->targets[i].optional = route->targets[i].optional && optional;
        return;
    }
    struct mirror_target *target = &route->targets[route->count++];
    *target = (struct mirror_target){.repository = *repository, .optional = optional};
    snprintf(target->name, sizeof target->name, "%s", name ? name : "");
}

static enum errc route_by(const struct mirror_setting *mirror, const char *repository,
                          struct mirror_route *out, struct error *err)
{
    out->acknowledge =
        mirror->acknowledge == SETTING_ACKNOWLEDGE_STORED ? ACKNOWLEDGE_STORED : ACKNOWLEDGE_PUSHED;
    out->confirm_ms = mirror->confirm_ms;
    for (size_t i = 0; i < mirror->target_count && i < TARGETS_MAX; i++) {
        struct reference target;
        if (mirror_expand(mirror->match, repository, mirror->targets[i].target, &target, err) !=
            ERR_OK)
            return err->code;
        add_target(out, &target, mirror->targets[i].label, !mirror->targets[i].required);
    }
    return ERR_OK;
}

static bool names_host(const char *repository)
{
    size_t size = strcspn(repository, "/");
    return repository[size] == '/' && net_names_host(repository, size);
}

static const struct mirror_setting *find(const struct settings *settings, const char *repository)
{
    for (size_t i = 0; i < settings->mirror_count; i++)
        if (pattern_matches(settings->mirrors[i].match, repository))
            return &settings->mirrors[i];
    return NULL;
}

/* podman and buildah call "localhost/team/app" what was built as "team/app". */
static const char *without_localhost(const char *repository)
{
    size_t size = strlen("localhost/");
    return strncmp(repository, "localhost/", size) == 0 ? repository + size : repository;
}

enum errc mirrors_route(const struct settings *settings, const char *repository,
                        struct mirror_route *out, struct error *err)
{
    out->acknowledge = ACKNOWLEDGE_PUSHED;
    out->confirm_ms = MIRROR_CONFIRM_MS;
    out->count = 0;
    const char *name = without_localhost(repository);
    const struct mirror_setting *mirror = find(settings, name);
    if (mirror == NULL)
        mirror = find(settings, name = repository);
    if (mirror)
        return route_by(mirror, name, out, err);
    if (settings->mirror_count > 0 || !names_host(repository))
        return ERR_OK;
    struct reference upstream;
    if (reference_parse(repository, &upstream, err) != ERR_OK)
        return err->code;
    add_target(out, &upstream, NULL, false);
    return ERR_OK;
}

static enum errc plan_target(const struct settings *settings, const struct mirror_target *target,
                             const struct reference *reference, bool stored, size_t most,
                             struct push *push, struct error *err)
{
    int64_t keep_ms = settings->queue.keep_trying_ms;
    size_t before = push->target_count;
    if (push_add_target_of(push, reference, target->optional, stored, most, err) != ERR_OK)
        return err->code;
    if (push->target_count == before)
        return ERR_OK;
    struct push_target *added = &push->targets[before];
    snprintf(added->name, sizeof added->name, "%s", target->name);
    added->policy = mirrors_tag_policy(settings, added->name, reference->tag);
    added->deadline_s = stored && keep_ms > 0 ? (uint64_t)(clock_wall_s() + keep_ms / 1000) : 0;
    return ERR_OK;
}

enum errc mirrors_plan(const struct settings *settings, const struct mirror_route *route,
                       const char *tag, size_t most, struct push *push, struct error *err)
{
    for (size_t i = 0; i < route->count; i++) {
        struct reference target = route->targets[i].repository;
        if (tag)
            snprintf(target.tag, sizeof target.tag, "%s", tag);
        else
            target.digest = push->manifest.digest;
        if (plan_target(settings, &route->targets[i], &target,
                        route->acknowledge == ACKNOWLEDGE_STORED, most, push, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

const struct mirror_target_setting *mirrors_target(const struct settings *settings,
                                                   const char *name,
                                                   const struct mirror_setting **mirror)
{
    for (size_t i = 0; i < settings->mirror_count; i++) {
        const struct mirror_setting *one = &settings->mirrors[i];
        for (size_t j = 0; j < one->target_count; j++) {
            if (strcmp(one->targets[j].label, name) != 0)
                continue;
            if (mirror)
                *mirror = one;
            return &one->targets[j];
        }
    }
    return NULL;
}

static bool is_immutable(const struct mirror_target_setting *target, const char *tag)
{
    for (size_t i = 0; i < target->immutable.count; i++)
        if (pattern_matches(target->immutable.items[i], tag))
            return true;
    return target->move == SETTING_MOVE_NEVER;
}

enum push_tag_policy mirrors_tag_policy(const struct settings *settings, const char *name,
                                        const char *tag)
{
    const struct mirror_target_setting *target =
        name[0] ? mirrors_target(settings, name, NULL) : NULL;
    if (target == NULL)
        return TAG_MOVES;
    if (is_immutable(target, tag))
        return TAG_STAYS;
    if (target->move == SETTING_MOVE_SAME_DIGEST)
        return TAG_PUT_SAME;
    return target->on_drift == SETTING_DRIFT_LEAVE ? TAG_DRIFT_STAYS : TAG_MOVES;
}

bool mirrors_leads_to(const struct mirror_target_setting *target, const char *host)
{
    struct error ignored = ERROR_INIT;
    struct reference there;
    autofree char *text = xasprintf("%.*s/x", (int)strcspn(target->target, "/"), target->target);
    return reference_parse(text, &there, &ignored) == ERR_OK && strcmp(there.host, host) == 0;
}

const char *mirrors_name(const struct reference *ref, char name[REFERENCE_NAME_MAX + 1])
{
    const char *path = ref->path;
    if (strcmp(ref->host, "docker.io") != 0)
        return reference_name(ref, name);
    if (strncmp(path, "library/", 8) == 0 && strchr(path + 8, '/') == NULL)
        path += 8;
    snprintf(name, REFERENCE_NAME_MAX + 1, "%s", path);
    return name;
}
