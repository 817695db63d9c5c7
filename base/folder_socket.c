#include "base/folder_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum errc folder_socket_open(const char *folder, const char *name, struct folder_socket *out,
                             struct error *err)
{
    struct folder_socket made = {.folder = -1, .address = {.sun_family = AF_UNIX}};
    char *path = made.address.sun_path;
    size_t room = sizeof made.address.sun_path;
    int size = snprintf(path, room, "%s/%s", folder, name);
    if (size < 0 || (size_t)size >= room) {
        made.folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (made.folder < 0)
            return fail(err, ERR_IO, errno, "open the folder %s", folder);
        snprintf(path, room, "/proc/self/fd/%d/%s", made.folder, name);
    }
    *out = made;
    return ERR_OK;
}

void folder_socket_close(struct folder_socket *socket)
{
    if (socket->folder >= 0)
        close(socket->folder);
    socket->folder = -1;
}
