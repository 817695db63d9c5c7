#include "gateway/access/credentials_sent.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/secret.h"

#include <string.h>
#include <strings.h>

static const char header_name[] = "Authorization";

struct headers {
    unsigned *count;
};

static bool count_header(const void *self, const char *value)
{
    const struct headers *headers = self;
    (void)value;
    ++*headers->count;
    return true;
}

/* What stands behind a scheme; NULL when it is another one. */
static const char *behind_scheme(const char *value, const char *scheme)
{
    size_t size = strlen(scheme);
    if (strncasecmp(value, scheme, size) != 0 || value[size] != ' ')
        return NULL;
    value += size;
    return value + strspn(value, " ");
}

static bool parse_basic(const char *encoded, struct credentials_sent *out)
{
    autosecret char *text = NULL;
    if (!base64_decode_text(encoded, &text))
        return false;
    char *colon = strchr(text, ':');
    if (colon == NULL)
        return false;
    *out = (struct credentials_sent){.kind = CREDENTIALS_BASIC,
                                     .name = xstrndup(text, (size_t)(colon - text)),
                                     .secret = xstrdup(colon + 1)};
    return true;
}

enum errc credentials_sent_parse(const char *value, struct credentials_sent *out, struct error *err)
{
    const char *basic = behind_scheme(value, "Basic");
    const char *bearer = behind_scheme(value, "Bearer");
    if (basic && parse_basic(basic, out))
        return ERR_OK;
    if (bearer && *bearer) {
        *out = (struct credentials_sent){.kind = CREDENTIALS_BEARER, .secret = xstrdup(bearer)};
        return ERR_OK;
    }
    return fail(err, ERR_UNAUTHENTICATED, 0,
                "the header Authorization has neither a name and a password (Basic) nor a token "
                "(Bearer)");
}

enum errc credentials_sent_read(const struct request *request, struct credentials_sent *out,
                                struct error *err)
{
    unsigned count = 0;
    const struct headers headers = {&count};
    const char *value = request_header(request, header_name);
    request_headers_fit(request, header_name, count_header, &headers);
    if (count > 1)
        return fail(err, ERR_BAD_REQUEST, 0, "the request has %u headers Authorization: send one",
                    count);
    if (value)
        return credentials_sent_parse(value, out, err);
    *out = (struct credentials_sent){.kind = CREDENTIALS_NONE};
    return ERR_OK;
}

void credentials_sent_deinit(struct credentials_sent *credentials)
{
    free(credentials->name);
    secret_free(&credentials->secret);
    *credentials = (struct credentials_sent){.kind = CREDENTIALS_NONE};
}
