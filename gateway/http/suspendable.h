/*
 * A connection of the HTTP server as the code sees it that makes it wait: suspended, it is left
 * alone until it is resumed, by any thread.
 *
 * Suspend first, then let others know that a resume is due, then look once more: a resume before
 * the suspend would be lost. A suspended connection lives on whatever its client does, so the
 * thread that was told that a resume is due may still touch it, once.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_SUSPENDABLE_H
#define SLIPWAY_GATEWAY_HTTP_SUSPENDABLE_H

struct suspendable {
    void (*suspend)(void *connection);
    void (*resume)(void *connection);
    void *connection;
};

static inline void suspendable_suspend(const struct suspendable *self)
{
    self->suspend(self->connection);
}

static inline void suspendable_resume(const struct suspendable *self)
{
    self->resume(self->connection);
}

struct MHD_Connection;
struct suspendable suspendable_connection(struct MHD_Connection *connection);

#endif
