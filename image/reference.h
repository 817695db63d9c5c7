/*
 * Image references, by Docker's grammar and normalisation (the reference grammar of the
 * distribution project):
 *
 *     reference  = name [ ":" tag ] [ "@" digest ]
 *     name       = [ host [ ":" port ] "/" ] path-component *( "/" path-component )
 *
 * The first component is a host when it has a "." or ":", is "localhost", is a bracketed IPv6
 * address, or has an upper-case letter; else the host is docker.io and a single component gets
 * "library/" in front. "index.docker.io" is docker.io. Hosts are lower-cased (DNS does not
 * distinguish), but not one that is a host only by its upper case: "Host/app" in lower case would
 * be read again as a repository of docker.io. Paths with upper case are refused. No tag is added:
 * what has none, has none. Bare 64 hex digits are refused (they are an image id), and so is what
 * could never be reached: a port outside 1 to 65535, brackets around what is no IPv6 address.
 *
 * The text of a parsed reference parses to the same value.
 *
 * A value without pointers.
 */
#ifndef SLIPWAY_IMAGE_REFERENCE_H
#define SLIPWAY_IMAGE_REFERENCE_H

#include "image/digest.h"

#define REFERENCE_NAME_MAX 255 /* host, "/" and path together */
#define REFERENCE_TAG_MAX 128
#define REFERENCE_TEXT_MAX (REFERENCE_NAME_MAX + 1 + REFERENCE_TAG_MAX + 1 + DIGEST_TEXT_MAX)

struct reference {
    char host[REFERENCE_NAME_MAX + 1]; /* with port, e.g. "docker.io", "[::1]:5000" */
    char path[REFERENCE_NAME_MAX + 1]; /* repository at that registry, e.g. "library/ubuntu" */
    char tag[REFERENCE_TAG_MAX + 1];   /* "" when none */
    struct digest digest;              /* DIGEST_NONE when none */
};

/* ERR_REFERENCE_INVALID says which part is wrong and how, quoting at most 300 bytes of the text. */
enum errc reference_parse(const char *text, struct reference *out, struct error *err);

/* host/path, e.g. "docker.io/library/ubuntu"; returns `text`. */
const char *reference_name(const struct reference *ref, char text[REFERENCE_NAME_MAX + 1]);

/* The whole normalised reference: name[:tag][@digest]. */
const char *reference_text(const struct reference *ref, char text[REFERENCE_TEXT_MAX]);

/* Replace the tag after checking it: ERR_REFERENCE_INVALID. */
enum errc reference_set_tag(struct reference *ref, const char *tag, struct error *err);

/* One component of a path, or a host with or without a port, by the grammar above; `text` of `size`
 * bytes. */
bool reference_component_valid(const char *text, size_t size);
bool reference_host_valid(const char *text, size_t size);

/* Same host and path. */
bool reference_same_name(const struct reference *a, const struct reference *b);
/* And the same tag and digest, or none. */
bool reference_same_target(const struct reference *a, const struct reference *b);

#endif
