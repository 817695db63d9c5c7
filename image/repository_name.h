/*
 * Names of repositories as registry clients write them: the grammar of the OCI distribution-spec,
 * "Pulling manifests", with a first component that may be a host with a port.
 */
#ifndef SLIPWAY_IMAGE_REPOSITORY_NAME_H
#define SLIPWAY_IMAGE_REPOSITORY_NAME_H

#include "base/error.h"

#define REPOSITORY_NAME_MAX 255 /* bytes */

/* `size` bytes of text. ERR_NAME_INVALID for a component that is empty, dotted or malformed, an
 * upper-case letter, a host alone, and more than REPOSITORY_NAME_MAX bytes. */
enum errc repository_name_check(const char *name, size_t size, struct error *err);

/* ERR_NAME_INVALID that quotes the name, shortened, and says why. */
enum errc repository_name_invalid(const char *name, size_t size, const char *why,
                                  struct error *err);

#endif
