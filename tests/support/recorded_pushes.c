#include "tests/support/recorded_pushes.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

size_t recorded_pushes(struct store *store, struct push **out)
{
    struct error err = ERROR_INIT;
    struct push *pushes = xcalloc(RECORDED_PUSHES_MAX, sizeof *pushes);
    size_t count = 0;
    if (pushes_before(store, "", pushes, RECORDED_PUSHES_MAX, &count, &err) != ERR_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count / 2; i++) {
        struct push other = pushes[i];
        pushes[i] = pushes[count - 1 - i];
        pushes[count - 1 - i] = other;
    }
    *out = pushes;
    return count;
}

void recorded_pushes_free(struct push *pushes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        push_deinit(&pushes[i]);
    free(pushes);
}
