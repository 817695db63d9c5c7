#include "gateway/http/suspendable.h"

#include <microhttpd.h>

static void suspend(void *connection)
{
    MHD_suspend_connection(connection);
}

static void resume(void *connection)
{
    MHD_resume_connection(connection);
}

struct suspendable suspendable_connection(struct MHD_Connection *connection)
{
    return (struct suspendable){.suspend = suspend, .resume = resume, .connection = connection};
}
