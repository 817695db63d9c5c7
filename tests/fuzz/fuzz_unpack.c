/* Compressed data that claims much: a stream's window is bounded before it is allocated
 * (image/unpack.h), whatever its headers and those of its frames and blocks say. At no time more is
 * allocated than UNPACK_DEPTH_MAX windows and what decoders need beside one.
 *
 * The checksums of the first headers of an .xz file are made right, else mutated claims are not
 * looked at. Without the address sanitizer nothing is counted. */
#include "base/mem.h"
#include "image/unpack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HAVE_ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAVE_ADDRESS_SANITIZER 1
#endif
#ifdef HAVE_ADDRESS_SANITIZER
/* Of the sanitizers' allocator_interface.h, which gcc does not bring. */
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t),
                                              void (*freed)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *at);
#endif

#define BESIDE_BYTES ((uint64_t)4 << 20) /* tables of bzip2, buffers of zstd and of ours */
#define ALLOWED_BYTES (UNPACK_DEPTH_MAX * (UNPACK_WINDOW_MAX + BESIDE_BYTES))
#define OUT_MAX ((size_t)1 << 20)
#define PIECE_BYTES 1000

/* The .xz file format 1.1.0, 2.1.1 and 3.1. */
#define XZ_FLAGS_AT 6
#define XZ_FLAGS_BYTES 2
#define XZ_BLOCK_AT 12
#define XZ_CRC_BYTES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    const uint8_t *data;
    size_t size;
};

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    *size = memory->size < PIECE_BYTES ? memory->size : PIECE_BYTES;
    *data = memory->data;
    memory->data += *size;
    memory->size -= *size;
    return ERR_OK;
}

/* ---- what is allocated ---- */

static int64_t live;
static int64_t peak;

#ifdef HAVE_ADDRESS_SANITIZER
static void allocated(const volatile void *at, size_t size)
{
    (void)at;
    live += (int64_t)size;
    peak = live > peak ? live : peak;
}

static void freed(const volatile void *at)
{
    if (at != NULL)
        live -= (int64_t)__sanitizer_get_allocated_size(at);
}
#endif

static void begin_counting(void)
{
#ifdef HAVE_ADDRESS_SANITIZER
    static bool installed;
    if (!installed && __sanitizer_install_malloc_and_free_hooks(allocated, freed) == 0)
        abort();
    installed = true;
#endif
    live = peak = 0;
}

/* ---- the input ---- */

static void set_crc(uint8_t *data, size_t from, size_t to)
{
    uint32_t crc = (uint32_t)crc32(0, data + from, (unsigned)(to - from));
    for (size_t i = 0; i < XZ_CRC_BYTES; i++)
        data[to + i] = (uint8_t)(crc >> 8 * i);
}

static void mend_xz(uint8_t *data, size_t size)
{
    static const uint8_t magic[XZ_FLAGS_AT] = {0xfd, '7', 'z', 'X', 'Z', 0};
    if (size <= XZ_BLOCK_AT || memcmp(data, magic, sizeof magic) != 0)
        return;
    set_crc(data, XZ_FLAGS_AT, XZ_FLAGS_AT + XZ_FLAGS_BYTES);
    size_t end = XZ_BLOCK_AT + ((size_t)data[XZ_BLOCK_AT] + 1) * 4;
    if (data[XZ_BLOCK_AT] != 0 && end <= size)
        set_crc(data, XZ_BLOCK_AT, end - XZ_CRC_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree uint8_t *copy = xmalloc(size + 1);
    struct error err = ERROR_INIT;
    struct unpack *unpack = NULL;
    memcpy(copy, data, size);
    mend_xz(copy, size);
    struct memory memory = {copy, size};
    begin_counting();
    if (unpack_open((struct source){.pull = pull, .self = &memory}, &unpack, &err) == ERR_OK) {
        struct source source = unpack_source(unpack);
        size_t n = 1;
        for (size_t out = 0; n > 0 && out < OUT_MAX; out += n)
            if (source_pull(&source, &data, &n, &err) != ERR_OK)
                break;
        unpack_close(unpack);
    }
    if (peak > (int64_t)ALLOWED_BYTES) {
        fprintf(stderr, "%lld bytes were allocated\n", (long long)peak);
        abort();
    }
    return 0;
}
