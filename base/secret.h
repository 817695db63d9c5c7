/*
 * Secrets in memory: wiped before the memory goes back to the allocator.
 */
#ifndef SLIPWAY_BASE_SECRET_H
#define SLIPWAY_BASE_SECRET_H

#include <stdlib.h>
#include <string.h>

/* Wipe and free the string, NULL included; *text is NULL afterwards. */
static inline void secret_free(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

#define autosecret __attribute__((cleanup(secret_free)))

#endif
