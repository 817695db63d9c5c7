#include "gateway/access/robot_secret.h"

#include <openssl/rand.h>
#include <string.h>

#define DIGITS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define BASE 62
#define PREFIX_SIZE (sizeof ROBOT_SECRET_PREFIX - 1)
#define RANDOM_SIZE 43
#define SUM_SIZE 6
#define SUM_AT (PREFIX_SIZE + RANDOM_SIZE)

static void write_sum(const char *secret, char sum[SUM_SIZE])
{
    struct digest digest = digest_of(DIGEST_SHA256, secret, SUM_AT);
    uint32_t number = 0;
    for (size_t i = 0; i < 4; i++)
        number = number << 8 | digest.bytes[i];
    for (size_t i = SUM_SIZE; i-- > 0; number /= BASE)
        sum[i] = DIGITS[number % BASE];
}

enum errc robot_secret_make(char secret[ROBOT_SECRET_SIZE + 1], struct error *err)
{
    memcpy(secret, ROBOT_SECRET_PREFIX, PREFIX_SIZE);
    for (size_t i = PREFIX_SIZE; i < SUM_AT;) {
        uint8_t byte = 0;
        if (RAND_bytes(&byte, 1) != 1)
            return fail(err, ERR_INTERNAL, 0, "the system has no random numbers");
        /* Of 256 values those that make no whole round would make some digits likelier. */
        if (byte < 256 / BASE * BASE)
            secret[i++] = DIGITS[byte % BASE];
    }
    write_sum(secret, secret + SUM_AT);
    secret[ROBOT_SECRET_SIZE] = '\0';
    return ERR_OK;
}

bool robot_secret_is(const char *text)
{
    char sum[SUM_SIZE];
    if (strlen(text) != ROBOT_SECRET_SIZE || strncmp(text, ROBOT_SECRET_PREFIX, PREFIX_SIZE) != 0 ||
        strspn(text + PREFIX_SIZE, DIGITS) != ROBOT_SECRET_SIZE - PREFIX_SIZE)
        return false;
    write_sum(text, sum);
    return memcmp(sum, text + SUM_AT, SUM_SIZE) == 0;
}

struct digest robot_secret_digest(const char *secret)
{
    return digest_of(DIGEST_SHA256, secret, strlen(secret));
}
