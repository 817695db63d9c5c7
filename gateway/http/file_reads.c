#include "gateway/http/file_reads.h"

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The kernel is told to go on for so much while a block is sent. */
#define AHEAD_BYTES ((off_t)4 << 20)

struct file_reads {
    struct work_queue *queue;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned waiting; /* connections that are suspended */
    bool closed;
};

/* One download. Its worker has it while the connection is suspended, the HTTP thread otherwise. */
struct file_body {
    struct work work; /* first */
    struct file_reads *reads;
    struct suspendable connection;
    struct log_scope scope;
    int fd;
    uint64_t at;
    uint64_t left;
    char *block; /* what the worker read; NULL: all of it is sent */
    size_t block_size;
    size_t block_sent;
    bool broken;
};

struct file_reads *file_reads_new(struct executor *executor)
{
    struct file_reads *reads = xcalloc(1, sizeof *reads);
    pthread_mutex_init(&reads->lock, NULL);
    pthread_cond_init(&reads->ended, NULL);
    reads->queue = work_queue_new(executor, NULL, FILE_READS_MAX);
    return reads;
}

void file_reads_close(struct file_reads *reads)
{
    autolock pthread_mutex_t *held = lock_take(&reads->lock);
    reads->closed = true;
    while (reads->waiting > 0)
        pthread_cond_wait(&reads->ended, &reads->lock);
}

void file_reads_free(struct file_reads *reads)
{
    if (reads == NULL)
        return;
    work_queue_free(reads->queue);
    pthread_cond_destroy(&reads->ended);
    pthread_mutex_destroy(&reads->lock);
    free(reads);
}

/* ---- the worker ---- */

static size_t block_bytes(const struct file_body *body)
{
    return body->left < FILE_READ_BYTES ? (size_t)body->left : FILE_READ_BYTES;
}

static void read_block(struct work *work)
{
    struct file_body *body = (struct file_body *)work;
    struct file_reads *reads = body->reads;
    const struct suspendable connection = body->connection;
    autoscope struct log_scope outer = log_scope_enter(&body->scope);
    body->block = xmalloc(FILE_READ_BYTES);
    posix_fadvise(body->fd, (off_t)body->at, AHEAD_BYTES, POSIX_FADV_WILLNEED);
    ssize_t got = pread(body->fd, body->block, block_bytes(body), (off_t)body->at);
    if (got <= 0) {
        log_warn("a download breaks off: its file %s",
                 got == 0 ? "has fewer bytes than it had" : strerror(errno));
        body->broken = true;
    }
    body->block_size = got > 0 ? (size_t)got : 0;
    body->block_sent = 0;
    suspendable_resume(&connection); /* from here on the body is the HTTP thread's */
    autolock pthread_mutex_t *held = lock_take(&reads->lock);
    if (--reads->waiting == 0)
        pthread_cond_broadcast(&reads->ended);
}

/* ---- the HTTP thread ---- */

static ssize_t advance(struct file_body *body, size_t size)
{
    body->at += size;
    body->left -= size;
    return (ssize_t)size;
}

/* Of the block, which goes with its last byte. */
static ssize_t copy_out(struct file_body *body, char *out, size_t size)
{
    size_t left = body->block_size - body->block_sent;
    size = left < size ? left : size;
    memcpy(out, body->block + body->block_sent, size);
    body->block_sent += size;
    if (size == left) {
        free(body->block);
        body->block = NULL;
    }
    return advance(body, size);
}

static ssize_t wait_for_block(struct file_body *body)
{
    struct file_reads *reads = body->reads;
    pthread_mutex_lock(&reads->lock);
    bool closed = reads->closed;
    reads->waiting += !closed;
    pthread_mutex_unlock(&reads->lock);
    if (closed)
        return BODY_BROKEN;
    suspendable_suspend(&body->connection);
    work_submit(reads->queue, &body->work);
    return 0;
}

static ssize_t read_body(void *self, char *out, size_t size)
{
    struct file_body *body = self;
    if (body->broken)
        return BODY_BROKEN;
    size = body->left < size ? (size_t)body->left : size;
    if (body->block)
        return copy_out(body, out, size);
    /* Also where the file system knows no RWF_NOWAIT (EOPNOTSUPP), a worker reads. */
    const struct iovec to = {.iov_base = out, .iov_len = size};
    ssize_t got = preadv2(body->fd, &to, 1, (off_t)body->at, RWF_NOWAIT);
    return got > 0 ? advance(body, (size_t)got) : wait_for_block(body);
}

static void release_body(void *self)
{
    struct file_body *body = self;
    close(body->fd);
    free(body->block);
    free(body);
}

struct body_source file_body(struct file_reads *reads, int fd, uint64_t offset, uint64_t size,
                             struct suspendable connection)
{
    struct file_body *body = xcalloc(1, sizeof *body);
    *body = (struct file_body){.work = {.run = read_block},
                               .reads = reads,
                               .connection = connection,
                               .scope = log_scope_now(),
                               .fd = fd,
                               .at = offset,
                               .left = size};
    return (struct body_source){.read = read_body, .release = release_body, .self = body};
}
