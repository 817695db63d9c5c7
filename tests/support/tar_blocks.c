#include "tests/support/tar_blocks.h"

#include "image/tar_check.h"

#include <stdio.h>
#include <string.h>

void tar_seal(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        sum += header[i];
    snprintf((char *)header + 148, 7, "%06o", sum);
}

void tar_add_content(struct buf *tar, const void *data, size_t size)
{
    static const uint8_t zeros[TAR_BLOCK_BYTES];
    buf_append(tar, data, size);
    buf_append(tar, zeros, (TAR_BLOCK_BYTES - size % TAR_BLOCK_BYTES) % TAR_BLOCK_BYTES);
}
