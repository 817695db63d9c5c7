#include "config/certificates.h"

#include "base/file.h"
#include "base/mem.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* In a home of its own; the folders of the system are left alone. */
static char home[TEST_FOLDER_MAX];

static void make(const char *rest, bool folder)
{
    autofree char *path = xasprintf("%s/%s", home, rest);
    if (folder) {
        assert_int_equal(mkdir(path, 0700), 0);
        return;
    }
    autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

static int setup(void **state)
{
    (void)state;
    setenv("HOME", test_folder_make(home), 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return test_folder_remove(home);
}

static void expect(const char *host, const char *ca, const char *certificate)
{
    struct stored_certificates found = certificates_find(host);
    const char *const got[] = {found.ca, found.certificate, found.key};
    const char *const want[] = {ca, certificate, certificate};
    for (int i = 0; i < 3; i++) {
        if (want[i] == NULL) {
            assert_null(got[i]);
            continue;
        }
        assert_non_null(got[i]);
        autofree char *end = xasprintf("/certs.d/%s/%s%s", host, want[i],
                                       i == 0   ? ""
                                       : i == 1 ? ".cert"
                                                : ".key");
        assert_string_equal(got[i] + strlen(got[i]) - strlen(end), end);
    }
    certificates_clear(&found);
}

static void what_is_found(void **state)
{
    (void)state;
    expect("r.example.com:5000", NULL, NULL);
    make(".config", true);
    make(".config/docker", true);
    make(".config/docker/certs.d", true);
    make(".config/docker/certs.d/r.example.com:5000", true);
    expect("r.example.com:5000", NULL, NULL);
    make(".config/docker/certs.d/r.example.com:5000/b.crt", false);
    make(".config/docker/certs.d/r.example.com:5000/a.cert", false); /* without its key */
    make(".config/docker/certs.d/r.example.com:5000/c.key", false);
    expect("r.example.com:5000", "b.crt", NULL);
    make(".config/docker/certs.d/r.example.com:5000/c.cert", false);
    make(".config/docker/certs.d/r.example.com:5000/ca.crt", false);
    make(".config/docker/certs.d/r.example.com:5000/d.crt", false);
    expect("r.example.com:5000", "ca.crt", "c");
    expect("r.example.com", NULL, NULL);
    /* Podman's is looked at first, and what is there counts as a whole. */
    make(".config/containers", true);
    make(".config/containers/certs.d", true);
    make(".config/containers/certs.d/r.example.com:5000", true);
    make(".config/containers/certs.d/r.example.com:5000/.key", false);
    make(".config/containers/certs.d/r.example.com:5000/.cert", false);
    expect("r.example.com:5000", NULL, NULL);
    expect("../r.example.com:5000", NULL, NULL);
    expect("..", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_found)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
