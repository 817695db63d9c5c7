/*
 * A folder of a test's own, which goes with all that is in it.
 */
#ifndef SLIPWAY_TESTS_SUPPORT_TEST_FOLDER_H
#define SLIPWAY_TESTS_SUPPORT_TEST_FOLDER_H

#define TEST_FOLDER_MAX 32 /* bytes of its path */

/* Make one, empty; its path goes to `path`, which is returned. The program ends where that cannot
 * be done. */
char *test_folder_make(char path[TEST_FOLDER_MAX]);

/* 0, or -1 as a teardown of cmocka answers. */
int test_folder_remove(const char *path);

#endif
