/*
 * Where what arrives has to go: from the name of a repository to its targets, by the `mirrors` of
 * the configuration.
 *
 * Patterns are those of base/pattern.h.
 *
 * The first mirror whose pattern matches the whole name counts; those after it are not looked at.
 * "localhost/team/app", as podman names what it built, is matched as "team/app", and as it is where
 * nothing matches that.
 * With no mirror configured at all, a name whose first component looks like a host (`localhost`, or
 * has a "." or ":") names its upstream. A name that leads nowhere is held here and goes nowhere.
 *
 * Names are as clients of the front write them: "team/app". Names from archives are brought to that
 * form first: docker.io and library/ are left out.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_MIRRORS_H
#define SLIPWAY_GATEWAY_PUSH_MIRRORS_H

#include "base/limits.h"
#include "config/settings_types.h"
#include "image/reference.h"
#include "store/push.h"

enum acknowledge { ACKNOWLEDGE_PUSHED, ACKNOWLEDGE_STORED };

struct mirror_target {
    char name[SETTING_TARGET_NAME_MAX + 1]; /* "": it has none */
    struct reference repository;            /* without tag and digest */
    bool optional;                          /* its failure does not fail the push */
};

struct mirror_route {
    enum acknowledge acknowledge;
    int64_t
        confirm_ms; /* for so long it is believed that a target has what it confirmed; 0: ever */
    struct mirror_target targets[TARGETS_MAX];
    size_t count; /* 0: it goes nowhere */
};

#define MIRROR_CONFIRM_MS 60000 /* of a target that a name without a mirror names */

/* ERR_REFERENCE_INVALID when what comes of a target's pattern for this name is no repository (too
 * long, say). */
enum errc mirrors_route(const struct settings *settings, const char *repository,
                        struct mirror_route *out, struct error *err);

/* Add the targets of a route to a push of at most `most`, each under the tag (NULL: under the
 * manifest's digest), with its name and, where it is pushed after the answer, its deadline. As
 * push_add_target_of(). */
enum errc mirrors_plan(const struct settings *settings, const struct mirror_route *route,
                       const char *tag, size_t most, struct push *push, struct error *err);

/* The target that the configuration calls so, with its mirror (may be NULL); NULL: there is none.
 * Borrowed from the settings. */
const struct mirror_target_setting *mirrors_target(const struct settings *settings,
                                                   const char *name,
                                                   const struct mirror_setting **mirror);

/* What becomes of this tag where it is there already, at the target of this name? `name` "" is a
 * target that a client named: TAG_MOVES. */
enum push_tag_policy mirrors_tag_policy(const struct settings *settings, const char *name,
                                        const char *tag);

/* Is it a target at this host, as references have it? */
bool mirrors_leads_to(const struct mirror_target_setting *target, const char *host);

/* The name that a client of the front would use for this reference. */
const char *mirrors_name(const struct reference *ref, char name[REFERENCE_NAME_MAX + 1]);

/* Of one pattern that matches `name`: what does `target` become? */
enum errc mirror_expand(const char *pattern, const char *name, const char *target,
                        struct reference *out, struct error *err);

#endif
