#include "net/transport_private.h"
#include "net/url.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

struct failure {
    const struct connection *connection;
    const struct transport *transport;
    const char *what;          /* "PUT https://..." */
    const char *why;           /* libcurl's words */
    char proxy[URL_SHOWN_MAX]; /* "" when none was used */
};

/* What is said of the registry where a proxy stands before it. */
static const char *by_proxy(const struct failure *failure, char words[URL_SHOWN_MAX + 16])
{
    words[0] = '\0';
    if (failure->proxy[0])
        snprintf(words, URL_SHOWN_MAX + 16, " through the proxy %s", failure->proxy);
    return words;
}

/* An answer to CONNECT (RFC 9110 section 9.3.6) that was no 2xx. */
static enum errc tunnel_fail(const struct failure *failure, long status, struct error *err)
{
    if (status == 407)
        return fail(err, ERR_PROXY, 0,
                    "%s: the proxy %s wants other credentials than it was sent (407); they belong "
                    "into the URL of HTTPS_PROXY",
                    failure->what, failure->proxy);
    if (status < 500)
        return fail(
            err, ERR_PROXY, 0,
            "%s: the proxy %s refuses to connect there (status %ld); allow it there, or name "
            "the host in NO_PROXY",
            failure->what, failure->proxy, status);
    return fail(err, ERR_CONNECT, 0, "%s: the proxy %s could not connect there (status %ld)",
                failure->what, failure->proxy, status);
}

static enum errc authorities_fail(const struct failure *failure, struct error *err)
{
    const struct transport *transport = failure->transport;
    if (transport->ca_file == NULL)
        return fail(err, ERR_SETTINGS, 0, "%s: the system's CA certificates cannot be used: %s",
                    failure->what, failure->why);
    return fail(err, ERR_SETTINGS, 0, "%s: the CA file %s (%s) cannot be used: %s", failure->what,
                transport->ca_file,
                transport->ca_of_environment ? "SSL_CERT_FILE" : transport->ca_setting,
                failure->why);
}

static enum errc certificate_fail(const struct failure *failure, struct error *err)
{
    long verified = X509_V_OK;
    curl_easy_getinfo(failure->connection->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    switch (verified) {
    case X509_V_OK:
    case X509_V_ERR_UNSPECIFIED: /* the chain was not what failed: libcurl judges the name itself */
        return fail(err, ERR_CERTIFICATE, 0,
                    "%s: the certificate does not fit the host name it was asked for: %s",
                    failure->what, failure->why);
    case X509_V_ERR_STORE_LOOKUP:
        return authorities_fail(failure, err);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return fail(err, ERR_CERTIFICATE, 0,
                    "%s: the certificate has expired; it has to be renewed at the %s",
                    failure->what, failure->transport->peer);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return fail(err, ERR_CERTIFICATE, 0,
                    "%s: the certificate is not valid yet; check the clocks of both machines",
                    failure->what);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return fail(err, ERR_CERTIFICATE, 0,
                    "%s: the certificate is signed by an unknown authority (%s); set %s to the "
                    "file of its CA certificate",
                    failure->what, X509_verify_cert_error_string(verified),
                    failure->transport->ca_setting);
    default:
        return fail(err, ERR_CERTIFICATE, 0, "%s: the certificate is refused: %s", failure->what,
                    X509_verify_cert_error_string(verified));
    }
}

/* Alerts about certificates (RFC 8446 section 6.2) come from a server that judged ours: its own is
 * judged here. */
static bool is_about_ours(const char *why)
{
    static const char *const alerts[] = {"alert certificate required", "alert bad certificate",
                                         "alert unknown ca",           "alert certificate expired",
                                         "alert certificate unknown",  "alert certificate revoked"};
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
        if (strstr(why, alerts[i]))
            return true;
    return false;
}

/* In TLS 1.3 the alert comes when the request is being sent already, and may get lost with the
 * connection. */
static bool wanted_ours(const struct failure *failure, CURLcode code)
{
    curl_off_t answered_us = 0;
    curl_easy_getinfo(failure->connection->easy, CURLINFO_STARTTRANSFER_TIME_T, &answered_us);
    bool lost = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
                code == CURLE_SSL_CONNECT_ERROR;
    return failure->connection->certificate_wanted && lost && answered_us == 0 &&
           failure->connection->transport->client_certificate == NULL;
}

static enum errc client_certificate_fail(const struct failure *failure, struct error *err)
{
    const struct transport *transport = failure->connection->transport;
    if (transport->client_certificate)
        return fail(err, ERR_CERTIFICATE, 0,
                    "%s: the server refuses the client certificate %s, or there was none for this "
                    "host: %s",
                    failure->what, transport->client_certificate, failure->why);
    return fail(err, ERR_CERTIFICATE, 0,
                "%s: the server wants a client certificate; set registries.\"%s\""
                ".client_certificate and client_key, or put NAME.cert and NAME.key into "
                "/etc/docker/certs.d/%s: %s",
                failure->what, transport->host, transport->host, failure->why);
}

static enum errc tls_fail(const struct failure *failure, struct error *err)
{
    /* OpenSSL reports a connection that ends within the handshake as a failed call, not as TLS. */
    if (strstr(failure->why, "SSL_ERROR_SYSCALL") || strstr(failure->why, "reset by peer") ||
        strstr(failure->why, "unexpected eof"))
        return fail(err, ERR_CONNECTION_LOST, 0,
                    "%s: the connection was closed during the TLS handshake", failure->what);
    if (strstr(failure->why, "wrong version number") ||
        strstr(failure->why, "packet length too long") || strstr(failure->why, "http request"))
        return fail(err, ERR_TLS, 0,
                    "%s: the other side does not speak TLS; if plain HTTP is meant, %s",
                    failure->what, failure->transport->plain_advice);
    return fail(err, ERR_TLS, 0, "%s: TLS failed: %s", failure->what, failure->why);
}

static enum errc timeout_fail(const struct failure *failure, struct error *err)
{
    curl_off_t connected_us = 0;
    curl_easy_getinfo(failure->connection->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    long connects = 0;
    curl_easy_getinfo(failure->connection->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (connects > 0 && connected_us == 0)
        return fail(err, ERR_TIMEOUT, 0, "%s: no connection in time: %s", failure->what,
                    failure->why);
    return fail(err, ERR_TIMEOUT, 0, "%s: the %s stalled: %s", failure->what,
                failure->transport->peer, failure->why);
}

static enum errc connect_fail(const struct failure *failure, struct error *err)
{
    char words[URL_SHOWN_MAX + 16] = "";
    long sys = 0;
    curl_easy_getinfo(failure->connection->easy, CURLINFO_OS_ERRNO, &sys);
    if (failure->proxy[0])
        snprintf(words, sizeof words, " to the proxy %s", failure->proxy);
    if (sys != 0)
        return fail(err, ERR_CONNECT, (int)sys, "%s: cannot connect%s", failure->what, words);
    return fail(err, ERR_CONNECT, 0, "%s: cannot connect%s: %s", failure->what, words,
                failure->why);
}

/* libcurl 7.88 has one code for its own lack of memory and for a line of a head that is longer than
 * CURL_MAX_HTTP_HEADER. The first bytes of an answer tell them apart: they need next to nothing. */
static enum errc memory_fail(const struct failure *failure, struct error *err)
{
    curl_off_t answered_us = 0;
    curl_easy_getinfo(failure->connection->easy, CURLINFO_STARTTRANSFER_TIME_T, &answered_us);
    if (answered_us == 0)
        return fail(err, ERR_MEMORY, 0, "%s: no memory", failure->what);
    return fail(err, ERR_REGISTRY_ANSWER, 0,
                "%s: a line in the head of the answer is longer than %d bytes", failure->what,
                CURL_MAX_HTTP_HEADER);
}

enum errc transport_fail(const struct connection *connection, const struct http_request *request,
                         const char *proxy, CURLcode code, const char *detail, struct error *err)
{
    char url[URL_SHOWN_MAX];
    char what[URL_SHOWN_MAX + 16];
    snprintf(what, sizeof what, "%s %s", request->method, url_shown(request->url, url));
    char words[URL_SHOWN_MAX + 16];
    long tunnel = 0;
    struct failure value = {
        .connection = connection,
        .transport = connection->transport,
        .what = what,
        .why = detail[0] ? detail : curl_easy_strerror(code),
    };
    const struct failure *failure = &value;
    if (proxy)
        url_shown(proxy, value.proxy);
    curl_easy_getinfo(connection->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
    if (code == CURLE_HTTP_RETURNED_ERROR) /* of a request that the proxy takes as it is */
        tunnel = 407;
    if (proxy && tunnel >= 300)
        return tunnel_fail(failure, tunnel, err);
    if (is_about_ours(failure->why) || wanted_ours(failure, code))
        return client_certificate_fail(failure, err);
    switch (code) {
    case CURLE_SSL_CERTPROBLEM:
        return fail(err, ERR_SETTINGS, 0,
                    "%s: the client certificate %s or its key cannot be used: %s", failure->what,
                    connection->transport->client_certificate, failure->why);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return fail(err, ERR_HOST_UNKNOWN, 0, "%s: the name of the proxy %s cannot be resolved: %s",
                    failure->what, failure->proxy, failure->why);
    case CURLE_COULDNT_RESOLVE_HOST:
        return fail(err, ERR_HOST_UNKNOWN, 0, "%s: the host name cannot be resolved: %s",
                    failure->what, failure->why);
    case CURLE_COULDNT_CONNECT:
        return connect_fail(failure, err);
    case CURLE_OPERATION_TIMEDOUT:
        return timeout_fail(failure, err);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return certificate_fail(failure, err);
    case CURLE_SSL_CACERT_BADFILE:
        return authorities_fail(failure, err);
    case CURLE_SSL_CONNECT_ERROR:
        return tls_fail(failure, err);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return fail(err, ERR_NOT_A_REGISTRY, 0, "%s: what answers there is no HTTP server: %s",
                    failure->what, failure->why);
    case CURLE_OUT_OF_MEMORY:
        return memory_fail(failure, err);
    case CURLE_URL_MALFORMAT:
        return fail(err, ERR_REGISTRY_ANSWER, 0, "%s: %s", failure->what, failure->why);
    default:
        return fail(err, ERR_CONNECTION_LOST, 0, "%s: the connection%s was lost: %s", failure->what,
                    by_proxy(failure, words), failure->why);
    }
}
