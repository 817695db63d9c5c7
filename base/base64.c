#include "base/base64.h"

#include "base/mem.h"
#include "base/secret.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdint.h>

#define SIZE_MAX_BYTES ((size_t)1 << 30) /* OpenSSL counts in int */

char *base64_encode(const void *data, size_t size)
{
    assert(size < SIZE_MAX_BYTES);
    char *text = xcalloc(1, 4 * ((size + 2) / 3) + 1);
    EVP_EncodeBlock((unsigned char *)text, data, (int)size);
    return text;
}

char *base64url_encode(const void *data, size_t size)
{
    char *text = base64_encode(data, size);
    for (char *c = text; *c; c++) {
        if (*c == '+')
            *c = '-';
        else if (*c == '/')
            *c = '_';
        else if (*c == '=')
            *c = '\0';
    }
    return text;
}

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

void *base64url_decode(const char *text, size_t size, size_t *out_size)
{
    autofree uint8_t *bytes = xcalloc(1, size / 4 * 3 + 4);
    uint32_t bits = 0;
    unsigned held = 0;
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        int value = base64url_value(text[i]);
        if (value < 0)
            return NULL;
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[used++] = (uint8_t)(bits >> held);
        }
    }
    if (size % 4 == 1 || (bits & ((1u << held) - 1)) != 0)
        return NULL;
    *out_size = used;
    return mem_take(&bytes);
}

/* OpenSSL skips blanks and drops stray bits: only what it would encode to is taken. */
static bool decodes_exactly(const char *encoded, size_t length, char *text, size_t *size)
{
    size_t padding = length - strcspn(encoded, "=");
    int decoded =
        EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)encoded, (int)length);
    if (padding > 2 || decoded < (int)padding)
        return false;
    *size = (size_t)decoded - padding;
    autosecret char *again = base64_encode(text, *size);
    return strcmp(again, encoded) == 0;
}

bool base64_decode_text(const char *encoded, char **out)
{
    size_t length = strlen(encoded);
    size_t size = 0;
    if (length % 4 != 0 || length >= SIZE_MAX_BYTES)
        return false;
    autosecret char *text = xcalloc(1, length / 4 * 3 + 1);
    bool fits = decodes_exactly(encoded, length, text, &size);
    if (fits)
        memset(text + size, '\0', length / 4 * 3 - size);
    while (size > 0 && text[size - 1] == '\0')
        size--;
    if (!fits || strlen(text) != size)
        return false;
    *out = mem_take(&text);
    return true;
}
