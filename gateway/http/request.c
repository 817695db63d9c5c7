#include "gateway/http/request.h"

#include "base/mem.h"
#include "base/net.h"

#include <ctype.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

const char *request_header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static bool is_id(const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~' || strchr("\"'`\\", text[i]))
            return false;
    return size > 0 && size < REQUEST_ID_MAX;
}

void request_id_choose(const struct request *request, char out[REQUEST_ID_MAX])
{
    const char *sent = request_header(request, REQUEST_ID_HEADER);
    uint64_t random;
    arc4random_buf(&random, sizeof random);
    if (sent && is_id(sent))
        snprintf(out, REQUEST_ID_MAX, "%s", sent);
    else
        snprintf(out, REQUEST_ID_MAX, "%016" PRIx64, random);
}

enum errc request_length(const struct request *request, bool *known, uint64_t *length,
                         struct error *err)
{
    const char *text = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (text == NULL) {
        *known = false;
        return ERR_OK;
    }
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || errno != 0)
        return fail(err, ERR_BAD_REQUEST, 0, "Content-Length \"%.40s\" is no length", text);
    *known = true;
    *length = value;
    return ERR_OK;
}

enum errc request_length_within(const struct request *request, const char *what,
                                uint64_t limit_bytes, bool *known, uint64_t *length,
                                struct error *err)
{
    if (request_length(request, known, length, err) != ERR_OK)
        return err->code;
    if (*known && *length > limit_bytes)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "the %s has %llu bytes, the limit is %llu (limits.archive)", what,
                    (unsigned long long)*length, (unsigned long long)limit_bytes);
    return ERR_OK;
}

struct every {
    const char *name;
    bool (*fits)(const void *self, const char *value);
    const void *self;
    bool all;
};

static enum MHD_Result on_every(void *self, enum MHD_ValueKind kind, const char *key,
                                const char *value)
{
    (void)kind;
    struct every *every = self;
    if (strcasecmp(key, every->name) == 0)
        every->all = every->all && every->fits(every->self, value ? value : "");
    return MHD_YES;
}

bool request_headers_fit(const struct request *request, const char *name,
                         bool (*fits)(const void *self, const char *value), const void *self)
{
    struct every every = {.name = name, .fits = fits, .self = self, .all = true};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_every, &every);
    return every.all;
}

struct framing {
    unsigned lengths;
    unsigned codings;
    unsigned hosts;
    bool strange;   /* a coding that the server would take for none */
    bool unnamed;   /* a name that is no token */
    bool lookalike; /* a name that begins as one of the two that say where the body ends */
};

/* RFC 9110, 5.6.2 */
static bool is_token(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("!#$%&'*+-.^_`|~", *at))
            return false;
    return *text != '\0';
}

/* The name begins with the other and goes on. */
static bool extends(const char *key, const char *name)
{
    size_t size = strlen(name);
    return strncasecmp(key, name, size) == 0 && key[size] != '\0';
}

static enum MHD_Result on_framing(void *self, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    (void)kind;
    struct framing *framing = self;
    bool coding = strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    framing->lengths += strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    framing->codings += coding;
    framing->hosts += strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0;
    framing->strange |= coding && (value == NULL || strcasecmp(value, "chunked") != 0);
    framing->unnamed |= !is_token(key);
    framing->lookalike |= extends(key, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
                          extends(key, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return MHD_YES;
}

enum errc request_framing(const struct request *request, struct error *err)
{
    struct framing framing = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_framing, &framing);
    if (framing.unnamed || framing.lookalike)
        return fail(err, ERR_BAD_REQUEST, 0,
                    framing.unnamed ? "the name of a header has a character that no name may have"
                                    : "the name of a header begins with Content-Length or "
                                      "Transfer-Encoding and is neither");
    if (framing.hosts > 1)
        return fail(err, ERR_BAD_REQUEST, 0, "the request has more than one Host");
    if (framing.strange)
        return fail(err, ERR_BAD_REQUEST, 0, "the only Transfer-Encoding taken is \"chunked\"");
    if (framing.codings > 0 && strcmp(request->version, MHD_HTTP_VERSION_1_0) == 0)
        return fail(err, ERR_BAD_REQUEST, 0, "HTTP/1.0 has no Transfer-Encoding");
    if (framing.lengths + framing.codings > 1)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "the request says more than once how long its body is (Content-Length, "
                    "Transfer-Encoding)");
    return ERR_OK;
}

/* One element of Accept names the type and does not exclude it. */
static bool element_names(const char *element, size_t size, const char *type)
{
    size_t length = strlen(type);
    if (size < length || strncasecmp(element, type, length) != 0)
        return false;
    autofree char *rest = xstrndup(element + length, size - length);
    if (strspn(rest, " \t;") == 0 && *rest != '\0')
        return false;
    const char *weight = strcasestr(rest, "q=");
    return weight == NULL || strtod(weight + 2, NULL) > 0;
}

struct wanted {
    const char *type;
    bool named;
};

static enum MHD_Result on_accept(void *self, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    (void)kind;
    struct wanted *wanted = self;
    if (strcasecmp(key, MHD_HTTP_HEADER_ACCEPT) != 0 || value == NULL)
        return MHD_YES;
    for (const char *at = value; *at && !wanted->named;) {
        at += strspn(at, " \t,");
        size_t size = strcspn(at, ",");
        wanted->named = element_names(at, size, wanted->type);
        at += size;
    }
    return MHD_YES;
}

bool request_accepts(const struct request *request, const char *media_type)
{
    struct wanted wanted = {.type = media_type};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_accept, &wanted);
    return wanted.named;
}

size_t request_certificates(const struct request *request, struct request_certificate *out,
                            size_t most)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    unsigned count = 0;
    const gnutls_datum_t *chain =
        info && info->tls_session ? gnutls_certificate_get_peers(info->tls_session, &count) : NULL;
    if (chain == NULL || count > most)
        return 0;
    for (unsigned i = 0; i < count; i++)
        out[i] = (struct request_certificate){chain[i].data, chain[i].size};
    return count;
}
