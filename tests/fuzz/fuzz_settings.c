/* The configuration file: whatever it holds, it is refused with a message that names the file, or
 * it gives settings that print to a configuration with the same print. */
#include "base/mem.h"
#include "config/settings.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct settings *settings)
{
    autojson json_t *value = settings_print(settings);
    return json_compact(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* These open what they name, which may be a terminal or a pipe. */
    if (memmem(data, size, "_file", 5) != NULL || memmem(data, size, "\\u", 2) != NULL)
        return 0;
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    if (settings_parse((const char *)data, size, "fuzz.json", &settings, &err) != ERR_OK) {
        assert(err.code == ERR_SETTINGS && settings == NULL);
        assert(strncmp(err.text, "fuzz.json", 9) == 0);
        return 0;
    }
    autofree char *first = print(settings);
    settings_free(settings);
    assert(settings_parse(first, strlen(first), "printed", &settings, &err) == ERR_OK);
    autofree char *second = print(settings);
    assert(strcmp(first, second) == 0);
    settings_free(settings);
    return 0;
}
