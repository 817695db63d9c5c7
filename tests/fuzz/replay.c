/* Runs a fuzz target over every file of the folders given: the corpus as a regression test. */
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        fprintf(stderr, "no corpus at %s\n", path);
        return -1;
    }
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        autofree char *name = xasprintf("%s/%s", path, entry->d_name);
        autofree char *data = NULL;
        size_t size = 0;
        struct error err = ERROR_INIT;
        if (file_read_all(name, (size_t)64 << 20, &data, &size, &err) != ERR_OK) {
            fprintf(stderr, "%s\n", err.text);
            closedir(folder);
            return -1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        count++;
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count < 0)
            return 1;
        total += count;
    }
    printf("%d inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
