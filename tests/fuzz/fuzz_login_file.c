/* A login file of docker or podman: the host and the path that are asked for are the first line of
 * the input. Whatever the file holds, it is refused with a message that names it, or says what it
 * has for the host; and says so in whatever case the host is written. */
#include "base/mem.h"
#include "config/login_file.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define FILE_NAME "fuzz.json"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_refused(const struct error *err)
{
    assert(err->code == ERR_CREDENTIALS);
    assert(strncmp(err->text, FILE_NAME, strlen(FILE_NAME)) == 0);
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void assert_text(const char *text)
{
    assert(text == NULL || *text != '\0');
}

static enum errc ask(const json_t *root, const char *host, const char *path,
                     struct stored_credentials *out)
{
    struct error err = ERROR_INIT;
    if (login_file_entry(root, FILE_NAME, host, path, out, &err) == ERR_OK) {
        assert_text(out->username);
        assert_text(out->password);
        assert_text(out->identity_token);
        assert_text(out->registry_token);
    } else {
        assert_refused(&err);
        assert(!out->username && !out->password && !out->identity_token && !out->registry_token);
    }
    return err.code;
}

static void ask_twice(const json_t *root, char *host, const char *path)
{
    struct stored_credentials first = {0};
    struct stored_credentials again = {0};
    enum errc code = ask(root, host, path, &first);
    for (char *at = host; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    assert(ask(root, host, path, &again) == code);
    assert(same(first.username, again.username) && same(first.password, again.password));
    credentials_clear(&first);
    credentials_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *file = memchr(data, '\n', size);
    if (file == NULL)
        return 0;
    file++;
    autofree char *host = xstrndup((const char *)data, (size_t)(file - data) - 1);
    char *path = host + strcspn(host, "/");
    if (*path == '/')
        *path++ = '\0';
    autojson json_t *root = NULL;
    struct error err = ERROR_INIT;
    const char *helper = NULL;
    if (login_file_parse((const char *)file, size - (size_t)(file - data), FILE_NAME, &root,
                         &err) != ERR_OK) {
        assert_refused(&err);
        return 0;
    }
    if (login_file_helper(root, FILE_NAME, host, path, &helper, &err) != ERR_OK)
        assert_refused(&err);
    else
        assert(helper != NULL && login_file_server(host) != NULL);
    ask_twice(root, host, path);
    return 0;
}
