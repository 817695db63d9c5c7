/*
 * Bodies of forms and the header Authorization, as strangers send them: a form is the same when it
 * is written out and parsed again, errors quote nothing, a challenge of any text is one line.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "gateway/access/challenge.h"
#include "gateway/access/credentials_sent.h"
#include "gateway/http/query.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_form(const char *text)
{
    struct error err = ERROR_INIT;
    struct query form;
    struct query again;
    struct buf written = BUF_INIT((size_t)16 << 20);
    if (form_parse(text, &form, &err) != ERR_OK) {
        assert(err.code == ERR_BAD_REQUEST && strchr(err.text, '"') == NULL);
        return;
    }
    for (size_t i = 0; i < form.count; i++) {
        buf_query_escape(&written, form.items[i].name);
        buf_text(&written, "=");
        buf_query_escape(&written, form.items[i].value);
        buf_text(&written, "&");
    }
    assert(form_parse(buf_cstr(&written), &again, &err) == ERR_OK && again.count == form.count);
    for (size_t i = 0; i < form.count; i++)
        assert(strcmp(form.items[i].value, again.items[i].value) == 0);
    query_deinit(&again);
    query_deinit(&form);
    buf_deinit(&written);
}

static void check_challenge(const char *text)
{
    autofree char *origin = challenge_origin_of(text, text, text, false, text);
    autofree char *challenge = challenge_text(origin, text, text, CHALLENGE_INVALID_TOKEN);
    size_t quotes = 0;
    for (const char *c = challenge; *c; c++) {
        assert(*c >= ' ' && *c <= '~' && *c != '\\');
        quotes += *c == '"';
    }
    assert(quotes == 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct credentials_sent sent;
    autofree char *text = xstrndup((const char *)data, size);
    check_form(text);
    check_challenge(text);
    if (credentials_sent_parse(text, &sent, &err) == ERR_OK)
        credentials_sent_deinit(&sent);
    return 0;
}
