#include "tests/unit/store/store_test.h"

#include "gateway/access/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define NOW_S 1700000000
#define DAY_S 86400

struct issued {
    X509 *certificate;
    EVP_PKEY *key;
};

struct wanted {
    const char *name;  /* CN */
    size_t name_size;  /* 0: all of it */
    const char *names; /* extension subjectAltName */
    const char *usage; /* extension extendedKeyUsage */
    int64_t until_s;   /* 0: in a day */
    bool authority;
};

static void extend(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* `by` NULL: by itself. */
static struct issued issue(const struct wanted *wanted, const struct issued *by)
{
    struct issued issued = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
    X509 *one = issued.certificate;
    X509_NAME *subject = X509_get_subject_name(one);
    X509_set_version(one, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(one), 1);
    ASN1_TIME_set(X509_getm_notBefore(one), NOW_S - 10 * DAY_S);
    ASN1_TIME_set(X509_getm_notAfter(one), wanted->until_s ? wanted->until_s : NOW_S + DAY_S);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Example", -1,
                               -1, 0);
    if (wanted->name)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                   (const unsigned char *)wanted->name,
                                   wanted->name_size ? (int)wanted->name_size : -1, -1, 0);
    X509_set_issuer_name(one, by ? X509_get_subject_name(by->certificate) : subject);
    X509_set_pubkey(one, issued.key);
    extend(one, NID_basic_constraints,
           wanted->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wanted->names)
        extend(one, NID_subject_alt_name, wanted->names);
    if (wanted->usage)
        extend(one, NID_ext_key_usage, wanted->usage);
    assert_true(X509_sign(one, by ? by->key : issued.key, EVP_sha256()) > 0);
    return issued;
}

static void drop(struct issued *issued)
{
    X509_free(issued->certificate);
    EVP_PKEY_free(issued->key);
}

static struct client_authority *trusting(const struct issued *issued)
{
    struct client_authority *authority = NULL;
    struct error err = ERROR_INIT;
    char *pem = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, issued->certificate);
    size_t size = (size_t)BIO_get_mem_data(bio, &pem);
    assert_ok(client_authority_parse(pem, size, &authority, &err), &err);
    BIO_free(bio);
    return authority;
}

/* The chain `own`, `middle` (NULL: none); "" and the error in `err`, or the name, owned. */
static char *identity_of(const struct client_authority *authority, const struct issued *own,
                         const struct issued *middle, int64_t now_s, struct error *err)
{
    unsigned char *der[2] = {NULL, NULL};
    struct certificate_bytes chain[2];
    struct identity who = IDENTITY_INIT;
    chain[0].size = (size_t)i2d_X509(own->certificate, &der[0]);
    if (middle)
        chain[1].size = (size_t)i2d_X509(middle->certificate, &der[1]);
    chain[0].data = der[0];
    chain[1].data = der[1];
    error_clear(err);
    if (certificate_identity(authority, chain, middle ? 2 : 1, now_s, &who, err) == ERR_OK)
        assert_int_equal(who.kind, IDENTITY_CERTIFICATE);
    else
        assert_int_equal(err->code, ERR_UNAUTHENTICATED);
    OPENSSL_free(der[0]);
    OPENSSL_free(der[1]);
    char *name = xstrdup(who.name ? who.name : "");
    identity_deinit(&who);
    return name;
}

static void a_certificate_is_somebodys_by_its_chain(void **state)
{
    (void)state;
    struct issued root = issue(&(struct wanted){.name = "root", .authority = true}, NULL);
    struct issued middle = issue(&(struct wanted){.name = "middle", .authority = true}, &root);
    struct issued other = issue(&(struct wanted){.name = "root", .authority = true}, NULL);
    struct issued direct = issue(&(struct wanted){.name = "build-1"}, &root);
    struct issued below =
        issue(&(struct wanted){.name = "build-2", .usage = "clientAuth"}, &middle);
    struct issued server = issue(&(struct wanted){.name = "www", .usage = "serverAuth"}, &root);
    struct issued forged = issue(&(struct wanted){.name = "build-1"}, &other);
    struct client_authority *authority = trusting(&root);
    struct error err = ERROR_INIT;
    autofree char *one = identity_of(authority, &direct, NULL, NOW_S, &err);
    assert_string_equal(one, "cert:CN=build-1,O=Example");
    autofree char *two = identity_of(authority, &below, &middle, NOW_S, &err);
    assert_string_equal(two, "cert:CN=build-2,O=Example");
    autofree char *cut = identity_of(authority, &below, NULL, NOW_S, &err);
    assert_string_equal(cut, "");
    autofree char *late = identity_of(authority, &direct, NULL, NOW_S + 2 * DAY_S, &err);
    assert_string_equal(late, "");
    assert_non_null(strstr(err.text, "expired"));
    autofree char *early = identity_of(authority, &direct, NULL, NOW_S - 11 * DAY_S, &err);
    assert_string_equal(early, "");
    autofree char *wrong = identity_of(authority, &server, NULL, NOW_S, &err);
    assert_string_equal(wrong, "");
    autofree char *false_one = identity_of(authority, &forged, &other, NOW_S, &err);
    assert_string_equal(false_one, "");
    client_authority_free(authority);
    drop(&root);
    drop(&middle);
    drop(&other);
    drop(&direct);
    drop(&below);
    drop(&server);
    drop(&forged);
}

static void names_are_refused_that_read_otherwise(void **state)
{
    (void)state;
    static const struct {
        struct wanted wanted;
        const char *name;
    } cases[] = {
        {{.name = "a", .names = "DNS:a.example.com,URI:spiffe://example.com/build"},
         "cert:spiffe://example.com/build"},
        {{.name = "a", .names = "DNS:a.example.com"}, "cert:CN=a,O=Example"},
        {{.name = "a", .names = "URI:spiffe://example.com/a,URI:spiffe://example.com/b"}, ""},
        {{.name = "a", .names = "URI:CN=root"}, ""},
        {{.name = "a", .names = "URI:x:"}, ""},
        {{.name = "ops\0.evil", .name_size = 9}, ""},
        {{.name = "a\nb"}, ""},
        {{.name = "a\x7f"}, ""},
        {{.name = "a,CN=ops+b\"\\"}, "cert:CN=a\\,CN=ops\\+b\\\"\\\\,O=Example"},
        {{.name = "M\xc3\xbcller"}, "cert:CN=M\xc3\xbcller,O=Example"},
    };
    struct issued root = issue(&(struct wanted){.name = "root", .authority = true}, NULL);
    struct client_authority *authority = trusting(&root);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct issued one = issue(&cases[i].wanted, &root);
        struct error err = ERROR_INIT;
        autofree char *name = identity_of(authority, &one, NULL, NOW_S, &err);
        assert_string_equal(name, cases[i].name);
        drop(&one);
    }
    client_authority_free(authority);
    drop(&root);
}

static void what_is_no_certificate_is_refused(void **state)
{
    (void)state;
    struct issued root = issue(&(struct wanted){.name = "root", .authority = true}, NULL);
    struct client_authority *authority = trusting(&root);
    struct client_authority *none = NULL;
    struct identity who = IDENTITY_INIT;
    struct error err = ERROR_INIT;
    const struct certificate_bytes junk = {(const unsigned char *)"junk", 4};
    assert_code(certificate_identity(authority, &junk, 1, NOW_S, &who, &err), ERR_UNAUTHENTICATED,
                &err);
    error_clear(&err);
    assert_code(certificate_identity(authority, &junk, 0, NOW_S, &who, &err), ERR_UNAUTHENTICATED,
                &err);
    error_clear(&err);
    assert_code(client_authority_parse("junk", 4, &none, &err), ERR_SETTINGS, &err);
    unsigned char *der = NULL;
    size_t size = (size_t)i2d_X509(root.certificate, &der);
    unsigned char *longer = xcalloc(1, size + 1);
    memcpy(longer, der, size);
    const struct certificate_bytes trailing = {longer, size + 1};
    char *name = NULL;
    error_clear(&err);
    assert_code(certificate_name(&trailing, &name, &err), ERR_UNAUTHENTICATED, &err);
    free(longer);
    OPENSSL_free(der);
    client_authority_free(authority);
    drop(&root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_is_somebodys_by_its_chain),
        cmocka_unit_test(names_are_refused_that_read_otherwise),
        cmocka_unit_test(what_is_no_certificate_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
