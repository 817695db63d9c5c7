#include "upstream/layer_push.h"

#include "upstream/blob_push.h"

static enum errc ended(struct push *push, const struct push_layer *layer, enum layer_end end,
                       const char *words)
{
    push_count_layer(push, end);
    push_tell_layer(push, layer->id, words);
    return ERR_OK;
}

static enum errc transfer(struct push *push, struct registry_client *client,
                          const struct push_layer *layer, struct error *err)
{
    bool exists = false;
    if (blob_check(push, client, layer->blob, &exists, err) != ERR_OK)
        return err->code;
    if (exists)
        return ended(push, layer, LAYER_EXISTED, "Layer already exists");
    if (blob_send(push, client, layer->blob, layer->id, err) != ERR_OK)
        return err->code;
    return ended(push, layer, LAYER_UPLOADED, "Pushed");
}

enum errc layer_attempt(struct push *push, const struct push_layer *layer, struct error *err)
{
    if (layer->blob->foreign)
        return ended(push, layer, LAYER_SKIPPED, "Skipped foreign layer");
    if (push_knows(push, &layer->blob->digest))
        return ended(push, layer, LAYER_EXISTED, "Layer already exists");
    struct registry_client client;
    registry_client_open(&client, push->repository, &push->stop);
    enum errc code = transfer(push, &client, layer, err);
    registry_client_close(&client);
    return code == ERR_OK ? ERR_OK : error_wrap(err, "layer %s", layer->id);
}
