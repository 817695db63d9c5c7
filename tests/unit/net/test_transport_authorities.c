#include "base/mem.h"
#include "net/transport_private.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* A certificate that signed itself. */
static void write_authority(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static bool given(struct transport *transport, X509_STORE **store)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool good = transport_set_authorities(transport, context);
    *store = SSL_CTX_get_cert_store(context);
    SSL_CTX_free(context);
    return good;
}

/* Only the first connection reads them. */
static void connections_share_them(void **state)
{
    (void)state;
    char path[] = "/tmp/slipway-authorities-XXXXXX";
    X509_STORE *first, *second;
    close(mkstemp(path));
    write_authority(path);
    const struct transport_options options = {
        .host = "r.example.com", .user_agent = "t", .ca_file = path};
    struct transport *transport = transport_new(&options);
    assert_true(given(transport, &first));
    assert_int_equal(unlink(path), 0);
    assert_true(given(transport, &second));
    assert_ptr_equal(first, second);
    transport->authorities_ms -= 300000; /* too old */
    assert_false(given(transport, &second));
    transport_free(transport);
}

/* A registry that speaks no TLS costs no reading of the system's certificates. */
static void those_of_the_system_are_read_later(void **state)
{
    (void)state;
    X509_STORE *store;
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent/ca.pem", 1), 0);
    const struct transport_options options = {.host = "r.example.com", .user_agent = "t"};
    struct transport *transport = transport_new(&options);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    assert_true(given(transport, &store));
    assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(transport->authorities)), 0);
    transport_free(transport);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_share_them),
        cmocka_unit_test(those_of_the_system_are_read_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
