#include "gateway/access/watched_file.h"

#include "base/lock.h"

#include <string.h>
#include <sys/stat.h>

void watched_file_init(struct watched_file *file, const char *path)
{
    memset(file, 0, sizeof *file);
    file->path = path;
    pthread_mutex_init(&file->lock, NULL);
}

void watched_file_deinit(struct watched_file *file)
{
    pthread_mutex_destroy(&file->lock);
}

static bool is_due(struct watched_file *file, int64_t now_ms, bool *first)
{
    autolock pthread_mutex_t *held = lock_take(&file->lock);
    *first = file->looked_ms == 0;
    if (!*first && now_ms - file->looked_ms < WATCHED_FILE_MS)
        return false;
    file->looked_ms = now_ms > 0 ? now_ms : 1;
    return true;
}

bool watched_file_changed(struct watched_file *file, int64_t now_ms)
{
    struct stat st = {.st_size = 0};
    bool first = false;
    if (!is_due(file, now_ms, &first))
        return false;
    if (stat(file->path, &st) != 0)
        memset(&st, 0, sizeof st);
    autolock pthread_mutex_t *held = lock_take(&file->lock);
    bool same = file->seen.device == st.st_dev && file->seen.inode == st.st_ino &&
                file->seen.size == st.st_size && file->seen.changed.tv_sec == st.st_ctim.tv_sec &&
                file->seen.changed.tv_nsec == st.st_ctim.tv_nsec;
    file->seen.device = st.st_dev;
    file->seen.inode = st.st_ino;
    file->seen.size = st.st_size;
    file->seen.changed = st.st_ctim;
    return first || !same;
}
