#include "image/archive_guess.h"

#include <stdio.h>
#include <string.h>

#define ROOTS_ENOUGH 2 /* an archive of anything may have a folder "bin" */

static const char *const roots[] = {".dockerenv", "bin",   "boot", "dev",  "etc",  "home",
                                    "lib",        "lib64", "opt",  "proc", "root", "run",
                                    "sbin",       "srv",   "sys",  "tmp",  "usr",  "var"};

static bool is_table(const char *name)
{
    return strcmp(name, "manifest.json") == 0 || strcmp(name, "index.json") == 0 ||
           strcmp(name, "oci-layout") == 0;
}

void archive_guess_see(struct archive_guess *guess, const char *name)
{
    const char *slash = strrchr(name, '/');
    size_t first = strcspn(name, "/");
    guess->tables = guess->tables || is_table(name);
    if (slash && guess->folder[0] == '\0' && is_table(slash + 1))
        snprintf(guess->folder, sizeof guess->folder, "%.*s", (int)(slash - name), name);
    for (unsigned i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (strlen(roots[i]) == first && strncmp(name, roots[i], first) == 0)
            guess->roots |= 1u << i;
}

bool archive_guess_file_system(const struct archive_guess *guess)
{
    return !guess->tables && __builtin_popcount(guess->roots) >= ROOTS_ENOUGH;
}

enum errc archive_guess_fail(const struct archive_guess *guess, struct error *err)
{
    static const char neither[] = "it has neither manifest.json nor index.json";
    if (archive_guess_file_system(guess))
        return fail(
            err, ERR_NOT_AN_IMAGE, 0,
            "the archive is a file system, not an image: %s, but the folders of a root file "
            "system, as docker export writes it; use docker save (for a container: docker "
            "commit, then docker save)",
            neither);
    if (guess->folder[0])
        return fail(
            err, ERR_NOT_AN_IMAGE, 0,
            "the archive is no image: %s at its top, only in its folder \"%s\"; make the tar "
            "of what is in that folder (tar -C %s -cf image.tar .)",
            neither, guess->folder, guess->folder);
    return fail(err, ERR_NOT_AN_IMAGE, 0, "the archive is no image: %s", neither);
}
