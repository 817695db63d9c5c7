#include "gateway/service/control.h"

#include "base/net.h"

static enum errc check_machine(const struct request *request, struct error *err)
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

static bool is_free(enum operation operation)
{
    return operation == OPERATION_PULL || operation == OPERATION_PUSH;
}

bool control_admits(const struct gateway *gateway, const struct request *request,
                    enum operation operation, bool anywhere, struct reply *reply)
{
    struct error err = ERROR_INIT;
    const struct access *access = gateway->access;
    if (!access_is_on(access)) {
        if (is_free(operation) || check_machine(request, &err) == ERR_OK)
            return true;
        reply_error(reply, &err);
        return false;
    }
    int rule = 0;
    enum access_answer answer = anywhere
                                    ? access_ask_anywhere(access, request->caller, operation)
                                    : access_ask(access, request->caller, operation, "", &rule);
    if (answer == ACCESS_YES)
        return true;
    access_explain(answer, request->caller, operation, "", &err);
    if (answer != ACCESS_WIDER) {
        autorequester struct requester by;
        requester_of(request, &by);
        access_tell_denied(access, &by, operation, "", rule, &err);
    }
    reply_error(reply, &err);
    if (answer != ACCESS_NO)
        access_challenge(access, request, answer, NULL, 0, reply);
    return false;
}
