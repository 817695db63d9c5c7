/*
 * What an archive that holds no image seems to be, from the names of its entries: for messages that
 * say what to do instead. Guesses only: nothing is taken or refused by them.
 */
#ifndef SLIPWAY_IMAGE_ARCHIVE_GUESS_H
#define SLIPWAY_IMAGE_ARCHIVE_GUESS_H

#include "base/error.h"

#include <stddef.h>

#define ARCHIVE_GUESS_FOLDER_MAX 128

/* Zeroed, nothing was seen. */
struct archive_guess {
    bool tables;    /* manifest.json, index.json or oci-layout at its top */
    unsigned roots; /* which of the usual folders of a root file system are there */
    char folder[ARCHIVE_GUESS_FOLDER_MAX]; /* the first in which one of these tables is; "" if none
                                            */
};

/* `name` as image/archive.h gives it; folders, too. */
void archive_guess_see(struct archive_guess *guess, const char *name);

/* The root file system of a container or machine, as `docker export` writes it? */
bool archive_guess_file_system(const struct archive_guess *guess);

/* ERR_NOT_AN_IMAGE with what it seems to be. */
enum errc archive_guess_fail(const struct archive_guess *guess, struct error *err);

#endif
