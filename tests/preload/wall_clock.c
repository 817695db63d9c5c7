/*
 * Moves the wall clock of a program that is run with LD_PRELOAD of this library and WALL_CLOCK, the
 * path of a file of eight bytes: the seconds to be added, a signed integer in the machine's order.
 * What is in the file counts from the next call on. The monotonic clock, and so every deadline,
 * stays as it is.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead; /* NULL: there is no such file */
static int (*real_clock)(clockid_t id, struct timespec *out);

__attribute__((constructor)) static void find(void)
{
    const char *path = getenv("WALL_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
    ahead = map == MAP_FAILED ? NULL : map;
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    if (real_clock == NULL)
        find();
    int rc = real_clock(id, out);
    if (rc == 0 && id == CLOCK_REALTIME && ahead)
        out->tv_sec += *ahead;
    return rc;
}
