#include "store/local/kv/kv_file.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC 0xBEEFC0DE
#define VERSION 1
#define PAGE_HEADER 16
#define PAGE_MAX 65536
#define DEPTH_MAX 32
#define NO_PAGE UINT64_MAX

enum { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02 };
enum { NODE_BIG = 0x01, NODE_TABLE = 0x02 };

struct table {
    uint32_t page_size; /* of the first table; else unused */
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_size;
    struct table tables[2]; /* free pages, all else */
    uint64_t last_page;
    uint64_t transaction;
};

struct node {
    uint16_t low, high, flags, key_size;
};

struct file {
    int fd;
    uint64_t pages; /* complete ones */
    uint32_t page_size;
    uint64_t to_visit; /* more would be a circle */
};

/* What a walk comes to: a page is not there, or the file is not to be understood. */
static enum errc fail_cut(struct error *err)
{
    return fail(err, ERR_STORE, 0, "pages in use are missing at its end");
}

static enum errc read_page(const struct file *file, uint64_t page, uint8_t *out, struct error *err)
{
    size_t got = 0;
    if (page >= file->pages)
        return fail_cut(err);
    if (file_read_at(file->fd, out, file->page_size, page * file->page_size, &got, err) != ERR_OK)
        return err->code;
    return got == file->page_size ? ERR_OK : fail_cut(err);
}

static enum errc check_big(const struct file *file, uint64_t page, uint8_t *room, struct error *err)
{
    uint32_t count = 0;
    if (read_page(file, page, room, err) != ERR_OK)
        return err->code;
    memcpy(&count, room + 12, sizeof count);
    return count <= file->pages && page <= file->pages - count ? ERR_OK : fail_cut(err);
}

static enum errc check_tree(struct file *file, uint64_t root, unsigned depth, struct error *err);

static enum errc check_node(struct file *file, const uint8_t *page, size_t at, unsigned depth,
                            struct error *err)
{
    struct node node;
    struct table table;
    uint64_t big = 0;
    memcpy(&node, page + at, sizeof node);
    if (page[10] & PAGE_BRANCH)
        return check_tree(
            file, (uint64_t)node.low | (uint64_t)node.high << 16 | (uint64_t)node.flags << 32,
            depth + 1, err);
    size_t data = at + sizeof node + node.key_size;
    if (node.flags & NODE_BIG && data + sizeof big <= file->page_size) {
        autofree uint8_t *room = xmalloc(file->page_size);
        memcpy(&big, page + data, sizeof big);
        return check_big(file, big, room, err);
    }
    if (node.flags & NODE_TABLE && data + sizeof table <= file->page_size) {
        memcpy(&table, page + data, sizeof table);
        return check_tree(file, table.root, depth + 1, err);
    }
    return ERR_OK;
}

static enum errc check_tree(struct file *file, uint64_t root, unsigned depth, struct error *err)
{
    uint16_t end = 0;
    if (root == NO_PAGE)
        return ERR_OK;
    if (depth > DEPTH_MAX || file->to_visit-- == 0)
        return fail(err, ERR_STORE, 0, "its pages go in a circle");
    autofree uint8_t *page = xmalloc(file->page_size);
    if (read_page(file, root, page, err) != ERR_OK)
        return err->code;
    memcpy(&end, page + 12, sizeof end);
    if (!(page[10] & (PAGE_BRANCH | PAGE_LEAF)) || end < PAGE_HEADER || end > file->page_size)
        return fail(err, ERR_STORE, 0, "a page in use is none");
    for (size_t slot = PAGE_HEADER; slot + sizeof end <= end; slot += sizeof end) {
        uint16_t at = 0;
        memcpy(&at, page + slot, sizeof at);
        if (at + sizeof(struct node) > file->page_size)
            return fail(err, ERR_STORE, 0, "a page in use is none");
        if (check_node(file, page, at, depth, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* *known false when it is not a file of ours to judge. */
static enum errc read_meta(int fd, uint64_t offset, bool *known, struct meta *out,
                           struct error *err)
{
    size_t got = 0;
    if (file_read_at(fd, out, sizeof *out, offset + PAGE_HEADER, &got, err) != ERR_OK)
        return err->code;
    uint32_t size = out->tables[0].page_size;
    *known = got == sizeof *out && out->magic == MAGIC && out->version == VERSION && size >= 512 &&
             size <= PAGE_MAX;
    return ERR_OK;
}

static enum errc check(int fd, uint64_t size, struct error *err)
{
    struct meta metas[2];
    bool known = false;
    if (read_meta(fd, 0, &known, &metas[0], err) != ERR_OK)
        return err->code;
    uint32_t page_size = known ? metas[0].tables[0].page_size : 0;
    if (known && read_meta(fd, page_size, &known, &metas[1], err) != ERR_OK)
        return err->code;
    if (!known)
        return size < sizeof(struct meta) + PAGE_HEADER || page_size > 0 ? fail_cut(err) : ERR_OK;
    const struct meta *meta = &metas[metas[1].transaction > metas[0].transaction];
    struct file file = {.fd = fd,
                        .pages = size / page_size,
                        .page_size = page_size,
                        .to_visit = meta->last_page + 1};
    if (file.pages > meta->last_page)
        return ERR_OK;
    if (check_tree(&file, meta->tables[0].root, 0, err) != ERR_OK)
        return err->code;
    return check_tree(&file, meta->tables[1].root, 0, err);
}

enum errc kv_file_check(const char *path, struct error *err)
{
    autofree char *name = xasprintf("%s/data.mdb", path);
    struct stat st;
    autofd int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ERR_OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        return fail(err, ERR_IO, errno, "open %s", name);
    if (st.st_size == 0 || check(fd, (uint64_t)st.st_size, err) == ERR_OK)
        return ERR_OK;
    return error_wrap(err,
                      "the metadata %s was cut short or is damaged (put it back from a copy, or "
                      "begin anew with an empty store by moving the data folder away)",
                      name);
}
