/*
 * The address of a unix socket in a folder, whatever the length of the folder's path: sun_path has
 * room for 107 bytes only, so a longer path goes by a descriptor of the folder (/proc/self/fd).
 */
#ifndef SLIPWAY_BASE_FOLDER_SOCKET_H
#define SLIPWAY_BASE_FOLDER_SOCKET_H

#include "base/error.h"

#include <sys/un.h>

struct folder_socket {
    int folder; /* -1: the path does without it */
    struct sockaddr_un address;
};

/* Of the socket `name` in `folder`, for this process and as long as it is open. ERR_IO with
 * err->sys: the folder cannot be opened. */
enum errc folder_socket_open(const char *folder, const char *name, struct folder_socket *out,
                             struct error *err);
void folder_socket_close(struct folder_socket *socket);

#endif
