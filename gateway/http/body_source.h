/*
 * A body that is made while it is sent. read() is called on HTTP threads: at most `size` bytes, and
 * how many they are; 0: none now, and the connection has been suspended until there are; BODY_END
 * after the last; BODY_BROKEN: there will be no more, and the connection ends. release() is the
 * last call.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_BODY_SOURCE_H
#define SLIPWAY_GATEWAY_HTTP_BODY_SOURCE_H

#include <sys/types.h>

#define BODY_END ((ssize_t)-1)
#define BODY_BROKEN ((ssize_t)-2)

struct body_source {
    ssize_t (*read)(void *self, char *out, size_t size);
    void (*release)(void *self);
    void *self;
};

#endif
