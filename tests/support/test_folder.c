#include "tests/support/test_folder.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

char *test_folder_make(char path[TEST_FOLDER_MAX])
{
    snprintf(path, TEST_FOLDER_MAX, "/tmp/slipway-test-XXXXXX");
    if (mkdtemp(path) == NULL)
        abort();
    return path;
}

int test_folder_remove(const char *path)
{
    struct error err = ERROR_INIT;
    return file_remove_tree(AT_FDCWD, path, &err) == ERR_OK ? 0 : -1;
}
