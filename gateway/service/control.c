#include "gateway/service/control.h"

#include "base/net.h"

enum errc control_check(const struct request *request, struct error *err)
{
    char address[NET_ADDRESS_TEXT_MAX];
    net_address_text(&request->peer.address, address);
    if (request->administrator || net_host_is_loopback(address))
        return ERR_OK;
    return fail(err, ERR_FORBIDDEN, 0,
                "the gateway is controlled from its own machine only, by its port or by the "
                "socket " CONTROL_SOCKET " in its data folder, not from %s",
                address);
}
