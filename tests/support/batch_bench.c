#include "tests/support/batch_bench.h"

#include "store/blob.h"
#include "tests/unit/store/store_test.h"

#include <dirent.h>

void batch_bench_expect(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    autofree char *data = NULL;
    size_t size = 0;
    assert_ok(blob_read_all(store, &digest, 100000, "a blob", &data, &size, &err), &err);
    assert_int_equal(size, strlen(content));
    assert_string_equal(data, content);
    uint64_t told = 0;
    assert_ok(blob_stat(store, &digest, &told, &err), &err);
    assert_int_equal(told, size);
}

void batch_bench_expect_none(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    autoblob struct blob blob = BLOB_INIT;
    uint64_t size = 0;
    assert_code(blob_open(store, &digest, &blob, &err), ERR_BLOB_UNKNOWN, &err);
    error_clear(&err);
    assert_code(blob_stat(store, &digest, &size, &err), ERR_BLOB_UNKNOWN, &err);
}

size_t batch_bench_files(const char *folder, const char *name)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

const char *batch_bench_large(char letter)
{
    static char text[BATCH_BENCH_LARGE_BYTES + 1];
    memset(text, letter, BATCH_BENCH_LARGE_BYTES);
    return text;
}
