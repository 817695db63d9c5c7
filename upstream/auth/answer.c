#include "upstream/auth/answer.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool has_type(const struct http_response *response, const char *type)
{
    const char *value = http_header(response, "Content-Type");
    return value && strncasecmp(value, type, strlen(type)) == 0;
}

static void keep(const struct http_response *response, const char *code, const char *message,
                 struct answer *out)
{
    const struct http_secrets *secrets = &response->secrets;
    if (code)
        http_text(secrets, code, strlen(code), out->code, sizeof out->code);
    if (message)
        http_text(secrets, message, strlen(message), out->message, sizeof out->message);
}

/* The detail often says more than the message: which blob, which policy. */
static void keep_error(const struct http_response *response, const json_t *error,
                       struct answer *out)
{
    if (json_is_string(error)) {
        keep(response, NULL, json_string_value(error), out);
        return;
    }
    keep(response, json_text(error, "code"), json_text(error, "message"), out);
    const char *detail = json_text(error, "detail");
    size_t used = strlen(out->message);
    if (detail && detail[0] && used + 4 < sizeof out->message) {
        memcpy(out->message + used, ": ", 3);
        http_text(&response->secrets, detail, strlen(detail), out->message + used + 2,
                  sizeof out->message - used - 2);
    }
}

static bool read_json(const struct http_response *response, struct answer *out)
{
    struct error ignored = ERROR_INIT;
    autojson json_t *document = NULL;
    if (json_parse(response->body.data, response->body.size, ANSWER_LIMIT_BYTES, "answer",
                   &document, &ignored) != ERR_OK ||
        !json_is_object(document))
        return false;
    const json_t *errors = json_object_get(document, "errors");
    if (json_is_array(errors)) {
        out->registry = true;
        if (json_array_size(errors) > 0)
            keep_error(response, json_array_get(errors, 0), out);
    } else if (json_is_string(errors)) {
        keep(response, NULL, json_string_value(errors), out);
    } else {
        const char *message = json_text(document, "message");
        if (message == NULL)
            message = json_text(document, "details");
        keep(response, json_text(document, "code"),
             message ? message : json_text(document, "error"), out);
    }
    return true;
}

/* A page's title, else its text without tags. */
static void read_html(const struct http_response *response, const char *text, struct answer *out)
{
    const char *title = strcasestr(text, "<title>");
    const char *end = title ? strcasestr(title, "</title>") : NULL;
    if (end) {
        title += strlen("<title>");
        http_text(&response->secrets, title, (size_t)(end - title), out->message,
                  sizeof out->message);
        return;
    }
    char plain[ANSWER_LIMIT_BYTES + 1];
    size_t used = 0;
    bool tag = false;
    for (const char *c = text; *c && used < sizeof plain - 1; c++) {
        if (*c == '<' || *c == '>')
            tag = *c == '<';
        else if (!tag)
            plain[used++] = *c;
    }
    http_text(&response->secrets, plain, used, out->message, sizeof out->message);
}

void answer_read(const struct http_response *response, struct answer *out)
{
    *out = (struct answer){0};
    const char *version = http_header(response, "Docker-Distribution-Api-Version");
    out->registry = version != NULL;
    if (response->body.size == 0 || read_json(response, out))
        return;
    const char *text = buf_cstr(&response->body);
    if (has_type(response, "text/html") || text[strspn(text, " \t\r\n")] == '<')
        read_html(response, text, out);
    else
        http_text(&response->secrets, text, strlen(text), out->message, sizeof out->message);
}

void answer_explain_credentials(const char *host, const struct registry_credentials *credentials,
                                struct error *err)
{
    if (registry_credentials_empty(credentials)) {
        error_wrap(
            err,
            "registry %s wants credentials and none are known for it: set "
            "registries.\"%s\".username and password_file in slipway's configuration, or run "
            "\"docker login %s\" as the user who runs slipway",
            host, host, host);
        return;
    }
    const char *origin = credentials->origin ? credentials->origin : "the configuration has them";
    if (credentials->username)
        error_wrap(err, "registry %s refused slipway's own user \"%.100s\" or the password: %s",
                   host, credentials->username, origin);
    else
        error_wrap(err, "registry %s refused slipway's own token: %s", host, origin);
}

void answer_mention_credentials(const char *host, struct error *err)
{
    const struct error said = *err;
    fail(err, said.code, 0,
         "%.700s (no credentials are known for %s; if it is about them, run \"docker login %s\" or "
         "set username and password_file for it in the configuration)",
         said.text, host, host);
    err->status = said.status;
    err->hints = said.hints;
}
