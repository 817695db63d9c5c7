#include "image/sha256_pair.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

/* FIPS 180-4, 4.2.2. */
static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

bool sha256_pair_supported(void)
{
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_SSSE3) || !(ecx & bit_SSE4_1))
        return false;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA) != 0;
}

#define WITH_SHA __attribute__((target("sha,sse4.1")))

/* Working variables as the instructions want them: A, B, E, F and C, D, G, H. */
struct stream {
    __m128i abef, cdgh;
    __m128i words[4]; /* of the message schedule, the last sixteen */
};

WITH_SHA static inline void load_state(struct stream *stream, const uint32_t state[8])
{
    __m128i abcd = _mm_loadu_si128((const __m128i *)state);
    __m128i efgh = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(abcd, 0xb1);
    __m128i hgfe = _mm_shuffle_epi32(efgh, 0x1b);
    stream->abef = _mm_alignr_epi8(cdab, hgfe, 8);
    stream->cdgh = _mm_blend_epi16(hgfe, cdab, 0xf0);
}

WITH_SHA static inline void store_state(const struct stream *stream, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(stream->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(stream->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

WITH_SHA static inline void load_words(struct stream *stream, const uint8_t *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    for (int i = 0; i < 4; i++) {
        __m128i words = _mm_loadu_si128((const __m128i *)(block + 16 * i));
        stream->words[i] = _mm_shuffle_epi8(words, big_endian);
    }
}

/* The four words sixteen after those at `i`, in their place. */
WITH_SHA static inline void next_words(struct stream *stream, int i)
{
    __m128i *words = stream->words;
    __m128i seven_before = _mm_alignr_epi8(words[(i + 3) & 3], words[(i + 2) & 3], 4);
    __m128i sum =
        _mm_add_epi32(_mm_sha256msg1_epu32(words[i & 3], words[(i + 1) & 3]), seven_before);
    words[i & 3] = _mm_sha256msg2_epu32(sum, words[(i + 3) & 3]);
}

/* Rounds 4i to 4i + 3 of both, two and two. */
WITH_SHA static inline void four_rounds(struct stream *a, struct stream *b, int i)
{
    __m128i constant = _mm_load_si128((const __m128i *)(constants + 4 * i));
    __m128i of_a = _mm_add_epi32(a->words[i & 3], constant);
    __m128i of_b = _mm_add_epi32(b->words[i & 3], constant);
    a->cdgh = _mm_sha256rnds2_epu32(a->cdgh, a->abef, of_a);
    b->cdgh = _mm_sha256rnds2_epu32(b->cdgh, b->abef, of_b);
    of_a = _mm_shuffle_epi32(of_a, 0x0e);
    of_b = _mm_shuffle_epi32(of_b, 0x0e);
    a->abef = _mm_sha256rnds2_epu32(a->abef, a->cdgh, of_a);
    b->abef = _mm_sha256rnds2_epu32(b->abef, b->cdgh, of_b);
}

WITH_SHA static inline void add_state(struct stream *stream, const struct stream *before)
{
    stream->abef = _mm_add_epi32(stream->abef, before->abef);
    stream->cdgh = _mm_add_epi32(stream->cdgh, before->cdgh);
}

WITH_SHA void sha256_pair_blocks(uint32_t state_a[8], uint32_t state_b[8], const uint8_t *a,
                                 const uint8_t *b, size_t blocks)
{
    struct stream of_a, of_b;
    load_state(&of_a, state_a);
    load_state(&of_b, state_b);
    for (; blocks > 0; blocks--) {
        const struct stream before_a = of_a;
        const struct stream before_b = of_b;
        load_words(&of_a, a);
        load_words(&of_b, b);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            four_rounds(&of_a, &of_b, i);
            if (i < 12) {
                next_words(&of_a, i);
                next_words(&of_b, i);
            }
        }
        add_state(&of_a, &before_a);
        add_state(&of_b, &before_b);
        a += SHA256_BLOCK_BYTES;
        b += SHA256_BLOCK_BYTES;
    }
    store_state(&of_a, state_a);
    store_state(&of_b, state_b);
}

#else

bool sha256_pair_supported(void)
{
    return false;
}

void sha256_pair_blocks(uint32_t state_a[8], uint32_t state_b[8], const uint8_t *a,
                        const uint8_t *b, size_t blocks)
{
    (void)state_a;
    (void)state_b;
    (void)a;
    (void)b;
    (void)blocks;
    __builtin_trap(); /* it is not supported */
}

#endif
